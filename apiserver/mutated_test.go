package apiserver_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// Bodies with bytes changed, cut or doubled get a Status or are taken; nothing panics. The fuzz targets go further.
func TestMutatedBodiesGetAStatus(t *testing.T) {
	s := newServer(t, nil)
	ask(s, "POST", "/api/v1/namespaces/default/pods", fmt.Sprintf(benchPod, "a", 1))
	stored, _ := s.Peek(core.Pod, "default", "a")
	value, err := core.Pod.Storage.Codec.Encode(stored.DeepCopyObject().(kinds.Object))
	if err != nil {
		t.Fatal(err)
	}
	plain := fmt.Sprintf(benchPod, "b", 1)
	requests := []struct{ method, path, contentType, body string }{
		{"POST", "/api/v1/namespaces/default/pods?dryRun=All", "application/json", plain},
		{"POST", "/api/v1/namespaces/default/pods?dryRun=All", "application/yaml", plain},
		{"POST", "/api/v1/namespaces/default/pods?dryRun=All", "application/vnd.kubernetes.protobuf", string(value)},
		{"PATCH", "/api/v1/namespaces/default/pods/a?dryRun=All", "application/merge-patch+json", `{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"nginx","image":"x"}]}}`},
		{"PATCH", "/api/v1/namespaces/default/pods/a?dryRun=All", "application/strategic-merge-patch+json", `{"spec":{"$setElementOrder/containers":[{"name":"nginx"}],"containers":[{"name":"nginx","image":"x"}]}}`},
		{"PATCH", "/api/v1/namespaces/default/pods/a?dryRun=All", "application/json-patch+json", `[{"op":"add","path":"/metadata/labels/x","value":"y"},{"op":"remove","path":"/metadata/annotations"}]`},
		{"PATCH", "/api/v1/namespaces/default/pods/a?dryRun=All&fieldManager=f", "application/apply-patch+yaml", `{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"nginx","image":"x"}]}}`},
	}
	const seed = 20300102
	r := rand.New(rand.NewSource(seed))
	for i := range 2100 {
		q := requests[i%len(requests)]
		body := []byte(q.body)
		for range 1 + r.Intn(4) {
			at := r.Intn(len(body))
			switch r.Intn(4) {
			case 0:
				body[at] = byte(r.Intn(256))
			case 1:
				body = append(body[:at:at], body[min(len(body), at+1+r.Intn(8)):]...)
			case 2:
				body = append(body[:at:at], append([]byte(`{}[]",:0`)[r.Intn(8):][:1:1], body[at:]...)...)
			case 3:
				end := min(len(body), at+r.Intn(16))
				body = append(body[:end:end], body[at:]...)
			}
			if len(body) == 0 {
				body = []byte{'{'}
			}
		}
		req := httptest.NewRequest(q.method, q.path, strings.NewReader(string(body)))
		req.Header.Set("Content-Type", q.contentType)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		if !json.Valid(w.Body.Bytes()) || strings.Contains(w.Body.String(), "caused apiserver to panic") {
			t.Fatalf("seed %d, round %d: %s %s %q: %d %s", seed, i, q.method, q.contentType, body, w.Code, w.Body)
		}
	}
}
