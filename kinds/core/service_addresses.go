package core

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// ServicePools hand out what Services need and cannot choose themselves. Take is called for what was asked for ("" or 0: any that is free) and
// returns what the Service gets, or an error whose text goes to the user ("provided IP is already allocated"). Taking twice for one Service in a
// write that does not happen after all must do no harm: a pool should look at what is stored.
type ServicePools struct {
	// Families the cluster has Service addresses for, the default first.
	Families []corev1.IPFamily
	TakeIP   func(family corev1.IPFamily, want string) (string, error)
	TakePort func(want int32) (int32, error)
}

// CompleteService gives a Service its addresses and node ports. old is what is stored, nil on create. It must run after BeforeCreate or
// BeforeUpdate and before validation.
func CompleteService(s, old *corev1.Service, pools ServicePools) field.ErrorList {
	if errs := completeFamilies(s, old, pools.Families); len(errs) > 0 {
		return errs
	}
	if errs := completeClusterIPs(s, old, pools); len(errs) > 0 {
		return errs
	}
	return completePorts(s, old, pools)
}

func completeFamilies(s, old *corev1.Service, have []corev1.IPFamily) field.ErrorList {
	spec := &s.Spec
	if spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	withoutSelector := spec.ClusterIP == corev1.ClusterIPNone && len(spec.Selector) == 0
	if spec.IPFamilyPolicy == nil {
		policy := corev1.IPFamilyPolicySingleStack
		if old != nil && old.Spec.IPFamilyPolicy != nil {
			policy = *old.Spec.IPFamilyPolicy
		} else if withoutSelector {
			policy = corev1.IPFamilyPolicyRequireDualStack
		}
		spec.IPFamilyPolicy = &policy
	}
	if errs := validateClusterIPs(s, old); len(errs) > 0 {
		return errs
	}
	policyField := field.NewPath("spec", "ipFamilyPolicy")
	single := *spec.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack
	var errs field.ErrorList
	if old != nil && single {
		if len(spec.ClusterIPs) > 1 && slices.Equal(spec.ClusterIPs, old.Spec.ClusterIPs) {
			spec.ClusterIPs = spec.ClusterIPs[:1]
		}
		if len(spec.IPFamilies) > 1 && slices.Equal(spec.IPFamilies, old.Spec.IPFamilies) {
			spec.IPFamilies = spec.IPFamilies[:1]
		}
	} else if old != nil {
		if len(spec.ClusterIPs) == 1 && len(old.Spec.ClusterIPs) == 2 && spec.ClusterIPs[0] == old.Spec.ClusterIPs[0] {
			errs = append(errs, field.Invalid(policyField, spec.IPFamilyPolicy, "must be 'SingleStack' to release the secondary cluster IP"))
		}
		if len(spec.IPFamilies) == 1 && len(old.Spec.IPFamilies) == 2 && spec.IPFamilies[0] == old.Spec.IPFamilies[0] {
			errs = append(errs, field.Invalid(policyField, spec.IPFamilyPolicy, "must be 'SingleStack' to release the secondary IP family"))
		}
	}
	if single && len(spec.ClusterIPs) == 2 {
		errs = append(errs, field.Invalid(policyField, spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified"))
	}
	if single && len(spec.IPFamilies) == 2 {
		errs = append(errs, field.Invalid(policyField, spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"))
	}
	for i, ip := range spec.ClusterIPs {
		if ip == corev1.ClusterIPNone {
			break
		}
		if i >= len(spec.IPFamilies) {
			if family := familyOf(ip); slices.Contains(have, family) {
				spec.IPFamilies = append(spec.IPFamilies, family)
			} else {
				errs = append(errs, field.Invalid(field.NewPath("spec", "clusterIPs").Index(i), spec.ClusterIPs, fmt.Sprintf("%s is not configured on this cluster", family)))
			}
		}
	}
	if len(errs) > 0 {
		return errs
	}
	if !withoutSelector { // whose endpoints may be of any family, whatever the cluster has
		if *spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack && len(have) < 2 {
			errs = append(errs, field.Invalid(policyField, spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
		}
		for i, f := range spec.IPFamilies {
			if !slices.Contains(have, f) {
				errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilies").Index(i), f, "not configured on this cluster"))
			}
		}
		if len(errs) > 0 {
			return errs
		}
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{have[0]}
	}
	if !single && len(spec.IPFamilies) == 1 && (withoutSelector || len(have) == 2) {
		other := corev1.IPv6Protocol
		if spec.IPFamilies[0] == corev1.IPv6Protocol {
			other = corev1.IPv4Protocol
		}
		spec.IPFamilies = append(spec.IPFamilies, other)
	}
	return nil
}

func completeClusterIPs(s, old *corev1.Service, pools ServicePools) field.ErrorList {
	spec := &s.Spec
	if spec.Type == corev1.ServiceTypeExternalName || headless(s) {
		return nil
	}
	for i, family := range spec.IPFamilies {
		if i >= len(spec.ClusterIPs) {
			spec.ClusterIPs = append(spec.ClusterIPs, "")
		}
		want := spec.ClusterIPs[i]
		if old != nil && want != "" && slices.Contains(old.Spec.ClusterIPs, want) {
			continue
		}
		ip, err := pools.TakeIP(family, want)
		if err != nil {
			text := fmt.Sprintf("failed to allocate IP: %v", err)
			if want != "" {
				text = fmt.Sprintf("failed to allocate IP %v: %v", want, err)
			}
			return field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIPs"), spec.ClusterIPs, text)}
		}
		spec.ClusterIPs[i] = ip
		if i == 0 {
			spec.ClusterIP = ip
		}
	}
	return nil
}

func completePorts(s, old *corev1.Service, pools ServicePools) field.ErrorList {
	spec := &s.Spec
	mine := map[int32]bool{} // held by this Service: one number may serve several protocols
	if old != nil {
		for _, p := range old.Spec.Ports {
			mine[p.NodePort] = true
		}
	}
	if needsNodePorts(s) {
		assign := spec.Type == corev1.ServiceTypeNodePort || spec.AllocateLoadBalancerNodePorts == nil || *spec.AllocateLoadBalancerNodePorts
		shared := map[int32]map[corev1.Protocol]int32{} // by port: the node port its protocols got
		for i := range spec.Ports {
			p := &spec.Ports[i]
			if p.NodePort == 0 && !assign {
				continue
			}
			if p.NodePort == 0 {
				for protocol, port := range shared[p.Port] {
					if protocol != p.Protocol {
						p.NodePort = port
					}
				}
			}
			if p.NodePort == 0 || !mine[p.NodePort] {
				port, err := pools.TakePort(p.NodePort)
				if err != nil {
					fld := field.NewPath("spec", "ports").Index(i).Child("nodePort")
					if p.NodePort == 0 {
						return field.ErrorList{field.InternalError(fld, fmt.Errorf("failed to allocate a nodePort: %v", err))}
					}
					return field.ErrorList{field.Invalid(fld, p.NodePort, err.Error())}
				}
				p.NodePort, mine[port] = port, true
			}
			if shared[p.Port] == nil {
				shared[p.Port] = map[corev1.Protocol]int32{}
			}
			shared[p.Port][p.Protocol] = p.NodePort
		}
	}
	if needsHealthCheckPort(s) && (old == nil || old.Spec.HealthCheckNodePort == 0 || old.Spec.HealthCheckNodePort != spec.HealthCheckNodePort && !needsHealthCheckPort(old)) {
		port, err := pools.TakePort(spec.HealthCheckNodePort)
		if err != nil {
			return field.ErrorList{field.InternalError(field.NewPath("spec", "healthCheckNodePort"), fmt.Errorf("failed to allocate a HealthCheck NodePort %v: %v", spec.HealthCheckNodePort, err))}
		}
		spec.HealthCheckNodePort = port
	}
	return nil
}

func familyOf(ip string) corev1.IPFamily {
	switch {
	case netutils.IsIPv4String(ip):
		return corev1.IPv4Protocol
	case netutils.IsIPv6String(ip):
		return corev1.IPv6Protocol
	}
	return ""
}
