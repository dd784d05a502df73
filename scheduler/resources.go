package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resources "k8s.io/component-helpers/resource"
)

// What a container that asks for nothing is taken to ask for when nodes are ranked (never when they are filtered), as upstream has it.
const (
	assumedMilliCPU = 100
	assumedMemory   = 200 << 20
)

// amounts are sums of resources: CPU in millicores, everything else in its unit.
type amounts map[corev1.ResourceName]int64

func amountsOf(list corev1.ResourceList) amounts {
	a := make(amounts, len(list))
	for name, q := range list {
		if name == corev1.ResourceCPU {
			a[name] = q.MilliValue()
		} else {
			a[name] = q.Value()
		}
	}
	return a
}

func (a amounts) add(b amounts, sign int64) {
	for name, v := range b {
		if a[name] += sign * v; a[name] == 0 {
			delete(a, name)
		}
	}
}

// hostPort is a port taken on a node. An empty IP stands for all addresses.
type hostPort struct {
	ip       string
	protocol corev1.Protocol
	port     int32
}

func (p hostPort) conflicts(q hostPort) bool {
	return p.port == q.port && p.protocol == q.protocol && (p.ip == q.ip || p.ip == "" || q.ip == "")
}

// demand is what a pod asks of a node, worked out once per pod.
type demand struct {
	requests amounts // filters count with these
	ranked   amounts // scores count with these: requests, or an assumed minimum
	ports    []hostPort
}

func demandOf(pod *corev1.Pod) demand {
	requests := resources.PodRequests(pod, resources.PodResourcesOptions{UseStatusResources: true})
	ranked := resources.PodRequests(pod, resources.PodResourcesOptions{
		UseStatusResources: true,
		NonMissingContainerRequests: corev1.ResourceList{
			corev1.ResourceCPU:    *resource.NewMilliQuantity(assumedMilliCPU, resource.DecimalSI),
			corev1.ResourceMemory: *resource.NewQuantity(assumedMemory, resource.BinarySI),
		},
	})
	d := demand{requests: amountsOf(requests), ranked: amountsOf(ranked)}
	for name, v := range d.requests {
		if v == 0 {
			delete(d.requests, name)
		}
	}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			d.ports = appendPorts(d.ports, c.Ports)
		}
	}
	for _, c := range pod.Spec.Containers {
		d.ports = appendPorts(d.ports, c.Ports)
	}
	return d
}

func appendPorts(to []hostPort, ports []corev1.ContainerPort) []hostPort {
	for _, p := range ports {
		if p.HostPort <= 0 {
			continue
		}
		h := hostPort{ip: p.HostIP, protocol: p.Protocol, port: p.HostPort}
		if h.ip == "0.0.0.0" || h.ip == "::" {
			h.ip = ""
		}
		if h.protocol == "" {
			h.protocol = corev1.ProtocolTCP
		}
		to = append(to, h)
	}
	return to
}
