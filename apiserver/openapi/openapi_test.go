package openapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

func pack(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.Bytes()
}

func source() Source {
	return Source{
		V3Index: func() map[string]string { return map[string]string{"api/v1": "AA", "apis/apps/v1": "BB"} },
		V3: func(path string) ([]byte, string, bool) {
			switch path {
			case "api/v1":
				return pack(`{"openapi":"3.0.0"}`), "AA", true
			case "apis/apps/v1":
				return pack(`{"openapi":"3.0.0","info":{}}`), "BB", true
			}
			return nil, "", false
		},
		V2:         func() ([]byte, string) { return pack(`{"swagger":"2.0"}`), "CC" },
		V2Protobuf: func() []byte { return pack("proto") },
	}
}

func TestAnswers(t *testing.T) {
	h := New(source())
	for _, tc := range []struct {
		url, header string
		code        int
		body, want  string // want: of the headers, as "Name: value"
	}{
		{"/openapi/v3", "", 200, `{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=AA"},"apis/apps/v1":{"serverRelativeURL":"/openapi/v3/apis/apps/v1?hash=BB"}}}`, "Content-Type: application/json"},
		{"/openapi/v3/api/v1", "", 200, `{"openapi":"3.0.0"}`, `Etag: "AA"`},
		{"/openapi/v3/api/v1", "", 200, `{"openapi":"3.0.0"}`, "Cache-Control: "},
		{"/openapi/v3/api/v1?hash=AA", "", 200, `{"openapi":"3.0.0"}`, "Cache-Control: public, immutable"},
		{"/openapi/v3/api/v1?hash=old", "", 301, "", "Location: /openapi/v3/api/v1?hash=AA"},
		{"/openapi/v3/api/v1", `If-None-Match: "AA"`, 304, "", `Etag: "AA"`},
		{"/openapi/v3/api/v1", `If-None-Match: "BB"`, 200, `{"openapi":"3.0.0"}`, ""},
		{"/openapi/v3/api/v1", "Accept-Encoding: gzip", 200, string(pack(`{"openapi":"3.0.0"}`)), "Content-Encoding: gzip"},
		{"/openapi/v3/api/v1", "Accept-Encoding: br, gzip;q=0", 200, `{"openapi":"3.0.0"}`, "Content-Encoding: "},
		{"/openapi/v3/api/v1", "Accept: application/com.github.proto-openapi.spec.v3@v1.0+protobuf", 406, "", ""},
		{"/openapi/v3/api/v2", "", 404, "", ""},
		{"/openapi/v3/apis", "", 404, "", ""},
		{"/openapi/v2", "", 200, `{"swagger":"2.0"}`, "Content-Type: application/json"},
		{"/openapi/v2", "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf", 200, "proto", "Content-Type: application/com.github.proto-openapi.spec.v2.v1.0+protobuf"},
		{"/openapi/v2", "Accept: application/com.github.proto-openapi.spec.v2.v1.0+protobuf", 200, "proto", "Content-Type: application/com.github.proto-openapi.spec.v2.v1.0+protobuf"},
		{"/openapi/v2", `If-None-Match: W/"CC"`, 304, "", ""},
		{"/openapi/v2", "Accept: text/plain", 406, "", ""},
		{"/openapi/v4", "", 404, "", ""},
	} {
		r := httptest.NewRequest("GET", tc.url, nil)
		if k, v, ok := strings.Cut(tc.header, ": "); ok {
			r.Header.Set(k, v)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != tc.code || tc.body != "" && rec.Body.String() != tc.body {
			t.Errorf("%s %s: got %d %q, want %d %q", tc.url, tc.header, rec.Code, rec.Body, tc.code, tc.body)
		}
		if k, v, ok := strings.Cut(tc.want, ": "); ok && rec.Header().Get(k) != v {
			t.Errorf("%s %s: got %s %q, want %q", tc.url, tc.header, k, rec.Header().Get(k), v)
		}
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("POST", "/openapi/v2", nil))
	if rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", rec.Code)
	}
}

// What kubectl reads: the documents of the built-in kinds, through client-go.
func TestClientGoReadsTheBuiltInDocuments(t *testing.T) {
	srv := httptest.NewServer(New(BuiltIn()))
	defer srv.Close()
	c, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	v2, err := c.OpenAPISchema()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(v2.GetDefinitions().GetAdditionalProperties()); n < 100 {
		t.Errorf("OpenAPI 2 has %d definitions", n)
	}
	paths, err := c.OpenAPIV3().Paths()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"api/v1", "apis/apps/v1"} {
		gv, ok := paths[path]
		if !ok {
			t.Fatalf("no %s in %v", path, paths)
		}
		data, err := gv.Schema("application/json")
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			OpenAPI    string
			Components struct{ Schemas map[string]any }
		}
		if err := json.Unmarshal(data, &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.") || len(doc.Components.Schemas) == 0 {
			t.Errorf("%s: %v %s with %d schemas", path, err, doc.OpenAPI, len(doc.Components.Schemas))
		}
	}
}
