package endpointslicemirroring

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	netutils "k8s.io/utils/net"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// maxPerSubset is how many addresses of a subset are mirrored, so that a subset is one slice of each family.
const maxPerSubset = 1000

// Plan makes the slices that mirror an Endpoints object, one for each family and set of ports.
func Plan(s controllers.Snapshot, key controllers.Key, now time.Time) (p controllers.Plan) {
	ours := labels.SelectorFromValidatedSet(labels.Set{discoveryv1.LabelServiceName: key.Name, discoveryv1.LabelManagedBy: ManagedBy})
	existing := slices.DeleteFunc(client.All[*discoveryv1.EndpointSlice](s.List(discovery.EndpointSlice, key.Namespace, ours)),
		func(slice *discoveryv1.EndpointSlice) bool { return slice.DeletionTimestamp != nil })
	ep, ok := controllers.As[*corev1.Endpoints](s, core.Endpoints, key.Namespace, key.Name)
	svc, found := controllers.As[*corev1.Service](s, core.Service, key.Namespace, key.Name)
	if !ok || !mirrored(ep) || !found || svc.Spec.Selector != nil {
		for _, slice := range existing {
			p.Deletes = append(p.Deletes, controllers.DeleteOf(discovery.EndpointSlice, slice))
		}
		return p
	}
	want, trouble := mirror(ep)
	var creates []*discoveryv1.EndpointSlice
	spare := map[discoveryv1.AddressType][]*discoveryv1.EndpointSlice{}
	for _, w := range want {
		i := slices.IndexFunc(existing, func(slice *discoveryv1.EndpointSlice) bool {
			return slice.AddressType == w.AddressType && equality.Semantic.DeepEqual(sorted(slice.Ports), w.Ports)
		})
		if i < 0 {
			creates = append(creates, w)
			continue
		}
		if has := existing[i]; !same(has, w) {
			p.Updates = append(p.Updates, rewrite(has, w))
		}
		existing = slices.Delete(existing, i, i+1)
	}
	for _, slice := range existing {
		spare[slice.AddressType] = append(spare[slice.AddressType], slice)
	}
	var made []*discoveryv1.EndpointSlice
	for _, w := range creates {
		if list := spare[w.AddressType]; len(list) > 0 { // written anew rather than deleted
			p.Updates = append(p.Updates, rewrite(list[0], w))
			spare[w.AddressType] = list[1:]
		} else if ep.DeletionTimestamp == nil {
			made = append(made, w)
		}
	}
	if len(made) > 0 {
		state := []string{string(ep.UID), ep.ResourceVersion}
		names := controllers.Names(s, discovery.EndpointSlice, key.Namespace, controllers.NamePrefix(discovery.EndpointSlice, key.Name), len(made), state...)
		for i, slice := range made {
			slice.Name = names[i]
			p.Creates = append(p.Creates, controllers.Create{Kind: discovery.EndpointSlice, Object: slice})
		}
	}
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN} {
		for _, slice := range spare[family] {
			p.Deletes = append(p.Deletes, controllers.DeleteOf(discovery.EndpointSlice, slice))
		}
	}
	var told []string
	for _, e := range trouble {
		told = append(told, e.Message)
	}
	all := strings.Join(told, "\n")
	if had, _ := s.Memory.(string); had != all {
		p.Events = trouble
	}
	p.Remember = all
	return p
}

// mirror is the slices that say what Endpoints say, and what of it cannot be said.
func mirror(ep *corev1.Endpoints) (out []*discoveryv1.EndpointSlice, trouble []controllers.Event) {
	invalid, skipped := 0, 0
	for _, subset := range core.RepackSubsets(ep.Subsets) {
		byFamily := map[discoveryv1.AddressType][]discoveryv1.Endpoint{}
		added := 0
		add := func(list []corev1.EndpointAddress, ready bool) {
			for i := range list {
				ip := netutils.ParseIPSloppy(list[i].IP)
				switch {
				case added >= maxPerSubset:
					skipped++
				case ip == nil:
					invalid++
				default:
					family := discoveryv1.AddressTypeIPv4
					if ip.To4() == nil {
						family = discoveryv1.AddressTypeIPv6
					}
					e := discoveryv1.Endpoint{
						Addresses: []string{ip.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, TargetRef: list[i].TargetRef, NodeName: list[i].NodeName,
					}
					if list[i].Hostname != "" {
						e.Hostname = &list[i].Hostname
					}
					byFamily[family] = append(byFamily[family], e)
					added++
				}
			}
		}
		add(subset.Addresses, true)
		add(subset.NotReadyAddresses, false)
		ports := []discoveryv1.EndpointPort{}
		for i := range subset.Ports {
			p := &subset.Ports[i]
			ports = append(ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &p.Port, Protocol: &p.Protocol, AppProtocol: p.AppProtocol})
		}
		for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
			if endpoints := byFamily[family]; len(endpoints) > 0 {
				out = append(out, newSlice(ep, family, sorted(ports), endpoints))
			}
		}
	}
	warn := func(reason, message string) {
		trouble = append(trouble, controllers.Event{Kind: core.Endpoints, About: ep, Type: corev1.EventTypeWarning, Reason: reason, Message: message})
	}
	if invalid > 0 {
		warn("InvalidIPAddress", fmt.Sprintf("Skipped %d invalid IP addresses when mirroring to EndpointSlices", invalid))
	}
	if skipped > 0 {
		warn("TooManyAddressesToMirror", fmt.Sprintf("A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %d addresses were skipped", maxPerSubset, invalid+skipped))
	}
	return out, trouble
}

func newSlice(ep *corev1.Endpoints, family discoveryv1.AddressType, ports []discoveryv1.EndpointPort, endpoints []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: controllers.NamePrefix(discovery.EndpointSlice, ep.Name), Namespace: ep.Namespace, Labels: map[string]string{}, Annotations: map[string]string{},
			OwnerReferences: []metav1.OwnerReference{controllers.ControllerRef(ep, core.Endpoints)},
		},
		AddressType: family, Ports: ports, Endpoints: endpoints,
	}
	maps.Copy(slice.Labels, ep.Labels)
	slice.Labels[discoveryv1.LabelServiceName], slice.Labels[discoveryv1.LabelManagedBy] = ep.Name, ManagedBy
	maps.Copy(slice.Annotations, ep.Annotations)
	delete(slice.Annotations, corev1.EndpointsLastChangeTriggerTime)
	delete(slice.Annotations, corev1.LastAppliedConfigAnnotation)
	return slice
}

// same reports whether a slice says already what is wanted; the order of its endpoints does not matter.
func same(has, want *discoveryv1.EndpointSlice) bool {
	return equality.Semantic.DeepEqual(has.Labels, want.Labels) && equality.Semantic.DeepEqual(has.Annotations, want.Annotations) &&
		equality.Semantic.DeepEqual(has.OwnerReferences, want.OwnerReferences) && equality.Semantic.DeepEqual(byAddress(has.Endpoints), byAddress(want.Endpoints))
}

func byAddress(list []discoveryv1.Endpoint) []discoveryv1.Endpoint {
	return slices.SortedStableFunc(slices.Values(list), func(a, b discoveryv1.Endpoint) int { return slices.Compare(a.Addresses, b.Addresses) })
}

func rewrite(has, want *discoveryv1.EndpointSlice) controllers.Update {
	slice := has.DeepCopy()
	slice.Labels, slice.Annotations, slice.OwnerReferences = want.Labels, want.Annotations, want.OwnerReferences
	slice.Ports, slice.Endpoints = want.Ports, want.Endpoints
	return controllers.Update{Kind: discovery.EndpointSlice, Object: slice}
}

// sorted is ports in an order that does not depend on who wrote them.
func sorted(ports []discoveryv1.EndpointPort) []discoveryv1.EndpointPort {
	text := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	number := func(p *int32) int32 {
		if p == nil {
			return -1
		}
		return *p
	}
	return slices.SortedStableFunc(slices.Values(ports), func(a, b discoveryv1.EndpointPort) int {
		return cmp.Or(cmp.Compare(text(a.Name), text(b.Name)), cmp.Compare(number(a.Port), number(b.Port)))
	})
}
