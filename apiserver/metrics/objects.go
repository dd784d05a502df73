package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenet-run/tenet/kinds"
)

// SetKinds replaces the kinds whose requests and objects are told apart.
func (m *Metrics) SetKinds(list []*kinds.Kind) {
	known := map[resourceKey]bool{}
	stored := make([]storedKind, 0, len(list))
	for _, k := range list {
		for _, s := range k.Served {
			known[resourceKey{s.Group, s.Version, k.Plural, ""}] = true
			for _, sub := range k.Subresources {
				known[resourceKey{s.Group, s.Version, k.Plural, sub.Name}] = true
			}
		}
		if !k.Stored() {
			continue
		}
		gr := k.GroupResource()
		stored = append(stored, storedKind{k.Storage.Prefix, gr.Group, gr.Resource, gr.String()})
	}
	m.known.Store(&known)
	m.stored.Store(&stored)
	m.observations.Clear()
}

type storedKind struct{ prefix, group, resource, name string }

// objectCounts asks the store how many objects there are, when metrics are read.
type objectCounts struct {
	stored *atomic.Pointer[[]storedKind]
	store  Counter
}

var (
	// storageObjects is the older name, by which most dashboards know it.
	storageObjects  = prometheus.NewDesc("apiserver_storage_objects", "Number of stored objects, split by resource.", []string{"resource"}, nil)
	resourceObjects = prometheus.NewDesc("apiserver_resource_objects", "Number of stored objects, split by group and resource.", []string{"group", "resource"}, nil)
)

func (c *objectCounts) Describe(ch chan<- *prometheus.Desc) {
	ch <- storageObjects
	ch <- resourceObjects
}

func (c *objectCounts) Collect(ch chan<- prometheus.Metric) {
	for _, k := range *c.stored.Load() {
		n := float64(c.store.Count(k.prefix))
		ch <- prometheus.MustNewConstMetric(storageObjects, prometheus.GaugeValue, n, k.name)
		ch <- prometheus.MustNewConstMetric(resourceObjects, prometheus.GaugeValue, n, k.group, k.resource)
	}
}
