package aggregation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/apiserver/discovery"
	"github.com/tenet-run/tenet/kinds/apiregistration"
)

// freshFor is how long what a backend has told of its resources is not asked for again.
const freshFor = 30 * time.Second

// maxDocument is the most that a backend may tell.
const maxDocument = 32 << 20

// documents are what a backend has told of what it serves, kept with the tag by which it knows whether that is still so.
type documents struct {
	mu      sync.Mutex
	etag    string
	asked   time.Time
	version *apidiscoveryv2.APIVersionDiscovery // nil: nothing was told yet
}

// Version changes with what Versions and Resources say.
func (r *Registry) Version() uint64 { return r.version.Load() }

// Versions implements discovery.Remote.
func (r *Registry) Versions() []discovery.RemoteVersion {
	var out []discovery.RemoteVersion
	for gv, m := range r.remotes() {
		out = append(out, discovery.RemoteVersion{GroupVersion: gv, GroupPriority: m.object.Spec.GroupPriorityMinimum, VersionPriority: m.object.Spec.VersionPriority})
	}
	return out
}

// Update implements discovery.Remote: it asks all backends at once that were not asked for a while.
func (r *Registry) Update(ctx context.Context) {
	var all sync.WaitGroup
	for _, m := range slices.Collect(maps.Values(r.remotes())) {
		all.Go(func() {
			if m.update(ctx, r.cfg.Now()) {
				r.version.Add(1)
			}
		})
	}
	all.Wait()
}

// Resources implements discovery.Remote.
func (r *Registry) Resources(gv schema.GroupVersion) apidiscoveryv2.APIVersionDiscovery {
	stale := apidiscoveryv2.APIVersionDiscovery{Version: gv.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessStale}
	m := r.remotes()[gv]
	if m == nil {
		return stale
	}
	m.documents.mu.Lock()
	defer m.documents.mu.Unlock()
	if m.documents.version == nil {
		return stale
	}
	return *m.documents.version
}

// update reports whether what is known has changed.
func (m *remote) update(ctx context.Context, now time.Time) bool {
	d := &m.documents
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.version != nil && d.version.Freshness == apidiscoveryv2.DiscoveryFreshnessCurrent && now.Sub(d.asked) < freshFor {
		return false
	}
	had := d.version
	if apiregistration.Available(m.object) && m.err == nil {
		v, etag, err := m.resources(ctx, d.etag)
		switch {
		case err != nil:
			m.registry.cfg.Logger.Warn("an aggregated API does not tell what it serves", "apiservice", m.object.Name, "error", err)
			m.doubt()
		case v == nil && had != nil: // as it was
			same := *had
			same.Freshness = apidiscoveryv2.DiscoveryFreshnessCurrent
			d.version, d.asked = &same, now
			return had.Freshness != same.Freshness
		case v != nil:
			v.Version, v.Freshness = m.gv.Version, apidiscoveryv2.DiscoveryFreshnessCurrent
			d.version, d.etag, d.asked = v, etag, now
			return !reflect.DeepEqual(had, v)
		}
	}
	if had == nil || had.Freshness == apidiscoveryv2.DiscoveryFreshnessStale {
		return false
	}
	old := *had
	old.Freshness = apidiscoveryv2.DiscoveryFreshnessStale
	d.version = &old
	return true
}

const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// resources asks a backend what it serves; nil: the same as when it gave the tag. Servers without aggregated discovery give the plain list.
func (m *remote) resources(ctx context.Context, etag string) (*apidiscoveryv2.APIVersionDiscovery, string, error) {
	head := http.Header{"Accept": {aggregated + ",application/json"}}
	if etag != "" {
		head.Set("If-None-Match", etag)
	}
	var list apidiscoveryv2.APIGroupDiscoveryList
	full, tag := false, ""
	code, err := m.get(ctx, "/apis", head, func(resp *http.Response) error {
		if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Content-Type"), "as=APIGroupDiscoveryList") {
			return nil
		}
		full, tag = true, resp.Header.Get("ETag")
		return json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(&list)
	})
	if err != nil {
		return nil, "", err
	}
	if code == http.StatusNotModified && etag != "" {
		return nil, etag, nil
	}
	if full {
		for _, g := range list.Items {
			for i := range g.Versions {
				if g.Name == m.gv.Group && g.Versions[i].Version == m.gv.Version {
					return withKinds(&g.Versions[i]), tag, nil
				}
			}
		}
		return nil, "", fmt.Errorf("%v is not served there", m.gv)
	}
	path := "/apis/" + m.gv.String()
	if m.gv.Group == "" {
		path = "/api/" + m.gv.Version
	}
	var plain metav1.APIResourceList
	code, err = m.get(ctx, path, http.Header{"Accept": {"application/json"}}, func(resp *http.Response) error {
		return json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(&plain)
	})
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%s answered %d", path, code)
	}
	if err != nil {
		return nil, "", err
	}
	return fromPlain(m.gv, plain.APIResources), "", nil
}

// withKinds leaves no resource without a kind, which some clients cannot do with.
func withKinds(v *apidiscoveryv2.APIVersionDiscovery) *apidiscoveryv2.APIVersionDiscovery {
	for i := range v.Resources {
		r := &v.Resources[i]
		if r.ResponseKind == nil {
			r.ResponseKind = &metav1.GroupVersionKind{}
		}
		for j := range r.Subresources {
			if r.Subresources[j].ResponseKind == nil {
				r.Subresources[j].ResponseKind = &metav1.GroupVersionKind{}
			}
		}
	}
	return v
}

func fromPlain(gv schema.GroupVersion, list []metav1.APIResource) *apidiscoveryv2.APIVersionDiscovery {
	out := &apidiscoveryv2.APIVersionDiscovery{}
	at := map[string]int{}
	kind := func(r metav1.APIResource) *metav1.GroupVersionKind {
		k := &metav1.GroupVersionKind{Group: gv.Group, Version: gv.Version, Kind: r.Kind}
		if r.Version != "" {
			k.Group, k.Version = r.Group, r.Version
		}
		return k
	}
	parent := func(name string, r metav1.APIResource) *apidiscoveryv2.APIResourceDiscovery {
		if i, ok := at[name]; ok {
			return &out.Resources[i]
		}
		scope := apidiscoveryv2.ScopeCluster
		if r.Namespaced {
			scope = apidiscoveryv2.ScopeNamespace
		}
		at[name] = len(out.Resources)
		out.Resources = append(out.Resources, apidiscoveryv2.APIResourceDiscovery{Resource: name, Scope: scope, ResponseKind: &metav1.GroupVersionKind{}})
		return &out.Resources[at[name]]
	}
	for _, r := range list {
		name, sub, isSub := strings.Cut(r.Name, "/")
		p := parent(name, r)
		if isSub {
			p.Subresources = append(p.Subresources, apidiscoveryv2.APISubresourceDiscovery{Subresource: sub, ResponseKind: kind(r), Verbs: r.Verbs})
			continue
		}
		p.SingularResource, p.Verbs, p.ShortNames, p.Categories, p.ResponseKind = r.SingularName, r.Verbs, r.ShortNames, r.Categories, kind(r)
	}
	return out
}
