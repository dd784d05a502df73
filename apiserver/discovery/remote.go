package discovery

import (
	"cmp"
	"context"
	"slices"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/tenet-run/tenet/kinds/apiregistration"
)

// Remote tells of the group versions that other servers answer for. Their own documents (/apis/g/v) come from them.
type Remote interface {
	// Version changes with what the others tell.
	Version() uint64
	// Versions are the group versions, in any order; none: nil, at no cost.
	Versions() []RemoteVersion
	// Update makes what Resources tells as new as it should be. It may call the other servers.
	Update(ctx context.Context)
	// Resources is what a group version consists of.
	Resources(gv schema.GroupVersion) apidiscoveryv2.APIVersionDiscovery
}

// RemoteVersion is a group version of another server, with the priorities of its APIService.
type RemoteVersion struct {
	schema.GroupVersion
	GroupPriority, VersionPriority int32
}

// none is the Remote of a server that stands alone.
type none struct{}

func (none) Version() uint64           { return 0 }
func (none) Versions() []RemoteVersion { return nil }
func (none) Update(context.Context)    {}
func (none) Resources(gv schema.GroupVersion) apidiscoveryv2.APIVersionDiscovery {
	return apidiscoveryv2.APIVersionDiscovery{Version: gv.Version}
}

// with adds the versions of other servers to a group.
func (g group) with(list []RemoteVersion) group {
	if len(list) == 0 {
		return g
	}
	g.versions = slices.Clone(g.versions)
	for i := range g.versions {
		g.priority, g.versions[i].priority = apiregistration.Priorities(g.versions[i].GroupVersion)
	}
	for _, r := range list {
		g.priority = max(g.priority, r.GroupPriority)
		g.versions = append(g.versions, groupVersion{GroupVersion: r.GroupVersion, priority: r.VersionPriority, remote: true})
	}
	slices.SortStableFunc(g.versions, func(a, b groupVersion) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), version.CompareKubeAwareVersionStrings(b.Version, a.Version))
	})
	return g
}
