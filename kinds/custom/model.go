package custom

import (
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	openapiv2 "k8s.io/apiextensions-apiserver/pkg/controller/openapi/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/builder3/util"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/tenet-run/tenet/kinds/openapi/paths"
)

// models are the schema of one version in the form of OpenAPI, as clients see it and managedFields are computed with.
type models struct {
	name, listName string
	schema, list   *spec.Schema
}

const (
	objectMeta = apimachinery + "pkg.apis.meta.v1.ObjectMeta"
	listMeta   = apimachinery + "pkg.apis.meta.v1.ListMeta"
)

// reference names a model in OpenAPI 3, or 2.
func reference(name string, v2 bool) *spec.Schema {
	if v2 {
		return spec.RefSchema("#/definitions/" + name)
	}
	return spec.RefSchema("#/components/schemas/" + name)
}

// modelOf makes the models of a version and of its list. A schema that is not structural is not shown.
func modelOf(crd *apiextensionsv1.CustomResourceDefinition, version string, v2 bool) (*models, error) {
	i := slices.IndexFunc(crd.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == version })
	if i < 0 {
		return nil, fmt.Errorf("there is no version %s", version)
	}
	v := &crd.Spec.Versions[i]
	names := crd.Spec.Names
	gv := schema.GroupVersion{Group: crd.Spec.Group, Version: version}
	m := &models{name: paths.CustomName(gv.WithKind(names.Kind)), listName: paths.CustomName(gv.WithKind(names.ListKind))}
	structural, err := publishable(v)
	if err != nil {
		return nil, err
	}
	switch {
	case structural == nil, v2 && (structural.XPreserveUnknownFields || crd.Spec.PreserveUnknownFields):
		// Clients would take what is not named here for forbidden.
		m.schema = &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}}}
	default:
		if v2 {
			structural = openapiv2.ToStructuralOpenAPIV2(structural)
		}
		m.schema = structural.ToKubeOpenAPI()
		m.schema.SetProperty("metadata", *reference(objectMeta, v2).WithDescription(partialDoc["metadata"]))
		typeHeader(m.schema)
		embedded(m.schema, v2)
	}
	m.schema.AddExtension("x-kubernetes-group-version-kind", []any{map[string]any{"group": crd.Spec.Group, "version": version, "kind": names.Kind}})
	m.list = new(spec.Schema).Typed("object", "").WithDescription(fmt.Sprintf("%s is a list of %s", names.ListKind, names.Kind)).WithRequired("items").
		SetProperty("items", *spec.ArrayProperty(reference(m.name, v2)).WithDescription(fmt.Sprintf(
			"List of %s. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", names.Plural))).
		SetProperty("metadata", *reference(listMeta, v2).WithDescription(partialListDoc["metadata"]))
	typeHeader(m.list)
	m.list.AddExtension("x-kubernetes-group-version-kind", []any{map[string]any{"group": crd.Spec.Group, "version": version, "kind": names.ListKind}})
	if fields := v.SelectableFields; len(fields) > 0 && !v2 {
		selectable := make([]any, len(fields))
		for i, f := range fields {
			selectable[i] = map[string]any{"fieldPath": trimDot(f.JSONPath)}
		}
		m.schema.AddExtension("x-kubernetes-selectable-fields", selectable)
		m.list.AddExtension("x-kubernetes-selectable-fields", selectable)
	}
	return m, nil
}

// wrapped has references that stand beside other words in an allOf, as OpenAPI 3 wants them.
func (m *models) wrapped() *models {
	return &models{m.name, m.listName, util.WrapRefs(m.schema), util.WrapRefs(m.list)}
}

// publishable is the structural schema of a version, unfolded; nil when there is none that could be shown.
func publishable(v *apiextensionsv1.CustomResourceDefinitionVersion) (*structuralschema.Structural, error) {
	props, err := schemaOf(v)
	if err != nil || props == nil || validation.SchemaHasInvalidTypes(props) {
		return nil, err
	}
	s, err := structuralschema.NewStructural(props)
	if err != nil || len(structuralschema.ValidateStructural(nil, s)) > 0 {
		return nil, nil
	}
	return s.Unfold(), nil
}

var (
	partialDoc     = metav1.PartialObjectMetadata{}.SwaggerDoc()
	partialListDoc = metav1.PartialObjectMetadataList{}.SwaggerDoc()
	typeDoc        = metav1.TypeMeta{}.SwaggerDoc()
)

func typeHeader(s *spec.Schema) {
	for _, name := range []string{"apiVersion", "kind"} {
		s.SetProperty(name, *spec.StringProperty().WithDescription(typeDoc[name]))
	}
}

// embedded adds type header and metadata to the schemas of embedded objects.
func embedded(s *spec.Schema, v2 bool) {
	if s == nil {
		return
	}
	for name := range s.Properties {
		p := s.Properties[name]
		embedded(&p, v2)
		s.Properties[name] = p
	}
	if s.Items != nil {
		embedded(s.Items.Schema, v2)
	}
	if s.AdditionalProperties != nil {
		embedded(s.AdditionalProperties.Schema, v2)
	}
	if open, ok := s.Extensions.GetBool("x-kubernetes-preserve-unknown-fields"); ok && open && v2 {
		return
	}
	if is, ok := s.Extensions.GetBool("x-kubernetes-embedded-resource"); !ok || !is {
		return
	}
	s.SetProperty("apiVersion", *spec.StringProperty().WithDescription("apiVersion defines the versioned schema of this representation of an object. " +
		"More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"))
	s.SetProperty("kind", *spec.StringProperty().WithDescription("kind is a string value representing the type of this object. In CamelCase. " +
		"More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"))
	s.SetProperty("metadata", *reference(objectMeta, v2).WithDescription(partialDoc["metadata"]))
	for _, name := range []string{"kind", "apiVersion"} {
		if !slices.Contains(s.Required, name) {
			s.Required = append(s.Required, name)
		}
	}
}
