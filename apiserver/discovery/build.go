package discovery

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiregistration"
)

// priorities is the order of Kubernetes' groups, the first first; all others come after them by name.
var priorities = []string{
	"", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch",
	"certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io", "admissionregistration.k8s.io",
	"apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "resource.k8s.io",
	"flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io",
}

// group is one API group with its versions, preferred first.
type group struct {
	name     string
	priority int32 // of groups that other servers have a part in
	versions []groupVersion
}

type groupVersion struct {
	schema.GroupVersion
	resources []resource
	priority  int32
	remote    bool // another server's
}

// resource is one line of a resource list with its subresources.
type resource struct {
	metav1.APIResource
	sub []metav1.APIResource
}

var allVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// groupOf sorts the kinds of a group by version, in the order in which versions are preferred.
func groupOf(name string, list []*kinds.Kind) group {
	byVersion := map[string][]resource{}
	for _, k := range list {
		for _, s := range k.Served {
			if s.Group == name {
				byVersion[s.Version] = append(byVersion[s.Version], resourceOf(k, s))
			}
		}
	}
	g := group{name: name}
	for v, rs := range byVersion {
		slices.SortFunc(rs, func(a, b resource) int { return cmp.Compare(a.Name, b.Name) })
		g.versions = append(g.versions, groupVersion{GroupVersion: schema.GroupVersion{Group: name, Version: v}, resources: rs})
	}
	slices.SortFunc(g.versions, func(a, b groupVersion) int { return version.CompareKubeAwareVersionStrings(b.Version, a.Version) })
	return g
}

// inOrder sorts the names of groups: those with the highest priority first, Kubernetes' own in their order. others has priorities that other servers' groups have.
func inOrder(names []string, others map[string]int32) {
	priority := func(name string) int32 {
		p, _ := apiregistration.Priorities(schema.GroupVersion{Group: name})
		if o, ok := others[name]; ok {
			return o
		}
		return p
	}
	rank := func(name string) int {
		if i := slices.Index(priorities, name); i >= 0 {
			return i
		}
		return len(priorities)
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(others) > 0 {
			if c := cmp.Compare(priority(b), priority(a)); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
}

func resourceOf(k *kinds.Kind, s *kinds.Served) resource {
	verbs := slices.DeleteFunc(slices.Clone(allVerbs), func(v string) bool { return slices.Contains(k.WithoutVerbs, v) })
	r := resource{APIResource: metav1.APIResource{
		Name: k.Plural, SingularName: k.Singular, Namespaced: k.Namespaced, Kind: k.Kind, Verbs: verbs, ShortNames: k.ShortNames, Categories: k.Categories,
	}}
	if k.Stored() {
		r.StorageVersionHash = storageHash(k.Storage.GVK)
	}
	for _, sub := range k.SubresourcesOf(s) {
		a := metav1.APIResource{Name: k.Plural + "/" + sub.Name, Namespaced: k.Namespaced, Kind: k.Kind, Verbs: slices.Sorted(slices.Values(sub.Verbs))}
		// A log is text about the pod: the options in its query are not what is returned.
		if !sub.GVK.Empty() && sub.Name != "log" {
			a.Kind = sub.GVK.Kind
			if gv := sub.GVK.GroupVersion(); gv != s.GroupVersion() {
				a.Group, a.Version = gv.Group, gv.Version
			}
		}
		r.sub = append(r.sub, a)
	}
	slices.SortFunc(r.sub, func(a, b metav1.APIResource) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

// storageHash tells clients when the stored version changes (Kubernetes' StorageVersionHash).
func storageHash(gvk schema.GroupVersionKind) string {
	sum := sha256.Sum256([]byte(gvk.Group + "/" + gvk.Version + "/" + gvk.Kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

func (gv groupVersion) list() *metav1.APIResourceList {
	l := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: gv.String(),
		APIResources: []metav1.APIResource{},
	}
	for _, r := range gv.resources {
		l.APIResources = append(append(l.APIResources, r.APIResource), r.sub...)
	}
	return l
}

func (g group) apiGroup() metav1.APIGroup {
	out := metav1.APIGroup{Name: g.name}
	for _, v := range g.versions {
		out.Versions = append(out.Versions, metav1.GroupVersionForDiscovery{GroupVersion: v.String(), Version: v.Version})
	}
	out.PreferredVersion = out.Versions[0]
	return out
}

func (g group) aggregated(remote Remote) apidiscoveryv2.APIGroupDiscovery {
	out := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.name}}
	for _, v := range g.versions {
		if v.remote {
			out.Versions = append(out.Versions, remote.Resources(v.GroupVersion))
			continue
		}
		d := apidiscoveryv2.APIVersionDiscovery{Version: v.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}
		for _, r := range v.resources {
			scope := apidiscoveryv2.ScopeCluster
			if r.Namespaced {
				scope = apidiscoveryv2.ScopeNamespace
			}
			rd := apidiscoveryv2.APIResourceDiscovery{
				Resource: r.Name, SingularResource: r.SingularName, Scope: scope, Verbs: r.Verbs, ShortNames: r.ShortNames, Categories: r.Categories,
				ResponseKind: responseKind(r.APIResource, v.GroupVersion),
			}
			for _, s := range r.sub {
				_, name, _ := strings.Cut(s.Name, "/")
				rd.Subresources = append(rd.Subresources, apidiscoveryv2.APISubresourceDiscovery{Subresource: name, ResponseKind: responseKind(s, v.GroupVersion), Verbs: s.Verbs})
			}
			d.Resources = append(d.Resources, rd)
		}
		out.Versions = append(out.Versions, d)
	}
	return out
}

func responseKind(r metav1.APIResource, gv schema.GroupVersion) *metav1.GroupVersionKind {
	if r.Version != "" {
		gv = schema.GroupVersion{Group: r.Group, Version: r.Version}
	}
	return &metav1.GroupVersionKind{Group: gv.Group, Version: gv.Version, Kind: r.Kind}
}
