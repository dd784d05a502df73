package core

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// RepackSubsets gives subsets their canonical form: addresses that offer the same ports stand together, each once, not ready where any of the subsets says so,
// and everything is sorted. The result shares no slices with what it is made from.
func RepackSubsets(subsets []corev1.EndpointSubset) []corev1.EndpointSubset {
	type host struct {
		ip  string
		uid types.UID // pods may share the address of a node
	}
	type port struct {
		name     string
		number   int32 // 0: the addresses have no port
		protocol corev1.Protocol
		app      string
	}
	addresses := map[host]corev1.EndpointAddress{}
	ready := map[port]map[host]bool{}
	values := map[port]corev1.EndpointPort{}
	for i := range subsets {
		s := &subsets[i]
		ports := s.Ports
		if len(ports) == 0 {
			ports = []corev1.EndpointPort{{}}
		}
		for _, p := range ports {
			key := port{p.Name, p.Port, p.Protocol, ""}
			if p.AppProtocol != nil {
				key.app = *p.AppProtocol
			}
			if ready[key] == nil {
				ready[key], values[key] = map[host]bool{}, p
			}
			add := func(list []corev1.EndpointAddress, is bool) {
				for _, a := range list {
					h := host{ip: a.IP}
					if a.TargetRef != nil {
						h.uid = a.TargetRef.UID
					}
					if _, has := addresses[h]; !has {
						addresses[h] = a
					}
					was, has := ready[key][h]
					ready[key][h] = is && (was || !has)
				}
			}
			add(s.Addresses, true)
			add(s.NotReadyAddresses, false)
		}
	}

	byHosts := map[string]*corev1.EndpointSubset{}
	for key, set := range ready {
		hosts := make([]host, 0, len(set))
		for h := range set {
			hosts = append(hosts, h)
		}
		slices.SortFunc(hosts, func(a, b host) int { return cmp.Or(cmp.Compare(a.ip, b.ip), cmp.Compare(a.uid, b.uid)) })
		var id strings.Builder
		for _, h := range hosts {
			id.WriteString(h.ip + "\x00" + string(h.uid) + "\x00")
			if set[h] {
				id.WriteByte('+')
			}
		}
		s := byHosts[id.String()]
		if s == nil {
			s = &corev1.EndpointSubset{}
			for _, h := range hosts {
				if set[h] {
					s.Addresses = append(s.Addresses, addresses[h])
				} else {
					s.NotReadyAddresses = append(s.NotReadyAddresses, addresses[h])
				}
			}
			byHosts[id.String()] = s
		}
		if key.number != 0 {
			s.Ports = append(s.Ports, values[key])
		}
	}
	out := make([]corev1.EndpointSubset, 0, len(byHosts))
	for _, s := range byHosts {
		slices.SortFunc(s.Ports, comparePorts)
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b corev1.EndpointSubset) int {
		return cmp.Or(slices.CompareFunc(a.Ports, b.Ports, comparePorts), slices.CompareFunc(a.Addresses, b.Addresses, compareAddresses),
			slices.CompareFunc(a.NotReadyAddresses, b.NotReadyAddresses, compareAddresses))
	})
	return out
}

func comparePorts(a, b corev1.EndpointPort) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
}

func compareAddresses(a, b corev1.EndpointAddress) int {
	if c := cmp.Compare(a.IP, b.IP); c != 0 || a.TargetRef == nil || b.TargetRef == nil {
		return c
	}
	return cmp.Compare(a.TargetRef.UID, b.TargetRef.UID)
}
