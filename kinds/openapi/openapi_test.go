package openapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/openapi"
)

var regenerate = flag.Bool("regenerate", false, "run the generator and compare all that it writes with what is committed")

func TestDataIsCurrent(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("data/index.json")
	if err != nil {
		t.Fatal(err)
	}
	index := map[string]string{}
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	if want := openapi.Fingerprint(all.Kinds(), openapi.Modules(string(mod))); index["fingerprint"] != want {
		t.Error("kinds or modules have changed since the OpenAPI documents were made: run go generate ./kinds/openapi and commit kinds/openapi/data")
	}
	if !*regenerate {
		return
	}
	out := filepath.Join(t.TempDir(), "data")
	if text, err := exec.Command("go", "run", "../../internal/gen/openapi", "-out", out).CombinedOutput(); err != nil {
		t.Fatalf("generate: %v\n%s", err, text)
	}
	made, err := filepath.Glob(filepath.Join(out, "*"))
	if err != nil {
		t.Fatal(err)
	}
	committed, err := filepath.Glob("data/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(committed) {
		t.Errorf("the generator makes %d files, %d are committed", len(made), len(committed))
	}
	for _, path := range made {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join("data", filepath.Base(path))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("data/%s is not what the generator makes (%v)", filepath.Base(path), err)
		}
	}
}

func gunzip(t testing.TB, gz []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDocumentsOfEveryKind checks what clients look up: the paths of a resource, the verbs on them, and the schema that says it is the kind.
func TestDocumentsOfEveryKind(t *testing.T) {
	gz, hash := openapi.V2()
	if len(hash) != 64 {
		t.Errorf("hash of OpenAPI 2 is %q", hash)
	}
	var v2 spec.Swagger
	if err := json.Unmarshal(gunzip(t, gz), &v2); err != nil {
		t.Fatal(err)
	}
	for _, k := range all.Kinds() {
		for _, served := range k.Served {
			gv := served.GroupVersion()
			gz, hash, ok := openapi.V3(gv)
			if !ok || len(hash) != 64 {
				t.Fatalf("no document for %s", gv)
			}
			var v3 spec3.OpenAPI
			if err := json.Unmarshal(gunzip(t, gz), &v3); err != nil {
				t.Fatalf("%s: %v", gv, err)
			}
			collection := "/" + openapi.Path(gv) + "/" + k.Plural
			if k.Namespaced {
				collection = "/" + openapi.Path(gv) + "/namespaces/{namespace}/" + k.Plural
			}
			if !k.Stored() {
				if p := v3.Paths.Paths[collection]; p == nil || p.Post == nil || p.Get != nil || v3.Paths.Paths[collection+"/{name}"] != nil {
					t.Errorf("%s %s: what is only answered offers a create and no more", gv, k.Kind)
				}
				continue
			}
			list, item := v3.Paths.Paths[collection], v3.Paths.Paths[collection+"/{name}"]
			if list == nil || item == nil {
				t.Errorf("%s: no path %s", gv, collection)
				continue
			}
			gvk := map[string]any{"group": gv.Group, "version": gv.Version, "kind": k.Kind}
			for verb, op := range map[string]*spec3.Operation{"list": list.Get, "create": list.Post, "get": item.Get, "update": item.Put, "patch": item.Patch, "delete": item.Delete} {
				if slices.Contains(k.WithoutVerbs, verb) != (op == nil) {
					t.Errorf("%s %s: operation for %s: %t", gv, k.Kind, verb, op != nil)
				}
				if op == nil {
					continue
				}
				if got := op.Extensions["x-kubernetes-group-version-kind"]; !equalJSON(got, gvk) {
					t.Errorf("%s %s %s is of kind %v", gv, k.Kind, verb, got)
				}
			}
			for _, sub := range k.Subresources {
				if served == k.Served[0] && v3.Paths.Paths[collection+"/{name}/"+sub.Name] == nil {
					t.Errorf("%s %s: no path for %s", gv, k.Kind, sub.Name)
				}
			}
			if v2.Paths.Paths[collection].Get == nil {
				t.Errorf("OpenAPI 2 has no %s", collection)
			}
			found := false
			for name, s := range v3.Components.Schemas {
				if equalJSON(s.Extensions["x-kubernetes-group-version-kind"], []any{gvk}) {
					found = true
					if _, ok := v2.Definitions[name]; !ok {
						t.Errorf("OpenAPI 2 has no %s", name)
					}
				}
			}
			if !found {
				t.Errorf("%s: no schema says that it is %s", gv, k.Kind)
			}
			checkReferences(t, gv.String(), gunzip(t, gz))
		}
	}
	checkReferences(t, "OpenAPI 2", gunzip(t, gz))
}

// checkReferences looks for $ref that lead nowhere.
func checkReferences(t *testing.T, name string, doc []byte) {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(doc, &root); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				at := any(root)
				for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
					m, _ := at.(map[string]any)
					at = m[part]
				}
				if at == nil {
					t.Errorf("%s: %s leads nowhere", name, ref)
				}
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(root)
}

func equalJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func TestProtobufOfOpenAPI2IsTheSameDocument(t *testing.T) {
	var got openapi_v2.Document
	if err := proto.Unmarshal(gunzip(t, openapi.V2Protobuf()), &got); err != nil {
		t.Fatal(err)
	}
	gz, _ := openapi.V2()
	want, err := openapi_v2.ParseDocument(gunzip(t, gz))
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(&got, want) {
		t.Error("the two forms differ")
	}
}

// TestStrategicMergeKeys: kubectl apply reads them from the document.
func TestStrategicMergeKeys(t *testing.T) {
	gz, _, _ := openapi.V3(schema.GroupVersion{Version: "v1"})
	var v3 spec3.OpenAPI
	if err := json.Unmarshal(gunzip(t, gz), &v3); err != nil {
		t.Fatal(err)
	}
	containers := v3.Components.Schemas["io.k8s.api.core.v1.PodSpec"].Properties["containers"]
	for key, want := range map[string]any{"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name", "x-kubernetes-list-type": "map"} {
		if got := containers.Extensions[key]; got != want {
			t.Errorf("containers: %s is %v, want %v", key, got, want)
		}
	}
}

func TestUnknownGroupVersionHasNoDocument(t *testing.T) {
	if _, _, ok := openapi.V3(schema.GroupVersion{Group: "example.com", Version: "v1"}); ok {
		t.Error("there is one")
	}
	if _, ok := openapi.V3Index()["v2"]; ok {
		t.Error("the index of OpenAPI 3 names OpenAPI 2")
	}
}

func TestTypeConverter(t *testing.T) {
	c := openapi.TypeConverter()
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "a", Ports: []corev1.ContainerPort{{ContainerPort: 80, Protocol: corev1.ProtocolTCP}},
		}}}}},
	}
	v, err := c.ObjectToTyped(d)
	if err != nil {
		t.Fatal(err)
	}
	set, err := v.ToFieldSet()
	if err != nil {
		t.Fatal(err)
	}
	want := `.spec.template.spec.containers[name="a"].ports[containerPort=80,protocol="TCP"].containerPort`
	if !strings.Contains(set.String(), want) {
		t.Errorf("no %s in\n%s", want, set)
	}
	back, err := c.TypedToObject(v)
	if err != nil || back.GetObjectKind().GroupVersionKind().Kind != "Deployment" {
		t.Errorf("back: %v %v", back, err)
	}
	d.Kind = "Nothing"
	if _, err := c.ObjectToTyped(d); err == nil || !strings.Contains(err.Error(), "no corresponding type for apps/v1, Kind=Nothing") {
		t.Errorf("unknown kind: %v", err)
	}
}

func BenchmarkV3(b *testing.B) {
	for b.Loop() {
		openapi.V3(schema.GroupVersion{Version: "v1"})
	}
	runtime.KeepAlive(b)
}
