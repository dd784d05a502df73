package apiserver_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// converter is a conversion webhook: v1 has spec.host and spec.port, v2 spec.address.
func converter(t *testing.T, broken *atomic.Pointer[string]) (url, bundle string, calls *atomic.Int64) {
	calls = &atomic.Int64{}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var review apiextensionsv1.ConversionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
		for _, raw := range review.Request.Objects {
			u := &unstructured.Unstructured{}
			if err := u.UnmarshalJSON(raw.Raw); err != nil {
				t.Error(err)
			}
			spec, _, _ := unstructured.NestedMap(u.Object, "spec")
			if strings.HasSuffix(review.Request.DesiredAPIVersion, "/v2") {
				spec = map[string]any{"address": fmt.Sprintf("%v:%v", spec["host"], spec["port"])}
			} else {
				host, port, _ := strings.Cut(fmt.Sprint(spec["address"]), ":")
				spec = map[string]any{"host": host, "port": port}
			}
			_ = unstructured.SetNestedMap(u.Object, spec, "spec")
			u.SetAPIVersion(review.Request.DesiredAPIVersion)
			switch b := broken.Load(); {
			case b == nil:
			case *b == "name":
				u.SetName("changed")
			case *b == "fails":
				answer.Result = metav1.Status{Status: metav1.StatusFailure, Message: "not today"}
			}
			answer.ConvertedObjects = append(answer.ConvertedObjects, runtime.RawExtension{Object: u})
		}
		review.Request, review.Response = nil, answer
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(srv.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	return srv.URL, base64.StdEncoding.EncodeToString(ca), calls
}

func exchange(t *testing.T, h http.Handler, method, path, contentType, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var out map[string]any
	if err := json.Unmarshal(bytes.TrimSpace(w.Body.Bytes()), &out); err != nil {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Code, out
}

// TestConversionByWebhook: objects are written and read in two versions, rest in one, and each version has its own schema.
func TestConversionByWebhook(t *testing.T) {
	var broken atomic.Pointer[string]
	url, bundle, calls := converter(t, &broken)
	st := openStore(t)
	s := customServerOn(t, st, time.Now)
	definition := fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: hosts.example.com}
spec:
  group: example.com
  scope: Cluster
  names: {plural: hosts, kind: Host}
  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: %q, caBundle: %s}}}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {host: {type: string}, port: {type: string}}}}}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {address: {type: string, minLength: 3}}}}}}}
`, url, bundle)
	if code, out := exchange(t, s, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "application/yaml", definition); code != 201 {
		t.Fatalf("%d %v", code, out["message"])
	}
	code, out := exchange(t, s, "POST", "/apis/example.com/v2/hosts", "application/json", `{"apiVersion":"example.com/v2","kind":"Host","metadata":{"name":"a"},"spec":{"address":"one:80","host":"pruned"}}`)
	if code != 201 || fmt.Sprint(out["spec"]) != "map[address:one:80]" || out["apiVersion"] != "example.com/v2" {
		t.Fatalf("%d %v", code, out)
	}
	if _, out := exchange(t, s, "GET", "/apis/example.com/v1/hosts/a", "", ""); fmt.Sprint(out["spec"]) != "map[host:one port:80]" || out["apiVersion"] != "example.com/v1" {
		t.Errorf("in v1 it is %v", out)
	}
	if code, out := exchange(t, s, "PATCH", "/apis/example.com/v2/hosts/a", "application/merge-patch+json", `{"spec":{"address":"x"}}`); code != 422 ||
		!strings.Contains(fmt.Sprint(out["message"]), "spec.address in body should be at least 3 chars long") {
		t.Errorf("the schema of v2 was not asked: %d %v", code, out["message"])
	}
	if code, out := exchange(t, s, "PATCH", "/apis/example.com/v2/hosts/a?fieldManager=m", "application/apply-patch+yaml",
		`{"apiVersion":"example.com/v2","kind":"Host","metadata":{"name":"a"},"spec":{"address":"two:81"}}`); code != 409 {
		t.Errorf("apply over another's field: %d %v", code, out)
	}
	if code, out := exchange(t, s, "PATCH", "/apis/example.com/v2/hosts/a?fieldManager=m&force=true", "application/apply-patch+yaml",
		`{"apiVersion":"example.com/v2","kind":"Host","metadata":{"name":"a"},"spec":{"address":"two:81"}}`); code != 200 || fmt.Sprint(out["spec"]) != "map[address:two:81]" {
		t.Errorf("apply: %d %v", code, out)
	}
	if _, out := exchange(t, s, "GET", "/apis/example.com/v1/hosts", "", ""); !strings.Contains(fmt.Sprint(out["items"]), "map[host:two port:81]") || out["kind"] != "HostList" {
		t.Errorf("the list in v1 is %v", out)
	}
	before := calls.Load()
	if _, out := exchange(t, s, "GET", "/apis/example.com/v1/hosts/a", "", ""); out["kind"] != "Host" || calls.Load() != before {
		t.Error("what rests in v1 was converted to be read in v1")
	}
	for what, want := range map[string]string{
		"name": `conversion webhook for example.com/v2, Kind=Host returned invalid object: must have the same name: b != changed`,
		// What fails is said as the webhook says it.
		"fails": `conversion webhook for example.com/v2, Kind=Host failed: not today`,
	} {
		broken.Store(&what)
		code, out := exchange(t, s, "POST", "/apis/example.com/v2/hosts", "application/json", `{"apiVersion":"example.com/v2","kind":"Host","metadata":{"name":"b"},"spec":{"address":"one:80"}}`)
		if code != 500 || out["message"] != want {
			t.Errorf("%s: %d %v, want %s", what, code, out["message"], want)
		}
	}
	broken.Store(nil)
	// Another server on the same store finds everything again.
	again := customServerOn(t, st, time.Now)
	if _, out := exchange(t, again, "GET", "/apis/example.com/v2/hosts/a", "", ""); fmt.Sprint(out["spec"]) != "map[address:two:81]" {
		t.Errorf("after a restart it is %v", out)
	}
}
