// Package discovery tells clients what is served: groups, versions and resources, one document each, and all in one (aggregated discovery, KEP-3352). It is
// part of the first room, declare.
//
// The documents of a group are made when they are asked for and the group has changed; those that list all groups, when anything has. They are encoded at the first
// request in each media type, and kept.
package discovery

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiregistration"
)

// Handler serves /api, /apis and what is below them up to a version.
type Handler struct {
	address string
	live    *kinds.Set
	remote  Remote

	mu      sync.Mutex
	version [2]uint64 // of live and remote
	roots   map[string]pair
	groups  map[string]*groupDocuments
}

// pair is what stands at one path, in the plain and in the aggregated form, which may be nil.
type pair struct{ plain, aggregated *document }

// groupDocuments are those of one group in one of its versions in time.
type groupDocuments struct {
	version [2]uint64
	group   group
	docs    map[string]pair // by path
}

// New makes a Handler. address is the host and port of the API server as clients reach it; it may be empty. remote may be nil.
func New(live *kinds.Set, address string, remote Remote) *Handler {
	if remote == nil {
		remote = none{}
	}
	return &Handler{address: address, live: live, remote: remote, groups: map[string]*groupDocuments{}}
}

// at is what stands at a path, without a slash at the end.
func (h *Handler) at(path string) (pair, bool) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case path == "/api" || path == "/apis":
		h.refresh()
		return h.roots[path], true
	case parts[0] == "api" && len(parts) == 2:
		return h.below("", path)
	case parts[0] == "apis" && (len(parts) == 2 || len(parts) == 3):
		return h.below(parts[1], path)
	}
	return pair{}, false
}

func (h *Handler) below(name, path string) (pair, bool) {
	g := h.live.Group(name)
	if g == nil {
		g = &kinds.Group{}
	}
	p, ok := h.documents(name, g).docs[path]
	return p, ok
}

// documents makes what is not there of a group. h.mu is held.
func (h *Handler) documents(name string, g *kinds.Group) *groupDocuments {
	d := h.groups[name]
	version := [2]uint64{g.Version}
	others := slices.DeleteFunc(h.remote.Versions(), func(v RemoteVersion) bool { return v.Group != name })
	if len(others) > 0 {
		version[1] = h.remote.Version()
	}
	if d != nil && d.version == version {
		return d
	}
	d = &groupDocuments{version: version, group: groupOf(name, g.Kinds).with(others), docs: map[string]pair{}}
	if len(d.group.versions) == 0 {
		delete(h.groups, name)
		return d
	}
	h.groups[name] = d
	prefix := "/api"
	if name != "" {
		prefix = "/apis/" + name
		ag := d.group.apiGroup()
		ag.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
		d.docs[prefix] = pair{plain: &document{object: &ag}}
	}
	for _, v := range d.group.versions {
		if v.remote {
			continue
		}
		d.docs[prefix+"/"+v.Version] = pair{plain: &document{object: v.list()}}
	}
	return d
}

// refresh makes the lists of all groups. h.mu is held.
func (h *Handler) refresh() {
	version := [2]uint64{h.live.Version(), h.remote.Version()}
	if h.roots != nil && h.version == version {
		return
	}
	all := h.live.Groups()
	others := map[string]int32{}
	for _, v := range h.remote.Versions() {
		others[v.Group] = max(others[v.Group], v.GroupPriority)
	}
	for name := range h.groups {
		if _, ok := others[name]; all[name] == nil && !ok {
			delete(h.groups, name)
		}
	}
	core := &apidiscoveryv2.APIGroupDiscoveryList{TypeMeta: aggregatedType}
	named := &apidiscoveryv2.APIGroupDiscoveryList{TypeMeta: aggregatedType}
	apiGroups := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}}
	versions := &metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{}}
	if h.address != "" {
		versions.ServerAddressByClientCIDRs = []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: h.address}}
	}
	names := slices.Collect(maps.Keys(all))
	for name := range others {
		if all[name] == nil {
			names = append(names, name)
			continue
		}
		own, _ := apiregistration.Priorities(schema.GroupVersion{Group: name})
		others[name] = max(others[name], own)
	}
	inOrder(names, others)
	for _, name := range names {
		own := all[name]
		if own == nil {
			own = &kinds.Group{}
		}
		g := h.documents(name, own).group
		if name != "" {
			apiGroups.Groups = append(apiGroups.Groups, g.apiGroup())
			named.Items = append(named.Items, g.aggregated(h.remote))
			continue
		}
		core.Items = append(core.Items, g.aggregated(h.remote))
		for _, v := range g.versions {
			versions.Versions = append(versions.Versions, v.Version)
		}
	}
	h.version = version
	h.roots = map[string]pair{
		"/api":  {&document{object: versions}, &document{object: core, aggregated: true}},
		"/apis": {&document{object: apiGroups}, &document{object: named, aggregated: true}},
	}
}

var aggregatedType = metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path == "/apis" || path == "/api" {
		h.remote.Update(r.Context())
	}
	docs, ok := h.at(path)
	if !ok {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	doc, mt, ok := negotiate(r.Header.Values("Accept"), docs.plain, docs.aggregated)
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
