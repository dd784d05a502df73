package endpointslice

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// maxEndpoints is how many endpoints a slice holds, as upstream.
const maxEndpoints = 100

// changes are slices to write, private copies, and slices to delete.
type changes struct{ creates, updates, deletes []*discoveryv1.EndpointSlice }

// group is the endpoints of one family with the same ports, in the order of their pods' names.
type group struct {
	family  discoveryv1.AddressType
	ports   []discoveryv1.EndpointPort
	desired map[identity]*discoveryv1.Endpoint
	order   []identity
}

func (g *group) add(e *discoveryv1.Endpoint) {
	id := identify(e)
	if g.desired[id] == nil {
		g.order = append(g.order, id)
	}
	g.desired[id] = e
}

// take is the next endpoint that has no place yet.
func (g *group) take() *discoveryv1.Endpoint {
	for {
		id := g.order[0]
		g.order = g.order[1:]
		if e := g.desired[id]; e != nil {
			delete(g.desired, id)
			return e
		}
	}
}

// fit keeps endpoints where they are, puts new ones into slices that are written anyway, then into one slice that has room for all of them, or else into new
// slices: few writes count for more than full slices.
func (r *reconciliation) fit(c *changes, g *group, existing []*discoveryv1.EndpointSlice) {
	var unchanged, updates []*discoveryv1.EndpointSlice
	for _, slice := range existing {
		var keep []discoveryv1.Endpoint
		changed := false
		for i := range slice.Endpoints {
			is := &slice.Endpoints[i]
			id := identify(is)
			if want := g.desired[id]; want != nil {
				keep = append(keep, *want)
				changed = changed || !sameEndpoint(want, is)
				delete(g.desired, id)
			}
		}
		labels, relabelled := r.labels(slice)
		switch {
		case changed || len(keep) != len(slice.Endpoints):
			if len(keep) == 0 {
				c.deletes = append(c.deletes, slice)
				continue
			}
			updated := slice.DeepCopy()
			updated.Endpoints, updated.Labels = keep, labels
			updates = append(updates, updated)
		case relabelled:
			updated := slice.DeepCopy()
			updated.Labels = labels
			updates = append(updates, updated)
		default:
			unchanged = append(unchanged, slice)
		}
	}
	fill := func(slice *discoveryv1.EndpointSlice) {
		for len(g.desired) > 0 && len(slice.Endpoints) < maxEndpoints {
			slice.Endpoints = append(slice.Endpoints, *g.take())
		}
	}
	slices.SortStableFunc(updates, func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(len(b.Endpoints), len(a.Endpoints)) })
	for _, slice := range updates {
		fill(slice)
	}
	for len(g.desired) > 0 {
		if i := roomFor(unchanged, len(g.desired)); i >= 0 {
			slice := unchanged[i].DeepCopy()
			slice.Labels, _ = r.labels(slice)
			unchanged = slices.Delete(unchanged, i, i+1)
			fill(slice)
			updates = append(updates, slice)
			continue
		}
		slice := r.newSlice(g.family, g.ports)
		fill(slice)
		c.creates = append(c.creates, slice)
	}
	c.updates = append(c.updates, updates...)
}

// roomFor is the slice that n more endpoints fill best, or -1.
func roomFor(list []*discoveryv1.EndpointSlice, n int) int {
	best := -1
	for i, slice := range list {
		if with := len(slice.Endpoints) + n; n < maxEndpoints && with <= maxEndpoints && (best < 0 || len(slice.Endpoints) > len(list[best].Endpoints)) {
			best = i
		}
	}
	return best
}

func (r *reconciliation) newSlice(family discoveryv1.AddressType, ports []discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: controllers.NamePrefix(discovery.EndpointSlice, r.svc.Name), Namespace: r.svc.Namespace,
			OwnerReferences: []metav1.OwnerReference{controllers.ControllerRef(r.svc, core.Service)},
		},
		Ports: ports, AddressType: family, Endpoints: []discoveryv1.Endpoint{},
	}
	slice.Labels, _ = r.labels(slice)
	return slice
}

// labels are those of the Service, and the reserved ones. changed: those that are the Service's differ from what the slice has.
func (r *reconciliation) labels(slice *discoveryv1.EndpointSlice) (labels map[string]string, changed bool) {
	own := func(all map[string]string) map[string]string {
		out := map[string]string{}
		maps.Copy(out, all)
		for _, key := range []string{discoveryv1.LabelServiceName, discoveryv1.LabelManagedBy, corev1.IsHeadlessService} {
			delete(out, key)
		}
		return out
	}
	labels = own(r.svc.Labels)
	changed = !maps.Equal(labels, own(slice.Labels))
	if headless(r.svc) {
		labels[corev1.IsHeadlessService] = ""
	}
	labels[discoveryv1.LabelServiceName] = r.svc.Name
	labels[discoveryv1.LabelManagedBy] = ManagedBy
	return labels, changed
}

func headless(svc *corev1.Service) bool {
	return svc.Spec.ClusterIP == corev1.ClusterIPNone || svc.Spec.ClusterIP == ""
}

// owns: a slice may be left from another Service of the same name.
func (r *reconciliation) owns(slice *discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(slice.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.UID == r.svc.UID && o.Kind == "Service" && o.APIVersion == "v1"
	})
}

func (r *reconciliation) isPlaceholder(slice, placeholder *discoveryv1.EndpointSlice) bool {
	return r.owns(slice) && len(slice.Ports) == 0 && len(slice.Endpoints) == 0 && slice.AddressType == placeholder.AddressType &&
		equality.Semantic.DeepEqual(slice.Labels, placeholder.Labels)
}
