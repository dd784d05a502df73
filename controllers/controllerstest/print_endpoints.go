package controllerstest

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// printEndpoints says what Endpoints and EndpointSlices point to: of pods how many in which condition, as their addresses depend on who was first; of others
// the address.
func printEndpoints(b *strings.Builder, obj any) {
	var list []string
	counts := map[string]int{}
	add := func(ref *corev1.ObjectReference, text, address string) {
		if ref == nil {
			text += " " + address
		}
		if counts[text]++; counts[text] == 1 {
			list = append(list, text)
		}
	}
	switch o := obj.(type) {
	case *discoveryv1.EndpointSlice:
		fmt.Fprintf(b, " %s", o.AddressType)
		for _, p := range o.Ports {
			fmt.Fprintf(b, " %s:%d/%s", *p.Name, *p.Port, *p.Protocol)
		}
		for _, e := range o.Endpoints {
			text := "not ready"
			if c := e.Conditions; c.Ready != nil && *c.Ready {
				text = "ready"
			}
			if c := e.Conditions; c.Terminating != nil && *c.Terminating {
				text += " terminating"
			}
			if c := e.Conditions; c.Serving != nil && *c.Serving != (e.Conditions.Ready != nil && *e.Conditions.Ready) {
				text += fmt.Sprintf(" serving=%v", *c.Serving)
			}
			if e.Hostname != nil {
				text += " " + *e.Hostname
			}
			if e.Zone != nil {
				text += " in " + *e.Zone
			}
			if e.Hints != nil {
				for _, z := range e.Hints.ForZones {
					text += " for " + z.Name
				}
				for _, n := range e.Hints.ForNodes {
					text += " for " + n.Name
				}
			}
			add(e.TargetRef, text, strings.Join(e.Addresses, ","))
		}
		if svc, ok := o.Labels[discoveryv1.LabelServiceName]; ok {
			fmt.Fprintf(b, " of %s by %s", svc, o.Labels[discoveryv1.LabelManagedBy])
		}
	case *corev1.Endpoints:
		for _, s := range o.Subsets {
			var ports []string
			for _, p := range s.Ports {
				ports = append(ports, fmt.Sprintf("%s:%d/%s", p.Name, p.Port, p.Protocol))
			}
			at := " at " + strings.Join(ports, " ")
			for _, a := range s.Addresses {
				add(a.TargetRef, "ready"+at, a.IP)
			}
			for _, a := range s.NotReadyAddresses {
				add(a.TargetRef, "not ready"+at, a.IP)
			}
		}
	}
	slices.Sort(list)
	for _, text := range list {
		fmt.Fprintf(b, "\n    %d x %s", counts[text], text)
	}
}
