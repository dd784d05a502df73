package endpointslice

import (
	"fmt"
	"maps"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	netutils "k8s.io/utils/net"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

const (
	endpointsManagedBy = "endpoints.kubernetes.io/managed-by"
	endpointsManager   = "endpoint-controller"
	// maxAddresses is how many addresses an Endpoints holds; it is annotated when there were more.
	maxAddresses = 1000
)

// Endpoints is the controller of the old form. It owns the Endpoints of Services with a selector, and deletes those of a Service that is gone.
//
// Endpoints that somebody else made and that never had a Service are left alone.
func Endpoints() controllers.Controller {
	return controllers.Controller{
		Name: "endpoints", Component: endpointsManager,
		Inputs: []controllers.Input{
			{Kind: core.Service, Keys: controllers.Self},
			{Kind: core.Pod, Keys: podKeys, Delay: gatherEndpoints},
			{Kind: core.Endpoints, Keys: endpointsKeys},
		},
		Outputs: []controllers.Output{{Kind: core.Endpoints, Fields: "all of Services with a selector; delete when the Service is gone"}},
		Plan:    PlanEndpoints,
	}
}

// endpointsKeys names the Service of Endpoints that are ours, or that have gone.
func endpointsKeys(_ controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	if c.New != nil && c.New.GetLabels()[endpointsManagedBy] != endpointsManager {
		if c.Old == nil || c.Old.GetLabels()[endpointsManagedBy] != endpointsManager {
			return nil
		}
	}
	return []controllers.Key{controllers.KeyOf(c.Object())}
}

// PlanEndpoints brings a Service's Endpoints to its pods.
func PlanEndpoints(s controllers.Snapshot, key controllers.Key, now time.Time) (p controllers.Plan) {
	have, exists := controllers.As[*corev1.Endpoints](s, core.Endpoints, key.Namespace, key.Name)
	svc, ok := controllers.As[*corev1.Service](s, core.Service, key.Namespace, key.Name)
	switch {
	case !ok && exists && have.DeletionTimestamp == nil:
		p.Requires = []controllers.Require{{Kind: core.Service, Namespace: key.Namespace, Name: key.Name, Absent: true}}
		p.Deletes = []controllers.Delete{controllers.DeleteOf(core.Endpoints, have)}
		return p
	case !ok || svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.Selector == nil:
		return p
	}
	pods := client.All[*corev1.Pod](s.List(core.Pod, svc.Namespace, labels.SelectorFromValidatedSet(svc.Spec.Selector)))
	last, _ := s.Memory.(time.Time)
	trigger, seen := triggerTime(svc, pods, last)
	p.Remember = seen

	subsets := core.RepackSubsets(subsetsOf(svc, pods))
	over := truncate(subsets)
	if exists && equality.Semantic.DeepEqual(core.RepackSubsets(have.Subsets), withAddresses(subsets)) && labelled(have, svc) &&
		(have.Annotations[corev1.EndpointsOverCapacity] == "truncated") == over {
		return p
	}
	ep := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name}}
	if exists {
		ep = have.DeepCopy()
	}
	ep.Subsets, ep.Labels = withAddresses(subsets), maps.Clone(svc.Labels)
	if ep.Labels == nil {
		ep.Labels = map[string]string{}
	}
	delete(ep.Labels, corev1.IsHeadlessService)
	if headless(svc) {
		ep.Labels[corev1.IsHeadlessService] = ""
	}
	ep.Labels[endpointsManagedBy] = endpointsManager
	annotate(ep, corev1.EndpointsLastChangeTriggerTime, trigger.UTC().Format(time.RFC3339Nano), !trigger.IsZero())
	annotate(ep, corev1.EndpointsOverCapacity, "truncated", over)
	what, reason := fmt.Sprintf("Failed to create endpoint for service %s/%s: ", svc.Namespace, svc.Name), "FailedToCreateEndpoint"
	if exists {
		p.Updates = []controllers.Update{{Kind: core.Endpoints, Object: ep}}
		what, reason = fmt.Sprintf("Failed to update endpoint %s/%s: ", svc.Namespace, svc.Name), "FailedToUpdateEndpoint"
	} else {
		p.Creates = []controllers.Create{{Kind: core.Endpoints, Object: ep}}
	}
	p.Then = func(out controllers.Outcome) controllers.Plan {
		if out.Err == nil || controllers.Stale(out.Err) {
			return controllers.Plan{}
		}
		return controllers.Plan{Events: []controllers.Event{{Kind: core.Endpoints, About: ep, Type: corev1.EventTypeWarning, Reason: reason, Message: what + out.Err.Error()}}}
	}
	return p
}

// subsetsOf is one subset for every pod and port.
func subsetsOf(svc *corev1.Service, pods []*corev1.Pod) (subsets []corev1.EndpointSubset) {
	for _, pod := range pods {
		a, ok := address(svc, pod)
		if ended(pod) || !ok || pod.DeletionTimestamp != nil && !svc.Spec.PublishNotReadyAddresses {
			continue
		}
		add := func(ports []corev1.EndpointPort) {
			s := corev1.EndpointSubset{Ports: ports}
			if svc.Spec.PublishNotReadyAddresses || controllers.PodReady(pod) != nil {
				s.Addresses = []corev1.EndpointAddress{a}
			} else {
				s.NotReadyAddresses = []corev1.EndpointAddress{a}
			}
			subsets = append(subsets, s)
		}
		if len(svc.Spec.Ports) == 0 && svc.Spec.ClusterIP == corev1.ClusterIPNone {
			add(nil)
		}
		for i := range svc.Spec.Ports {
			port := &svc.Spec.Ports[i]
			if number, ok := targetPort(pod, port); ok {
				add([]corev1.EndpointPort{{Name: port.Name, Port: number, Protocol: port.Protocol, AppProtocol: port.AppProtocol}})
			}
		}
	}
	return subsets
}

// address is a pod's address in the Service's first family.
func address(svc *corev1.Service, pod *corev1.Pod) (corev1.EndpointAddress, bool) {
	v6 := false
	switch {
	case len(svc.Spec.IPFamilies) > 0:
		v6 = svc.Spec.IPFamilies[0] == corev1.IPv6Protocol
	case headless(svc):
		v6 = netutils.IsIPv6String(pod.Status.PodIP)
	default:
		v6 = netutils.IsIPv6String(svc.Spec.ClusterIP)
	}
	ips := addresses(pod, v6)
	if len(ips) == 0 {
		return corev1.EndpointAddress{}, false
	}
	a := corev1.EndpointAddress{
		IP: ips[0], NodeName: &pod.Spec.NodeName,
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if hasHostname(pod, svc) {
		a.Hostname = pod.Spec.Hostname
	}
	return a, true
}

// labelled reports whether Endpoints have the Service's labels, and ours.
func labelled(ep *corev1.Endpoints, svc *corev1.Service) bool {
	if ep.Labels[endpointsManagedBy] != endpointsManager {
		return false
	}
	have, want := maps.Clone(ep.Labels), maps.Clone(svc.Labels)
	delete(have, endpointsManagedBy)
	delete(have, corev1.IsHeadlessService)
	delete(want, corev1.IsHeadlessService)
	return maps.Equal(have, want)
}

func annotate(ep *corev1.Endpoints, key, value string, is bool) {
	switch {
	case !is:
		delete(ep.Annotations, key)
	case ep.Annotations == nil:
		ep.Annotations = map[string]string{key: value}
	default:
		ep.Annotations[key] = value
	}
}

// truncate leaves as many addresses as Endpoints hold, of each subset in proportion, the ready ones first.
func truncate(subsets []corev1.EndpointSubset) bool {
	ready, unready := 0, 0
	for _, s := range subsets {
		ready, unready = ready+len(s.Addresses), unready+len(s.NotReadyAddresses)
	}
	if ready+unready <= maxAddresses {
		return false
	}
	room, total := maxAddresses-ready, unready
	if ready > maxAddresses {
		room, total = maxAddresses, ready
	}
	left := room
	for i := range subsets {
		s := &subsets[i]
		list := &s.NotReadyAddresses
		if ready > maxAddresses {
			list, s.NotReadyAddresses = &s.Addresses, nil
		}
		n := min(int(math.Ceil(float64(len(*list))/float64(total)*float64(room))), left, len(*list))
		*list = (*list)[:n]
		left -= n
	}
	return true
}

// withAddresses leaves out subsets without any: the API does not take them.
func withAddresses(subsets []corev1.EndpointSubset) (out []corev1.EndpointSubset) {
	for _, s := range subsets {
		if len(s.Addresses)+len(s.NotReadyAddresses) > 0 {
			out = append(out, s)
		}
	}
	return out
}
