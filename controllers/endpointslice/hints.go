package endpointslice

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/endpointslice/topologycache"
	"k8s.io/endpointslice/trafficdist"
	"k8s.io/klog/v2"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
)

// byTopology reports whether a Service asks by annotation for endpoints to be spread over zones by their processors.
func byTopology(svc *corev1.Service) bool {
	v, ok := svc.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	if !ok {
		v = svc.Annotations[corev1.AnnotationTopologyMode]
	}
	return v == "Auto" || v == "auto"
}

// preferred reports whether a Service asks by trafficDistribution for near endpoints.
func preferred(svc *corev1.Service) bool {
	return svc.Spec.TrafficDistribution != nil && slices.Contains([]string{
		corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode,
	}, *svc.Spec.TrafficDistribution)
}

// hint sets the hints of all slices, those that were to stay as they are included. The annotation wins over the field.
func (r *reconciliation) hint(c *changes, family discoveryv1.AddressType, existing []*discoveryv1.EndpointSlice) {
	rest := slices.DeleteFunc(slices.Clone(existing), func(slice *discoveryv1.EndpointSlice) bool {
		named := func(o *discoveryv1.EndpointSlice) bool { return o.Name == slice.Name }
		return slices.ContainsFunc(c.updates, named) || slices.ContainsFunc(c.deletes, named)
	})
	info := &topologycache.SliceInfo{ServiceKey: r.svc.Namespace + "/" + r.svc.Name, AddressType: family, ToCreate: c.creates, ToUpdate: c.updates, Unchanged: rest}
	hinted := slices.ContainsFunc(existing, hasHints)
	switch {
	case byTopology(r.svc):
		cache := topologycache.NewTopologyCache()
		cache.SetNodes(klog.Logger{}, controllers.All[*corev1.Node](r.s, core.Node, ""))
		if hinted { // or it would be news
			cache.SetHints(info.ServiceKey, family, nil)
		}
		var events []*topologycache.EventBuilder
		c.creates, c.updates, events = cache.AddHints(klog.Logger{}, info)
		for _, e := range events {
			r.tell(r.event(e.EventType, e.Reason, e.Message))
		}
	case preferred(r.svc):
		c.creates, c.updates, _ = trafficdist.ReconcileHints(r.svc.Spec.TrafficDistribution, c.creates, c.updates, rest)
	default:
		c.creates, c.updates = topologycache.RemoveHintsFromSlices(info)
	}
}

func hasHints(slice *discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Hints != nil })
}
