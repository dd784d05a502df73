package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenet-run/tenet/kinds"
)

// objectCounts asks the store how many objects there are, when metrics are read.
type objectCounts struct {
	live  *kinds.Set
	store Counter
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
	for _, k := range c.live.Stored() {
		gr := k.GroupResource()
		n := float64(c.store.Count(k.Storage.Prefix))
		ch <- prometheus.MustNewConstMetric(storageObjects, prometheus.GaugeValue, n, gr.String())
		ch <- prometheus.MustNewConstMetric(resourceObjects, prometheus.GaugeValue, n, gr.Group, gr.Resource)
	}
}
