package apiserver

import (
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
)

type resourceKey struct{ group, version, plural string }

// serving finds what is served under a name, or nil.
func (s *Server) serving(group, version, plural string) *resource {
	if r := s.fixed[resourceKey{group, version, plural}]; r != nil {
		return r
	}
	d := s.live.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural})
	if d.Kind == nil {
		return nil
	}
	return &resource{kind: d.Kind, served: d.Served, head: encode.NewHead(d.Kind, d.Served)}
}

// resource is a kind in one served version.
type resource struct {
	kind   *kinds.Kind
	served *kinds.Served
	head   *encode.Head
}

// target is what a request is about. resource is nil for what is no object of a known kind.
type target struct {
	*resource
	sub *kinds.Subresource
	// isResource: the path has the form of a resource, whether it is known or not.
	isResource             bool
	group, version, plural string
	namespace, name        string
	subresource, path      string
}

// find takes a URL path apart. It never fails: unknown things give a target without resource.
func (s *Server) find(path string) target {
	var t target
	rest, ok := strings.CutPrefix(path, "/api/")
	if ok {
		t.version, rest, ok = strings.Cut(rest, "/")
	} else if rest, ok = strings.CutPrefix(path, "/apis/"); ok {
		t.group, rest, ok = strings.Cut(rest, "/")
		if ok {
			t.version, rest, ok = strings.Cut(rest, "/")
		}
	}
	rest = strings.Trim(rest, "/")
	if !ok || rest == "" {
		return target{}
	}
	t.isResource = true
	first, tail, _ := strings.Cut(rest, "/")
	if first == "namespaces" && tail != "" {
		// A namespace is an object itself, with subresources, and the scope of other objects.
		ns, inner, _ := strings.Cut(tail, "/")
		t.namespace = ns
		word, _, _ := strings.Cut(inner, "/")
		self := s.serving(t.group, t.version, "namespaces")
		if inner == "" || self != nil && self.kind.Subresource(word) != nil {
			t.plural, t.name = "namespaces", ns
			tail = inner
		} else {
			var has bool
			t.plural, tail, has = strings.Cut(inner, "/")
			if has {
				t.name, tail, _ = strings.Cut(tail, "/")
			}
		}
	} else {
		t.plural = first
		t.name, tail, _ = strings.Cut(tail, "/")
	}
	t.subresource, t.path, _ = strings.Cut(tail, "/")
	t.resource = s.serving(t.group, t.version, t.plural)
	if t.resource != nil {
		if t.subresource != "" {
			t.sub = t.kind.SubresourceOf(t.served, t.subresource)
			if t.sub == nil || t.path != "" && !t.sub.Connect {
				t.resource = nil
			}
		}
		scoped := t.namespace != "" && t.plural != "namespaces"
		if t.resource != nil && (scoped && !t.kind.Namespaced || !scoped && t.kind.Namespaced && t.name != "") {
			t.resource = nil
		}
	}
	return t
}

// verb is what a request asks of a target, in the words of authorization.
func (t *target) verb(method string, watch bool) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		if t.name == "" {
			if watch {
				return "watch"
			}
			return "list"
		}
		if watch && t.subresource == "" {
			return "watch"
		}
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if t.name == "" {
			return "deletecollection"
		}
		return "delete"
	}
	return ""
}

// offers reports whether a target knows a verb.
func (t *target) offers(verb string) bool {
	if t.sub != nil {
		if t.sub.Connect {
			return verb != "deletecollection" && verb != "watch"
		}
		for _, v := range t.sub.Verbs {
			if v == verb {
				return true
			}
		}
		return false
	}
	switch verb {
	case "create":
		if t.name != "" || t.kind.Namespaced && t.namespace == "" {
			return false
		}
	case "deletecollection":
		if t.kind.Namespaced && t.namespace == "" {
			return false
		}
	case "update", "patch":
		if t.name == "" {
			return false
		}
	case "":
		return false
	}
	for _, v := range t.kind.WithoutVerbs {
		if v == verb {
			return false
		}
	}
	return true
}
