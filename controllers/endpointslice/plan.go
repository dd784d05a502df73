package endpointslice

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	netutils "k8s.io/utils/net"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// memory is what a plan for a Service remembers: the newest change of its pods that it has seen, and what it last told in events.
type memory struct {
	seen time.Time
	told string
}

// Plan brings a Service's slices to its pods.
func Plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	svc, ok := controllers.As[*corev1.Service](s, core.Service, key.Namespace, key.Name)
	if !ok || svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.Selector == nil {
		return controllers.Plan{} // the garbage collector takes the slices of a Service that is gone
	}
	r := reconciliation{s: s, svc: svc}
	pods := client.All[*corev1.Pod](s.List(core.Pod, svc.Namespace, labels.SelectorFromValidatedSet(svc.Spec.Selector)))
	r.sort(pods)
	ours := labels.SelectorFromValidatedSet(labels.Set{discoveryv1.LabelServiceName: svc.Name, discoveryv1.LabelManagedBy: ManagedBy})
	byType := map[discoveryv1.AddressType][]*discoveryv1.EndpointSlice{}
	supported := addressTypes(svc)
	for _, slice := range client.All[*discoveryv1.EndpointSlice](s.List(discovery.EndpointSlice, svc.Namespace, ours)) {
		switch {
		case slice.DeletionTimestamp != nil:
		case slices.Contains(supported, slice.AddressType):
			byType[slice.AddressType] = append(byType[slice.AddressType], slice)
		default:
			r.deletes = append(r.deletes, slice)
		}
	}
	for _, family := range supported {
		r.reconcile(family, byType[family])
	}

	had, _ := s.Memory.(memory)
	trigger, seen := triggerTime(svc, pods, had.seen)
	p := r.writes(trigger)
	told := strings.Join(r.trouble, "\n")
	p.Remember = memory{seen, told}
	if told != had.told {
		p.Events = r.events
	}
	p.Then = func(out controllers.Outcome) controllers.Plan {
		if out.Err == nil || controllers.Stale(out.Err) {
			return controllers.Plan{}
		}
		return controllers.Plan{Events: []controllers.Event{r.failed(out.Err.Error())}}
	}
	return p
}

// reconciliation gathers what is to be done about one Service.
type reconciliation struct {
	s                         controllers.Reader
	svc                       *corev1.Service
	members                   []member
	creates, updates, deletes []*discoveryv1.EndpointSlice
	events                    []controllers.Event
	trouble                   []string
}

// member is a pod that has a place among the endpoints.
type member struct {
	pod   *corev1.Pod
	node  *corev1.Node
	ports []discoveryv1.EndpointPort
	key   string
}

// sort finds the pods that are endpoints. One on a node that is not there is left out, but for Services that want every address published: it will be
// collected, and the Service is planned again when the node appears.
func (r *reconciliation) sort(pods []*corev1.Pod) {
	for _, pod := range pods {
		if ended(pod) || len(pod.Status.PodIP) == 0 && len(pod.Status.PodIPs) == 0 {
			continue
		}
		node, ok := controllers.As[*corev1.Node](r.s, core.Node, "", pod.Spec.NodeName)
		if !ok && !r.svc.Spec.PublishNotReadyAddresses {
			r.tell(r.failed(fmt.Sprintf("skipping Pod %s for Service %s/%s: Node %s Not Found", pod.Name, r.svc.Namespace, r.svc.Name, pod.Spec.NodeName)))
			continue
		}
		ports := endpointPorts(r.svc, pod)
		r.members = append(r.members, member{pod, node, ports, portsKey(ports)})
	}
}

func (r *reconciliation) tell(e controllers.Event) {
	r.events, r.trouble = append(r.events, e), append(r.trouble, e.Message)
}

func (r *reconciliation) failed(what string) controllers.Event {
	return r.event(corev1.EventTypeWarning, "FailedToUpdateEndpointSlices", fmt.Sprintf("Error updating Endpoint Slices for Service %s/%s: %s", r.svc.Namespace, r.svc.Name, what))
}

func (r *reconciliation) event(eventType, reason, message string) controllers.Event {
	return controllers.Event{Kind: core.Service, About: r.svc, Type: eventType, Reason: reason, Message: message}
}

// reconcile plans the slices of one family.
func (r *reconciliation) reconcile(family discoveryv1.AddressType, existing []*discoveryv1.EndpointSlice) {
	have := map[string][]*discoveryv1.EndpointSlice{}
	var c changes
	for _, slice := range existing {
		if !r.owns(slice) {
			c.deletes = append(c.deletes, slice)
			continue
		}
		key := portsKey(slice.Ports)
		have[key] = append(have[key], slice)
	}
	want := map[string]*group{}
	for _, m := range r.members {
		g := want[m.key]
		if g == nil {
			g = &group{family: family, ports: m.ports, desired: map[identity]*discoveryv1.Endpoint{}}
			want[m.key] = g
		}
		if e := endpoint(m, r.svc, family); len(e.Addresses) > 0 {
			g.add(&e)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		r.fit(&c, want[key], have[key])
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if want[key] == nil {
			c.deletes = append(c.deletes, have[key]...)
		}
	}
	// A Service always has a slice: one without endpoints says that there are none, rather than that nobody has looked.
	if len(existing) == len(c.deletes) && len(c.creates) == 0 {
		placeholder := r.newSlice(family, []discoveryv1.EndpointPort{})
		if len(c.deletes) == 1 && r.isPlaceholder(c.deletes[0], placeholder) {
			c.deletes = nil
		} else {
			c.creates = append(c.creates, placeholder)
		}
	}
	r.hint(&c, family, existing)
	r.recycle(&c)
	r.creates, r.updates, r.deletes = append(r.creates, c.creates...), append(r.updates, c.updates...), append(r.deletes, c.deletes...)
}

// recycle writes what would be a new slice into one that would be deleted.
func (r *reconciliation) recycle(c *changes) {
	var deletes []*discoveryv1.EndpointSlice
	for _, old := range c.deletes {
		n := len(c.creates)
		if n == 0 || !r.owns(old) {
			deletes = append(deletes, old)
			continue
		}
		slice := c.creates[n-1]
		c.creates = c.creates[:n-1]
		again := old.DeepCopy()
		again.Labels, again.Ports, again.Endpoints = slice.Labels, slice.Ports, slice.Endpoints
		c.updates = append(c.updates, again)
	}
	c.deletes = deletes
}

func (r *reconciliation) writes(trigger time.Time) (p controllers.Plan) {
	stamp := func(slice *discoveryv1.EndpointSlice) {
		if trigger.IsZero() {
			delete(slice.Annotations, corev1.EndpointsLastChangeTriggerTime)
			return
		}
		if slice.Annotations == nil {
			slice.Annotations = map[string]string{}
		}
		slice.Annotations[corev1.EndpointsLastChangeTriggerTime] = trigger.UTC().Format(time.RFC3339Nano)
	}
	for _, slice := range r.updates {
		stamp(slice)
		p.Updates = append(p.Updates, controllers.Update{Kind: discovery.EndpointSlice, Object: slice})
	}
	if r.svc.DeletionTimestamp == nil { // the garbage collector would have to take them again
		r.name()
		for _, slice := range r.creates {
			stamp(slice)
			p.Creates = append(p.Creates, controllers.Create{Kind: discovery.EndpointSlice, Object: slice})
		}
	}
	for _, slice := range r.deletes {
		p.Deletes = append(p.Deletes, controllers.DeleteOf(discovery.EndpointSlice, slice))
	}
	return p
}

// name gives new slices names that follow from the slices there are.
func (r *reconciliation) name() {
	if len(r.creates) == 0 {
		return
	}
	state := []string{string(r.svc.UID)}
	for _, slice := range client.All[*discoveryv1.EndpointSlice](r.s.List(discovery.EndpointSlice, r.svc.Namespace, labels.SelectorFromValidatedSet(labels.Set{discoveryv1.LabelServiceName: r.svc.Name}))) {
		state = append(state, string(slice.UID))
	}
	slices.Sort(state[1:])
	names := controllers.Names(r.s, discovery.EndpointSlice, r.svc.Namespace, controllers.NamePrefix(discovery.EndpointSlice, r.svc.Name), len(r.creates), state...)
	for i, slice := range r.creates {
		slice.Name = names[i]
	}
}

// addressTypes are the families of a Service, in their order.
func addressTypes(svc *corev1.Service) (types []discoveryv1.AddressType) {
	for _, family := range svc.Spec.IPFamilies {
		types = append(types, discoveryv1.AddressType(family))
	}
	switch ip := svc.Spec.ClusterIP; {
	case len(types) > 0:
		return types
	case ip == "" || ip == corev1.ClusterIPNone:
		return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}
	case netutils.IsIPv6String(ip):
		return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv6}
	}
	return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4}
}

// triggerTime is the earliest change of a pod that was not seen before, for whoever measures how long it takes to become a rule; the Service's own birth when
// nothing was seen before.
func triggerTime(svc *corev1.Service, pods []*corev1.Pod, seen time.Time) (trigger, newest time.Time) {
	newest = svc.CreationTimestamp.Time
	for _, pod := range pods {
		for _, c := range pod.Status.Conditions {
			if c.Type != corev1.PodReady {
				continue
			}
			at := c.LastTransitionTime.Time
			if at.After(seen) && (trigger.IsZero() || at.Before(trigger)) {
				trigger = at
			}
			if at.After(newest) {
				newest = at
			}
		}
	}
	if seen.IsZero() {
		return svc.CreationTimestamp.Time, newest
	}
	return trigger, newest
}
