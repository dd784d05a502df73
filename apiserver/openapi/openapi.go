// Package openapi serves the schemas of what the API server offers: /openapi/v2, /openapi/v3 and one document a group version below it. It is part of the
// first room, declare.
//
// Nothing is made here: the documents come compressed from where they were built and go out as they are to clients that accept gzip.
package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/munnerz/goautoneg"
	"k8s.io/apimachinery/pkg/runtime/schema"

	builtin "github.com/tenet-run/tenet/kinds/openapi"
)

// Source is where the documents come from, gzipped. Hashes change with the content.
type Source struct {
	// V3Index gives the hash of each OpenAPI 3 document by its path below /openapi/v3 ("api/v1", "apis/apps/v1").
	V3Index func() map[string]string
	// V3 gives the OpenAPI 3 document at a path.
	V3 func(path string) (gz []byte, hash string, ok bool)
	// V2 gives the OpenAPI 2 document of everything, V2Protobuf the same as protobuf.
	V2         func() (gz []byte, hash string)
	V2Protobuf func() (gz []byte)
}

// BuiltIn is the Source of the built-in kinds.
func BuiltIn() Source {
	return Source{
		V3Index: builtin.V3Index,
		V3: func(path string) ([]byte, string, bool) {
			gv, ok := groupVersion(path)
			if !ok {
				return nil, "", false
			}
			return builtin.V3(gv)
		},
		V2: builtin.V2, V2Protobuf: builtin.V2Protobuf,
	}
}

func groupVersion(path string) (schema.GroupVersion, bool) {
	parts := strings.Split(path, "/")
	switch {
	case len(parts) == 2 && parts[0] == "api":
		return schema.GroupVersion{Version: parts[1]}, true
	case len(parts) == 3 && parts[0] == "apis":
		return schema.GroupVersion{Group: parts[1], Version: parts[2]}, true
	}
	return schema.GroupVersion{}, false
}

// Media types of OpenAPI 2 in protobuf; the first is what is answered, the second an older name that clients still send,
// which is no well-formed media type (the @) and so never answered.
const (
	v2Protobuf    = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
	v2ProtobufOld = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
	mediaJSON     = "application/json"
)

type handler struct{ source Source }

// New makes the handler of /openapi/v2, /openapi/v3 and what is below it.
func New(source Source) http.Handler { return handler{source} }

// ServeHTTP implements http.Handler.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	switch path := strings.TrimSuffix(r.URL.Path, "/"); {
	case path == "/openapi/v2":
		h.v2(w, r)
	case path == "/openapi/v3":
		h.index(w, r)
	case strings.HasPrefix(path, "/openapi/v3/"):
		h.v3(w, r, strings.TrimPrefix(path, "/openapi/v3/"))
	default:
		http.Error(w, "404 page not found", http.StatusNotFound)
	}
}

func (h handler) v2(w http.ResponseWriter, r *http.Request) {
	mt := accepts(r, mediaJSON, v2Protobuf, v2ProtobufOld)
	gz, hash := h.source.V2()
	switch mt {
	case "":
		http.Error(w, "406 not acceptable", http.StatusNotAcceptable)
		return
	case v2Protobuf, v2ProtobufOld:
		gz, mt = h.source.V2Protobuf(), v2Protobuf
	}
	send(w, r, mt, hash, gz)
}

func (h handler) index(w http.ResponseWriter, r *http.Request) {
	type entry struct {
		ServerRelativeURL string `json:"serverRelativeURL"`
	}
	index := struct {
		Paths map[string]entry `json:"paths"`
	}{map[string]entry{}}
	for path, hash := range h.source.V3Index() {
		index.Paths[path] = entry{location(path, hash)}
	}
	body, err := json.Marshal(index)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(body)
	if notModified(w, r, hex.EncodeToString(sum[:])) {
		return
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.Write(body)
}

func (h handler) v3(w http.ResponseWriter, r *http.Request, path string) {
	gz, hash, ok := h.source.V3(path)
	if !ok {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	if accepts(r, mediaJSON) == "" {
		http.Error(w, "406 not acceptable", http.StatusNotAcceptable)
		return
	}
	if asked := r.URL.Query().Get("hash"); asked != "" {
		if asked != hash {
			http.Redirect(w, r, location(path, hash), http.StatusMovedPermanently)
			return
		}
		// The address names the content, so it may be kept for ever.
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	}
	send(w, r, mediaJSON, hash, gz)
}

func location(path, hash string) string {
	return "/openapi/v3/" + path + "?" + url.Values{"hash": {hash}}.Encode()
}

// accepts is the first of the offered media types that the client likes, in the client's order.
func accepts(r *http.Request, offered ...string) string {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return offered[0]
	}
	for _, a := range goautoneg.ParseAccept(header) {
		for _, o := range offered {
			t, sub, _ := strings.Cut(o, "/")
			if (a.Type == "*" || a.Type == t) && (a.SubType == "*" || a.SubType == sub) {
				return o
			}
		}
	}
	return ""
}

// notModified sets the ETag and answers 304 when the client has it.
func notModified(w http.ResponseWriter, r *http.Request, hash string) bool {
	etag := `"` + hash + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	for _, m := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		if m = strings.TrimPrefix(strings.TrimSpace(m), "W/"); m == etag || m == "*" {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

func send(w http.ResponseWriter, r *http.Request, mt, hash string, gz []byte) {
	if notModified(w, r, hash) {
		return
	}
	w.Header().Set("Content-Type", mt)
	if acceptsGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(gz)
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	io.Copy(w, z)
}

func acceptsGzip(r *http.Request) bool {
	for _, h := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(h, ",") {
			coding, q, _ := strings.Cut(strings.TrimSpace(part), ";")
			if strings.TrimSpace(coding) == "gzip" && strings.ReplaceAll(q, " ", "") != "q=0" {
				return true
			}
		}
	}
	return false
}
