package custom

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/yaml"
)

// definition reads a definition from testdata, with defaults, its names accepted.
func definition(t testing.TB, file string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
	crd.Status.AcceptedNames = crd.Spec.Names
	return crd
}

func plain(t *testing.T, v any) (out any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestModelsAreThoseOfUpstream: the schemas that clients read, in both versions of OpenAPI.
func TestModelsAreThoseOfUpstream(t *testing.T) {
	crd := definition(t, "everything.yaml")
	for _, v := range crd.Spec.Versions {
		v3, err := builder.BuildOpenAPIV3(crd, v.Name, builder.Options{IncludeSelectableFields: true})
		if err != nil {
			t.Fatal(err)
		}
		m, err := modelOf(crd, v.Name, false)
		if err != nil {
			t.Fatal(err)
		}
		m = m.wrapped()
		if d := cmp.Diff(plain(t, v3.Components.Schemas[m.name]), plain(t, m.schema)); d != "" {
			t.Errorf("OpenAPI 3, %s (-upstream +ours):\n%s", v.Name, d)
		}
		if d := cmp.Diff(plain(t, v3.Components.Schemas[m.listName]), plain(t, m.list)); d != "" {
			t.Errorf("OpenAPI 3, list of %s (-upstream +ours):\n%s", v.Name, d)
		}
		v2, err := builder.BuildOpenAPIV2(crd, v.Name, builder.Options{V2: true})
		if err != nil {
			t.Fatal(err)
		}
		if m, err = modelOf(crd, v.Name, true); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(plain(t, v2.Definitions[m.name]), plain(t, m.schema)); d != "" {
			t.Errorf("OpenAPI 2, %s (-upstream +ours):\n%s", v.Name, d)
		}
	}
}

// TestOwnersOfFieldsAreThoseOfUpstream: the types that managedFields are computed with.
func TestOwnersOfFieldsAreThoseOfUpstream(t *testing.T) {
	crd := definition(t, "everything.yaml")
	k := kindOf(t, crd)
	for _, v := range crd.Spec.Versions {
		doc, err := builder.BuildOpenAPIV3(crd, v.Name, builder.Options{})
		if err != nil {
			t.Fatal(err)
		}
		upstream, err := managedfields.NewTypeConverter(doc.Components.Schemas, false)
		if err != nil {
			t.Fatal(err)
		}
		u := machine(t)
		u.SetAPIVersion("example.com/" + v.Name)
		want, err := upstream.ObjectToTyped(u)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Types.ObjectToTyped(u)
		if err != nil {
			t.Fatal(err)
		}
		a, err := want.ToFieldSet()
		if err != nil {
			t.Fatal(err)
		}
		b, err := got.ToFieldSet()
		if err != nil {
			t.Fatal(err)
		}
		if !a.Equals(b) {
			t.Errorf("%s: upstream sees\n%v\nwe see\n%v", v.Name, a, b)
		}
	}
}
