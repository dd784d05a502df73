package custom

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/validation/spec"
	smd "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/tenet-run/tenet/kinds/openapi"
)

// apimachinery is what the names of the types that all objects contain begin with.
const apimachinery = "io.k8s.apimachinery."

// mergeTypes converts objects of one definition to typed values, each by the schema of the version it is in.
type mergeTypes struct{ d *Definition }

func (m mergeTypes) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("custom: %T is not unstructured", obj)
	}
	gvk := u.GroupVersionKind()
	if gvk.Version == "" && gvk.Group == "" {
		gvk = m.d.gvk(m.d.storage)
	}
	if gvk != m.d.gvk(gvk.Version) || !m.d.has(gvk.Version) {
		return nil, fmt.Errorf("no corresponding type for %v", gvk)
	}
	v, err := m.d.version(gvk.Version)
	if err != nil {
		return nil, err
	}
	t, err := v.types()
	if err != nil {
		// As upstream: what has no usable schema is merged by its form.
		return managedfields.NewDeducedTypeConverter().ObjectToTyped(obj, opts...)
	}
	return t.FromUnstructured(u.Object, opts...)
}

func (m mergeTypes) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	content, ok := v.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("custom: an object is a map, not %T", v.AsValue().Unstructured())
	}
	return &unstructured.Unstructured{Object: content}, nil
}

// mergeType makes the type of one version for structured merges.
func mergeType(crd *apiextensionsv1.CustomResourceDefinition, version string) (typed.ParseableType, error) {
	m, err := modelOf(crd, version, false)
	if err != nil {
		return typed.ParseableType{}, err
	}
	own, err := schemaconv.ToSchemaFromOpenAPI(map[string]*spec.Schema{m.name: m.schema}, crd.Spec.PreserveUnknownFields)
	if err != nil {
		return typed.ParseableType{}, err
	}
	shared, err := openapi.TypesUnder(apimachinery)
	if err != nil {
		return typed.ParseableType{}, err
	}
	p := &typed.Parser{Schema: smd.Schema{Types: append(own.Types, shared...)}}
	return p.Type(m.name), nil
}
