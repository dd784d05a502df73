package endpointslice

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	netutils "k8s.io/utils/net"

	"github.com/tenet-run/tenet/controllers"
)

// identity is what makes an endpoint the same one: what else it says can change in place.
type identity struct{ addresses, hostname, namespace, name string }

func identify(e *discoveryv1.Endpoint) identity {
	id := identity{addresses: strings.Join(slices.Sorted(slices.Values(e.Addresses)), ",")}
	if e.Hostname != nil {
		id.hostname = *e.Hostname
	}
	if e.TargetRef != nil {
		id.namespace, id.name = e.TargetRef.Namespace, e.TargetRef.Name
	}
	return id
}

// sameEndpoint compares what identity leaves out. Hints are the business of another step.
func sameEndpoint(a, b *discoveryv1.Endpoint) bool {
	ref := func(e *discoveryv1.Endpoint) (r corev1.ObjectReference) {
		if e.TargetRef != nil {
			r = *e.TargetRef
		}
		r.ResourceVersion = ""
		return r
	}
	return equal(a.NodeName, b.NodeName) && equal(a.Zone, b.Zone) && equal(a.Conditions.Ready, b.Conditions.Ready) &&
		equal(a.Conditions.Serving, b.Conditions.Serving) && equal(a.Conditions.Terminating, b.Conditions.Terminating) && ref(a) == ref(b)
}

func equal[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// endpoint is what a pod is in one family; without addresses when it has none there.
func endpoint(m member, svc *corev1.Service, family discoveryv1.AddressType) discoveryv1.Endpoint {
	pod := m.pod
	serving, terminating := controllers.PodReady(pod) != nil, pod.DeletionTimestamp != nil
	ready := svc.Spec.PublishNotReadyAddresses || serving && !terminating
	e := discoveryv1.Endpoint{
		Addresses:  addresses(pod, family == discoveryv1.AddressTypeIPv6),
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if pod.Spec.NodeName != "" {
		e.NodeName = &pod.Spec.NodeName
	}
	if m.node != nil {
		if zone := m.node.Labels[corev1.LabelTopologyZone]; zone != "" {
			e.Zone = &zone
		}
	}
	if hasHostname(pod, svc) {
		e.Hostname = &pod.Spec.Hostname
	}
	return e
}

func hasHostname(pod *corev1.Pod, svc *corev1.Service) bool {
	return pod.Spec.Hostname != "" && pod.Spec.Subdomain == svc.Name && pod.Namespace == svc.Namespace
}

func addresses(pod *corev1.Pod, v6 bool) (out []string) {
	for _, ip := range pod.Status.PodIPs {
		if parsed := netutils.ParseIPSloppy(ip.IP); parsed != nil && netutils.IsIPv6(parsed) == v6 {
			out = append(out, parsed.String())
		}
	}
	return out
}

// endpointPorts is a Service's ports at a pod. A port by a name that the pod does not have is left out.
func endpointPorts(svc *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{}
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		if number, ok := targetPort(pod, p); ok {
			ports = append(ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &number, Protocol: &p.Protocol, AppProtocol: p.AppProtocol})
		}
	}
	return ports
}

// targetPort finds the number of a Service's port at a pod, by name in its containers and sidecars.
func targetPort(pod *corev1.Pod, p *corev1.ServicePort) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		return p.TargetPort.IntVal, true
	}
	find := func(c *corev1.Container) (int32, bool) {
		for _, port := range c.Ports {
			if port.Name == p.TargetPort.StrVal && port.Protocol == p.Protocol {
				return port.ContainerPort, true
			}
		}
		return 0, false
	}
	for i := range pod.Spec.Containers {
		if number, ok := find(&pod.Spec.Containers[i]); ok {
			return number, true
		}
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			if number, ok := find(c); ok {
				return number, true
			}
		}
	}
	return 0, false
}

// portsKey is equal for equal sets of ports.
func portsKey(ports []discoveryv1.EndpointPort) string {
	parts := make([]string, len(ports))
	for i, p := range ports {
		var b strings.Builder
		if p.Name != nil {
			b.WriteString(*p.Name)
		}
		b.WriteByte('/')
		if p.Port != nil {
			b.WriteString(strconv.Itoa(int(*p.Port)))
		}
		b.WriteByte('/')
		if p.Protocol != nil {
			b.WriteString(string(*p.Protocol))
		}
		b.WriteByte('/')
		if p.AppProtocol != nil {
			b.WriteString("+" + *p.AppProtocol)
		}
		parts[i] = b.String()
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}
