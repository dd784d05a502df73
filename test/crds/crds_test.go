// Package crds installs the CustomResourceDefinitions of projects that many clusters run, and makes their sample objects. The files are data from the projects' Go
// modules (cert-manager and prometheus-operator, Apache-2.0), downloaded as modules when the test runs.
package crds

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kube-openapi/pkg/spec3"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/customresources"
	"github.com/tenet-run/tenet/apiserver/discovery"
	"github.com/tenet-run/tenet/apiserver/openapi"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/custom"
	"github.com/tenet-run/tenet/store/embedded"
)

// projects are where definitions and samples are found in a module.
var projects = []struct {
	module, definitions string
	samples             []string
}{
	{"github.com/cert-manager/cert-manager@v1.20.0", "deploy/crds/*.yaml", []string{"test/fixtures/*.yaml"}},
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/*.yaml", []string{
		"example/user-guides/getting-started/*.yaml", "example/user-guides/alerting/*.yaml", "example/rbac/prometheus/*.yaml", "example/thanos/*.yaml"}},
}

func directory(t *testing.T, module string) string {
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	var m struct{ Dir, Error string }
	if jerr := json.Unmarshal(out, &m); err != nil || jerr != nil || m.Dir == "" {
		t.Skipf("%s cannot be had here: %v %s", module, err, m.Error)
	}
	return m.Dir
}

// server is an API server with discovery and OpenAPI.
func server(t *testing.T) http.Handler {
	st, err := embedded.Open(t.Context(), embedded.Options{Dir: "/store", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	live, idle := kinds.NewSet(all.Kinds()...), &custom.Idle{}
	r, err := customresources.New(customresources.Config{Store: st, Live: live, Custom: custom.Options{Idle: idle}})
	if err != nil {
		t.Fatal(err)
	}
	edge := http.NewServeMux()
	edge.Handle("/openapi/", openapi.New(openapi.Live(live)))
	edge.Handle("/apis/", discovery.New(live, "", nil))
	s, err := apiserver.New(apiserver.Config{Store: st, Live: live, Committed: r.Committed(), Admission: []admission.Plugin{r}, Extra: edge})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx, s, &user.DefaultInfo{Name: "system:apiserver"}) }()
	t.Cleanup(func() { cancel(); <-done; s.Close(); idle.Close(); st.Close() })
	return s
}

func call(h http.Handler, method, path string, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// objects are those in a file of YAML documents.
func objects(t *testing.T, file string) []*unstructured.Unstructured {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

func files(t *testing.T, dir, pattern string) []string {
	list, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func TestWellKnownDefinitions(t *testing.T) {
	for _, p := range projects {
		name, _, _ := strings.Cut(filepath.Base(p.module), "@")
		t.Run(name, func(t *testing.T) {
			dir := directory(t, p.module)
			s := server(t)
			resources := map[string]string{} // by apiVersion and kind
			versions := map[string]bool{}
			definitions := 0
			for _, file := range files(t, dir, p.definitions) {
				for _, crd := range objects(t, file) {
					body, err := crd.MarshalJSON()
					if err != nil {
						t.Fatal(err)
					}
					w := call(s, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldValidation=Strict", body)
					var made unstructured.Unstructured
					if err := json.Unmarshal(w.Body.Bytes(), &made.Object); err != nil || w.Code != 201 {
						t.Errorf("%s: %d %.2000s", filepath.Base(file), w.Code, w.Body)
						continue
					}
					if text := fmt.Sprint(made.Object["status"]); !strings.Contains(text, "InitialNamesAccepted") {
						t.Errorf("%s is not established: %s", crd.GetName(), text)
					}
					definitions++
					group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
					plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
					kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
					scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
					list, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
					for _, v := range list {
						version := v.(map[string]any)["name"].(string)
						path := "/apis/" + group + "/" + version + "/"
						if scope == "Namespaced" {
							path += "namespaces/default/"
						}
						resources[group+"/"+version+" "+kind] = path + plural
						versions[group+"/"+version] = true
					}
				}
			}
			samples := 0
			for _, pattern := range p.samples {
				for _, file := range files(t, dir, pattern) {
					for _, obj := range objects(t, file) {
						path := resources[obj.GetAPIVersion()+" "+obj.GetKind()]
						if path == "" {
							continue // of another kind
						}
						obj.SetNamespace("")
						body, err := obj.MarshalJSON()
						if err != nil {
							t.Fatal(err)
						}
						w := call(s, "POST", path+"?fieldValidation=Strict", body)
						if w.Code != 201 && w.Code != 409 {
							t.Errorf("%s, %s %s: %d %.2000s", filepath.Base(file), obj.GetKind(), obj.GetName(), w.Code, w.Body)
							continue
						}
						samples++
						w = call(s, "PATCH", path+"/"+obj.GetName()+"?fieldManager=test&force=true", body, "Content-Type", "application/apply-patch+yaml")
						if w.Code != 200 {
							t.Errorf("apply %s, %s %s: %d %.2000s", filepath.Base(file), obj.GetKind(), obj.GetName(), w.Code, w.Body)
						}
					}
				}
			}
			for gv := range versions {
				w := call(s, "GET", "/openapi/v3/apis/"+gv, nil)
				var doc spec3.OpenAPI
				if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 200 || len(doc.Paths.Paths) == 0 {
					t.Errorf("OpenAPI 3 of %s: %d %v", gv, w.Code, err)
				}
			}
			text := call(s, "GET", "/openapi/v2", nil)
			want, err := openapi_v2.ParseDocument(text.Body.Bytes())
			if err != nil {
				t.Fatalf("OpenAPI 2: %v", err)
			}
			binary := call(s, "GET", "/openapi/v2", nil, "Accept", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
			var got openapi_v2.Document
			if err := proto.Unmarshal(binary.Body.Bytes(), &got); err != nil {
				t.Fatalf("OpenAPI 2 in protobuf: %v", err)
			}
			if len(got.Paths.Path) != len(want.Paths.Path) || len(got.Definitions.AdditionalProperties) != len(want.Definitions.AdditionalProperties) || got.Swagger != "2.0" {
				t.Errorf("the two forms of OpenAPI 2 differ: %d and %d paths", len(got.Paths.Path), len(want.Paths.Path))
			}
			t.Logf("%s: %d definitions, %d samples", p.module, definitions, samples)
			if definitions == 0 || samples == 0 {
				t.Error("nothing was found")
			}
		})
	}
}
