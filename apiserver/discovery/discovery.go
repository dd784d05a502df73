// Package discovery tells clients what is served: groups, versions and resources, one document each, and all in one (aggregated discovery, KEP-3352). It is
// part of the first room, declare.
//
// The documents are made of the list of kinds once for each change of it, encoded at the first request in each media type, and kept.
package discovery

import (
	"net/http"
	"strings"
	"sync/atomic"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Handler serves /api, /apis and what is below them up to a version.
type Handler struct {
	address string
	docs    atomic.Pointer[documents]
}

// documents by path, without a slash at the end.
type documents struct {
	plain, aggregated map[string]*document
}

// New makes a Handler. address is the host and port of the API server as clients reach it; it may be empty.
func New(list []*kinds.Kind, address string) *Handler {
	h := &Handler{address: address}
	h.Set(list)
	return h
}

// Set replaces what is served, for requests from now on.
func (h *Handler) Set(list []*kinds.Kind) {
	d := &documents{plain: map[string]*document{}, aggregated: map[string]*document{}}
	core := &apidiscoveryv2.APIGroupDiscoveryList{TypeMeta: aggregatedType}
	named := &apidiscoveryv2.APIGroupDiscoveryList{TypeMeta: aggregatedType}
	apiGroups := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}}
	versions := &metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{}}
	if h.address != "" {
		versions.ServerAddressByClientCIDRs = []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: h.address}}
	}
	for _, g := range groups(list) {
		prefix := "/api"
		if g.name != "" {
			prefix = "/apis/" + g.name
			ag := g.apiGroup()
			apiGroups.Groups = append(apiGroups.Groups, ag)
			ag.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
			d.plain[prefix] = &document{object: &ag}
			named.Items = append(named.Items, g.aggregated())
		} else {
			core.Items = append(core.Items, g.aggregated())
		}
		for _, v := range g.versions {
			d.plain[prefix+"/"+v.Version] = &document{object: v.list()}
			if g.name == "" {
				versions.Versions = append(versions.Versions, v.Version)
			}
		}
	}
	d.plain["/api"], d.plain["/apis"] = &document{object: versions}, &document{object: apiGroups}
	d.aggregated["/api"], d.aggregated["/apis"] = &document{object: core, aggregated: true}, &document{object: named, aggregated: true}
	h.docs.Store(d)
}

var aggregatedType = metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"}

// Serves reports that there is a document at the path of a URL.
func (h *Handler) Serves(path string) bool {
	_, ok := h.docs.Load().plain[strings.TrimSuffix(path, "/")]
	return ok
}

// Paths lists the paths of all documents, in no order.
func (h *Handler) Paths() []string {
	var out []string
	for p := range h.docs.Load().plain {
		out = append(out, p)
	}
	return out
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	docs := h.docs.Load()
	plain, ok := docs.plain[path]
	if !ok {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	doc, mt, ok := negotiate(r.Header.Values("Accept"), plain, docs.aggregated[path])
	if !ok {
		http.Error(w, "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf", http.StatusNotAcceptable)
		return
	}
	body, etag, err := doc.encode(mt)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	head := w.Header()
	head.Set("ETag", etag)
	head.Set("Vary", "Accept")
	if doc.aggregated {
		head.Set("Cache-Control", "public")
	}
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	head.Set("Content-Type", doc.contentType(mt))
	w.Write(body)
}
