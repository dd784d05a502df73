package custom

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiextensions"
)

// kindOf makes the kind of a definition.
func kindOf(t testing.TB, crd *apiextensionsv1.CustomResourceDefinition) *kinds.Kind {
	t.Helper()
	return kindWith(t, crd, Options{})
}

func kindWith(t testing.TB, crd *apiextensionsv1.CustomResourceDefinition, opts Options) *kinds.Kind {
	t.Helper()
	rest, err := apiextensions.CustomResourceDefinition.Storage.Codec.Encode(crd)
	if err != nil {
		t.Fatal(err)
	}
	light, err := apiextensions.WithoutSchemas(rest)
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(light, rest, opts)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func machine(t testing.TB) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(`
apiVersion: example.com/v1
kind: Machine
metadata: {name: m, namespace: default, uid: u, labels: {a: b}, generation: 3}
spec:
  replicas: 2
  port: http
  size: 5K
  free: {a: {b: [1, 2]}}
  embedded: {apiVersion: v1, kind: Pod, metadata: {name: x, labels: {c: d}}, spec: {y: 1}}
  tags: [a, b]
  parts: [{name: p, weight: 2}, {name: q}]
  labels: {k: v}
  either: {a: true}
status: {replicas: 2, phase: Up}
`), &u.Object); err != nil {
		t.Fatal(err)
	}
	// As a decoder of the API would have it.
	_ = unstructured.SetNestedField(u.Object, int64(2), "spec", "replicas")
	_ = unstructured.SetNestedField(u.Object, int64(2), "status", "replicas")
	_ = unstructured.SetNestedField(u.Object, map[string]any{"a": map[string]any{"b": []any{int64(1), int64(2)}}}, "spec", "free")
	return u
}

// TestNothingIsHeldForWhatNobodyUses: schemas are read at first use, and let go when they were not used for two ticks; then they are read again.
func TestNothingIsHeldForWhatNobodyUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := &Idle{}
		defer idle.Close()
		k := kindWith(t, definition(t, "everything.yaml"), Options{Idle: idle})
		if idle.Held() != 0 {
			t.Fatal("a new kind holds something")
		}
		validate := func() {
			t.Helper()
			u := machine(t)
			k.Served[0].Default(u)
			if errs := k.ValidateCreate(k.Served[0], u); len(errs) > 0 {
				t.Fatal(errs)
			}
			if color, _, _ := unstructured.NestedString(u.Object, "spec", "color"); color != "red" {
				t.Errorf("the default was not set: %q", color)
			}
		}
		validate()
		if idle.Held() != 1 {
			t.Fatal("what was compiled is not held")
		}
		time.Sleep(idleTick + time.Second)
		validate()
		time.Sleep(idleTick)
		if idle.Held() != 1 {
			t.Error("what is in use was let go")
		}
		time.Sleep(2 * idleTick)
		if d := Of(k); idle.Held() != 0 || d.compiled != nil {
			t.Error("what is not in use is held")
		}
		validate()
	})
}

// TestRestRoundTrips: what is stored comes out as it went in, as the schema allows, and the same bytes again.
func TestRestRoundTrips(t *testing.T) {
	k := kindOf(t, definition(t, "everything.yaml"))
	u := machine(t)
	k.Served[0].Default(u)
	u.SetResourceVersion("7")
	data, err := k.Storage.Codec.Encode(u)
	if err != nil {
		t.Fatal(err)
	}
	if u.GetResourceVersion() != "7" || strings.Contains(string(data), "resourceVersion") {
		t.Errorf("the revision: %q in %s", u.GetResourceVersion(), data)
	}
	back, err := k.Storage.Codec.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.Storage.Codec.Encode(back)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(data) {
		t.Errorf("\n%s came back as\n%s", data, again)
	}
	stray := strings.Replace(string(data), `"replicas":2`, `"replicas":2,"stray":1`, 1)
	if back, err = k.Storage.Codec.Decode([]byte(stray)); err != nil {
		t.Fatal(err)
	}
	if again, _ = k.Storage.Codec.Encode(back); string(again) != string(data) {
		t.Errorf("what the schema does not know came out of storage: %s", again)
	}
	if _, err := k.Storage.Codec.Decode([]byte(`{"apiVersion":"other.com/v1","kind":"Machine","metadata":{}}`)); err == nil {
		t.Error("an object of another group was read")
	}
}

// exercise does with a definition what the API server does, when it is valid.
func exercise(t testing.TB, crd *apiextensionsv1.CustomResourceDefinition, obj *unstructured.Unstructured) {
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
	d := apiextensions.CustomResourceDefinition
	d.BeforeCreate(crd)
	if len(d.Validate(crd)) > 0 {
		return
	}
	d.Warnings(crd, nil)
	crd.Status.AcceptedNames = crd.Spec.Names
	rest, err := d.Storage.Codec.Encode(crd)
	if err != nil {
		return
	}
	light, err := apiextensions.WithoutSchemas(rest)
	if err != nil {
		t.Fatalf("a stored definition cannot be read: %v", err)
	}
	k, err := New(light, rest, Options{})
	if err != nil {
		return // no version is served
	}
	for _, s := range k.Served {
		u := obj.DeepCopy()
		u.SetGroupVersionKind(s.GroupVersion().WithKind(k.Kind))
		if _, err := s.Coerce(u, true); err != nil {
			continue
		}
		s.Default(u)
		hub := kinds.Object(u)
		if s.ToHub != nil {
			if hub, err = s.ToHub(u); err != nil {
				t.Fatalf("%s: %v", s.GroupVersion(), err)
			}
		}
		k.PrepareCreate(s, hub)
		k.ValidateCreate(s, hub)
		k.ValidateChange(s, hub, hub.DeepCopyObject().(kinds.Object))
		if table := k.TableOf(s); len(table.Row(hub)) != len(table.Columns) {
			t.Errorf("cells and columns differ in %s", s.GroupVersion())
		}
		for _, f := range s.Selectable {
			f(hub)
		}
		if tv, err := k.Types.ObjectToTyped(u); err == nil {
			_, _ = tv.ToFieldSet()
		}
		if _, err := DocumentV3(s.GroupVersion(), []*kinds.Kind{k}, nil); err != nil {
			t.Errorf("OpenAPI 3 of %s: %v", s.GroupVersion(), err)
		}
		if data, err := k.Storage.Codec.Encode(hub); err == nil {
			if _, err := k.Storage.Codec.Decode(data); err != nil {
				t.Errorf("what was stored cannot be read: %v", err)
			}
		}
	}
	if _, _, err := PartV2([]*kinds.Kind{k}); err != nil {
		t.Errorf("OpenAPI 2: %v", err)
	}
}

// FuzzDefinition: whatever a definition says, it is refused or it works.
func FuzzDefinition(f *testing.F) {
	seed, err := yaml.Marshal(definition(f, "everything.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"metadata":{"name":"as.b.c"},"spec":{"group":"b.c","scope":"Cluster","names":{"plural":"as","kind":"A"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","default":{}}}}}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if yaml.Unmarshal(data, crd) != nil {
			return
		}
		exercise(t, crd, machine(t))
	})
}

// FuzzRule: whatever a CEL rule says.
func FuzzRule(f *testing.F) {
	for _, rule := range []string{"self.replicas > 1", "self.parts.all(p, p.name != '')", "has(self.port) && type(self.port) == int", "self.tags.exists_one(t, t == 'a')",
		"oldSelf.color == self.color", "self.when < timestamp('2020-01-01T00:00:00Z')", "quantity(self.size).isGreaterThan(quantity('1K'))", "self.labels['k'].matches('^v+$')"} {
		f.Add(rule, "")
	}
	f.Fuzz(func(t *testing.T, rule, message string) {
		if !utf8.ValidString(rule) || !utf8.ValidString(message) {
			return // JSON cannot carry it
		}
		crd := definition(t, "everything.yaml")
		root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		spec := root.Properties["spec"]
		spec.XValidations = apiextensionsv1.ValidationRules{{Rule: rule, MessageExpression: message}}
		root.Properties["spec"] = spec
		exercise(t, crd, machine(t))
	})
}
