// Package openapi is what clients and server-side apply read of the built-in kinds' schemas: OpenAPI documents, made when Tenet is built, kept
// compressed in the binary and served from those bytes; and a converter from objects to the typed values of structured-merge-diff, whose schema is
// unpacked at first use. Nothing here runs at start.
//
// The data is generated: `go generate ./kinds/openapi` after a change of the list of kinds or of the k8s.io modules. A test says when it is due.
package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/kinds"
)

//go:generate go run github.com/tenet-run/tenet/internal/gen/openapi

//go:embed data
var data embed.FS

// index holds the hash of each document: of OpenAPI 3 by path ("api/v1", "apis/apps/v1"), of OpenAPI 2 as "v2", and the fingerprint of what they
// were made of.
var index = sync.OnceValue(func() map[string]string {
	text := file("index.json")
	out := map[string]string{}
	if err := json.Unmarshal(text, &out); err != nil {
		panic("openapi: index.json: " + err.Error()) // embedded
	}
	return out
})

// V3Index returns the hash of every OpenAPI 3 document by its path below /openapi/v3. The map is the caller's.
func V3Index() map[string]string {
	out := maps.Clone(index())
	delete(out, "v2")
	delete(out, "fingerprint")
	return out
}

// V3 returns the OpenAPI 3 document of a group version, as gzipped JSON, and its hash, which serves as ETag. ok is false when there is none. The
// bytes are the caller's.
func V3(gv schema.GroupVersion) (gz []byte, hash string, ok bool) {
	path := Path(gv)
	if hash, ok = V3Index()[path]; !ok {
		return nil, "", false
	}
	return file(FileOf(path)), hash, true
}

// Sample is the document of a group version that has Scale, as JSON: other documents take from it what all kinds share.
func Sample() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(file(FileOf("apis/apps/v1"))))
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return io.ReadAll(r)
}

// V2 returns the OpenAPI 2 document of all group versions, as gzipped JSON, and its hash.
func V2() (gz []byte, hash string) { return file("v2.json.gz"), index()["v2"] }

// V2Protobuf is the same document as application/com.github.proto-openapi.spec.v2@v1.0+protobuf, gzipped; its hash is that of [V2].
func V2Protobuf() (gz []byte) { return file("v2.pb.gz") }

// Path is where the document of a group version stands below /openapi/v3.
func Path(gv schema.GroupVersion) string {
	if gv.Group == "" {
		return "api/" + gv.Version
	}
	return "apis/" + gv.String()
}

// FileOf names the data file of an OpenAPI 3 document.
func FileOf(path string) string { return "v3_" + strings.ReplaceAll(path, "/", "_") + ".json.gz" }

// GroupVersions are those that kinds are served in, or whose types their subresources speak, in order.
func GroupVersions(all []*kinds.Kind) []schema.GroupVersion {
	set := map[schema.GroupVersion]bool{}
	for _, k := range all {
		for _, s := range k.Served {
			set[s.GroupVersion()] = true
		}
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b schema.GroupVersion) int { return strings.Compare(a.String(), b.String()) })
}

// Fingerprint sums up what the documents are made of: the list of kinds as far as it shows in them, and the versions of the modules that hold the
// types (lines of go.mod).
func Fingerprint(all []*kinds.Kind, modules []string) string {
	h := sha256.New()
	for _, k := range all {
		fmt.Fprintln(h, k.Kind, k.Plural, k.Namespaced, k.WithoutVerbs)
		for _, s := range k.Served {
			fmt.Fprintln(h, " ", s.Group, s.Version)
		}
		for _, s := range k.Subresources {
			fmt.Fprintln(h, " ", s.Name, s.Verbs, s.GVK, s.Connect)
		}
	}
	for _, m := range modules {
		fmt.Fprintln(h, m)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Modules picks the lines of a go.mod that decide about the documents.
func Modules(gomod string) []string {
	var out []string
	for line := range strings.Lines(gomod) {
		f := strings.Fields(line)
		if len(f) >= 2 && slices.Contains([]string{"k8s.io/api", "k8s.io/apiextensions-apiserver", "k8s.io/apimachinery", "k8s.io/kube-aggregator", "k8s.io/kube-openapi"}, f[0]) {
			out = append(out, f[0]+" "+f[1])
		}
	}
	return out
}

func file(name string) []byte {
	b, err := data.ReadFile("data/" + name)
	if err != nil {
		panic("openapi: " + err.Error() + "; run go generate ./kinds/openapi")
	}
	return b
}
