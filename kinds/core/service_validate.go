package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	kindmeta "github.com/tenet-run/tenet/kinds/meta"
)

// validateService holds for creates (old is nil) and updates.
func validateService(s, old *corev1.Service) field.ErrorList {
	spec, fld := &s.Spec, field.NewPath("spec")
	annotations := field.NewPath("metadata", "annotations")
	var errs field.ErrorList

	hints, hasHints := s.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	if mode, ok := s.Annotations[corev1.AnnotationTopologyMode]; ok && hasHints && mode != hints {
		errs = append(errs, field.Invalid(annotations.Key(corev1.AnnotationTopologyMode), mode,
			fmt.Sprintf("must match annotations[%s] when both are specified", corev1.DeprecatedAnnotationTopologyAwareHints)))
	}
	if len(spec.Ports) == 0 && !headless(s) && spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(fld.Child("ports"), ""))
	}
	switch spec.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		if headless(s) {
			errs = append(errs, field.Invalid(fld.Child("clusterIPs").Index(0), spec.ClusterIPs[0], fmt.Sprintf("may not be set to 'None' for %s services", spec.Type)))
		}
	case corev1.ServiceTypeExternalName:
		errs = append(errs, validateExternalName(spec, fld)...)
	}

	names := map[string]bool{}
	for i := range spec.Ports {
		errs = append(errs, validateServicePort(&spec.Ports[i], len(spec.Ports) > 1, names, fld.Child("ports").Index(i))...)
	}
	if spec.Selector != nil {
		errs = append(errs, kindmeta.ValidateLabels(spec.Selector, fld.Child("selector"))...)
	}
	errs = append(errs, validateAffinity(spec, fld)...)
	errs = append(errs, validateClusterIPs(s, old)...)

	var knownIPs []string // what was once accepted stays
	if old != nil {
		knownIPs = old.Spec.ExternalIPs
	}
	for i, ip := range spec.ExternalIPs {
		if bad := validation.IsValidIPForLegacyField(fld.Child("externalIPs").Index(i), ip, true, knownIPs); len(bad) > 0 {
			errs = append(errs, bad...)
		} else {
			errs = append(errs, ValidateEndpointIP(ip, fld.Child("externalIPs").Index(i))...)
		}
	}

	switch spec.Type {
	case corev1.ServiceTypeClusterIP:
		for i, p := range spec.Ports {
			if p.NodePort != 0 {
				errs = append(errs, field.Forbidden(fld.Child("ports").Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
			}
		}
	case corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeExternalName:
	case "":
		errs = append(errs, field.Required(fld.Child("type"), ""))
	default:
		errs = append(errs, field.NotSupported(fld.Child("type"), spec.Type, []corev1.ServiceType{
			corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort,
		}))
	}
	errs = append(errs, validateDistinctPorts(spec.Ports, fld.Child("ports"))...)
	errs = append(errs, validateSourceRanges(s, old)...)

	if spec.AllocateLoadBalancerNodePorts != nil && spec.Type != corev1.ServiceTypeLoadBalancer {
		errs = append(errs, field.Forbidden(fld.Child("allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'"))
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer && spec.AllocateLoadBalancerNodePorts == nil {
		errs = append(errs, field.Required(field.NewPath("allocateLoadBalancerNodePorts"), ""))
	}
	errs = append(errs, validateLoadBalancerClass(s)...)
	errs = append(errs, validateTrafficPolicies(s)...)
	if d := spec.TrafficDistribution; d != nil {
		valid := []string{corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode}
		if !slices.Contains(valid, *d) {
			errs = append(errs, field.NotSupported(fld.Child("trafficDistribution"), *d, valid))
		}
	}
	return errs
}

func validateExternalName(spec *corev1.ServiceSpec, fld *field.Path) field.ErrorList {
	const unused = "may not be set for ExternalName services"
	var errs field.ErrorList
	if len(spec.ClusterIPs) > 0 {
		errs = append(errs, field.Forbidden(fld.Child("clusterIPs"), unused))
	}
	if len(spec.IPFamilies) > 0 {
		errs = append(errs, field.Forbidden(fld.Child("ipFamilies"), unused))
	}
	if spec.IPFamilyPolicy != nil {
		errs = append(errs, field.Forbidden(fld.Child("ipFamilyPolicy"), unused))
	}
	if cname := strings.TrimSuffix(spec.ExternalName, "."); cname == "" {
		return append(errs, field.Required(fld.Child("externalName"), ""))
	} else {
		return append(errs, invalidAll(fld.Child("externalName"), cname, validation.IsDNS1123Subdomain(cname))...)
	}
}

func validateServicePort(p *corev1.ServicePort, needsName bool, names map[string]bool, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	if needsName && p.Name == "" {
		errs = append(errs, field.Required(fld.Child("name"), ""))
	} else if p.Name != "" {
		errs = append(errs, validateLabel(p.Name, fld.Child("name"))...)
		if names[p.Name] {
			errs = append(errs, field.Duplicate(fld.Child("name"), p.Name))
		}
		names[p.Name] = true
	}
	errs = append(errs, invalidAll(fld.Child("port"), p.Port, validation.IsValidPortNum(int(p.Port)))...)
	errs = append(errs, validateProtocol(p.Protocol, fld.Child("protocol"))...)
	if p.TargetPort.Type == intstr.Int {
		errs = append(errs, invalidAll(fld.Child("targetPort"), p.TargetPort.IntValue(), validation.IsValidPortNum(p.TargetPort.IntValue()))...)
	} else {
		errs = append(errs, invalidAll(fld.Child("targetPort"), p.TargetPort.StrVal, validation.IsValidPortName(p.TargetPort.StrVal))...)
	}
	if p.AppProtocol != nil {
		errs = append(errs, validateQualifiedName(*p.AppProtocol, fld.Child("appProtocol"))...)
	}
	return errs
}

func validateAffinity(spec *corev1.ServiceSpec, fld *field.Path) field.ErrorList {
	config := fld.Child("sessionAffinityConfig")
	switch spec.SessionAffinity {
	case "":
		return field.ErrorList{field.Required(fld.Child("sessionAffinity"), "")}
	case corev1.ServiceAffinityNone:
		if spec.SessionAffinityConfig != nil {
			return field.ErrorList{field.Forbidden(config, "must not be set when session affinity is None")}
		}
	case corev1.ServiceAffinityClientIP:
		const when = "when session affinity type is ClientIP"
		c := spec.SessionAffinityConfig
		if c == nil {
			return field.ErrorList{field.Required(config, when)}
		}
		if c.ClientIP == nil {
			return field.ErrorList{field.Required(config.Child("clientIP"), when)}
		}
		timeout := config.Child("clientIP", "timeoutSeconds")
		if c.ClientIP.TimeoutSeconds == nil {
			return field.ErrorList{field.Required(timeout, when)}
		}
		const day = 86400
		if t := *c.ClientIP.TimeoutSeconds; t <= 0 || t > day {
			return field.ErrorList{field.Invalid(timeout, t, fmt.Sprintf("must be greater than 0 and less than %d", day))}
		}
	default:
		return field.ErrorList{field.NotSupported(fld.Child("sessionAffinity"), spec.SessionAffinity,
			[]corev1.ServiceAffinity{corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone})}
	}
	return nil
}

func validateDistinctPorts(ports []corev1.ServicePort, fld *field.Path) field.ErrorList {
	type key struct {
		protocol corev1.Protocol
		port     int32
	}
	var errs field.ErrorList
	nodePorts, own := map[key]bool{}, map[key]bool{}
	for i, p := range ports {
		if k := (key{p.Protocol, p.NodePort}); p.NodePort != 0 {
			if nodePorts[k] {
				errs = append(errs, field.Duplicate(fld.Index(i).Child("nodePort"), p.NodePort))
			}
			nodePorts[k] = true
		}
	}
	for i, p := range ports {
		k := key{p.Protocol, p.Port}
		if own[k] {
			errs = append(errs, field.Duplicate(fld.Index(i), corev1.ServicePort{Protocol: p.Protocol, Port: p.Port}))
		}
		own[k] = true
	}
	return errs
}

func validateSourceRanges(s, old *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	const onlyLoadBalancer = "may only be used when `type` is 'LoadBalancer'"
	if len(s.Spec.LoadBalancerSourceRanges) > 0 {
		fld := field.NewPath("spec", "LoadBalancerSourceRanges")
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
			errs = append(errs, field.Forbidden(fld, onlyLoadBalancer))
		}
		var known []string
		if old != nil {
			for _, r := range old.Spec.LoadBalancerSourceRanges {
				known = append(known, strings.TrimSpace(r))
			}
		}
		for i, r := range s.Spec.LoadBalancerSourceRanges { // spaces around them are part of the API by now
			errs = append(errs, validation.IsValidCIDRForLegacyField(fld.Index(i), strings.TrimSpace(r), true, known)...)
		}
		return errs
	}
	text, ok := s.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]
	if !ok {
		return nil
	}
	fld := field.NewPath("metadata", "annotations").Key(corev1.AnnotationLoadBalancerSourceRangesKey)
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		errs = append(errs, field.Forbidden(fld, onlyLoadBalancer))
	}
	if old != nil && old.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey] == text {
		return errs
	}
	if text = strings.TrimSpace(text); text != "" {
		for _, r := range strings.Split(text, ",") {
			errs = append(errs, validation.IsValidCIDRForLegacyField(fld, strings.TrimSpace(r), true, nil)...)
		}
	}
	return errs
}

func validateLoadBalancerClass(s *corev1.Service) field.ErrorList {
	fld := field.NewPath("spec", "loadBalancerClass")
	switch class := s.Spec.LoadBalancerClass; {
	case class == nil:
		return nil
	case s.Spec.Type == corev1.ServiceTypeLoadBalancer:
		return validateQualifiedName(*class, fld)
	default:
		return field.ErrorList{field.Forbidden(fld, "may only be used when `type` is 'LoadBalancer'")}
	}
}

func validateTrafficPolicies(s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	fld := field.NewPath("spec", "externalTrafficPolicy")
	switch p := s.Spec.ExternalTrafficPolicy; {
	case !reachedFromOutside(s):
		if p != "" {
			errs = append(errs, field.Invalid(fld, p, "may only be set for externally-accessible services"))
		}
	case p == "":
		errs = append(errs, field.Required(fld, ""))
	case p != corev1.ServiceExternalTrafficPolicyCluster && p != corev1.ServiceExternalTrafficPolicyLocal:
		errs = append(errs, field.NotSupported(fld, p, []corev1.ServiceExternalTrafficPolicy{corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal}))
	}
	fld = field.NewPath("spec", "healthCheckNodePort")
	switch port := s.Spec.HealthCheckNodePort; {
	case !needsHealthCheckPort(s):
		if port != 0 {
			errs = append(errs, field.Invalid(fld, port, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
		}
	case port == 0:
		errs = append(errs, field.Required(fld, ""))
	default:
		errs = append(errs, invalidAll(fld, port, validation.IsValidPortNum(int(port)))...)
	}
	fld = field.NewPath("spec", "internalTrafficPolicy")
	switch p := s.Spec.InternalTrafficPolicy; {
	case p == nil:
		if needsNodePorts(s) || s.Spec.Type == corev1.ServiceTypeClusterIP {
			errs = append(errs, field.Required(fld, ""))
		}
	case *p != corev1.ServiceInternalTrafficPolicyCluster && *p != corev1.ServiceInternalTrafficPolicyLocal:
		errs = append(errs, field.NotSupported(fld, *p, []corev1.ServiceInternalTrafficPolicy{corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal}))
	}
	return errs
}

// validateClusterIPs checks the fields that hang together: clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy.
func validateClusterIPs(s, old *corev1.Service) field.ErrorList {
	spec := &s.Spec
	if spec.Type == corev1.ServiceTypeExternalName {
		return nil // where none may be set
	}
	fld := field.NewPath("spec")
	ipsField, familiesField := fld.Child("clusterIPs"), fld.Child("ipFamilies")
	var errs field.ErrorList
	if spec.ClusterIP != "" {
		if len(spec.ClusterIPs) == 0 {
			errs = append(errs, field.Required(ipsField, ""))
		} else if spec.ClusterIPs[0] != spec.ClusterIP {
			errs = append(errs, field.Invalid(ipsField, spec.ClusterIPs, "first value must match `clusterIP`"))
		}
	} else if len(spec.ClusterIPs) != 0 {
		errs = append(errs, field.Invalid(ipsField, spec.ClusterIPs, "must be empty when `clusterIP` is not specified"))
	}
	for i, f := range spec.IPFamilies {
		if f != corev1.IPv4Protocol && f != corev1.IPv6Protocol {
			errs = append(errs, field.NotSupported(familiesField.Index(i), f, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}))
		}
		if slices.Contains(spec.IPFamilies[:i], f) {
			errs = append(errs, field.Duplicate(familiesField.Index(i), f))
		}
	}
	if p := spec.IPFamilyPolicy; p != nil {
		valid := []corev1.IPFamilyPolicy{corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack}
		if !slices.Contains(valid, *p) {
			errs = append(errs, field.NotSupported(fld.Child("ipFamilyPolicy"), p, valid))
		}
	}
	var known []string
	if old != nil {
		known = old.Spec.ClusterIPs
	}
	bad := false
	for i, ip := range spec.ClusterIPs {
		if i == 0 && ip == corev1.ClusterIPNone {
			if len(spec.ClusterIPs) > 1 {
				bad = true
				errs = append(errs, field.Invalid(ipsField, spec.ClusterIPs, "'None' must be the first and only value"))
			}
			continue
		}
		wrong := validation.IsValidIPForLegacyField(ipsField.Index(i), ip, true, known)
		bad = bad || len(wrong) > 0
		errs = append(errs, wrong...)
	}
	if len(spec.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(ipsField, spec.ClusterIPs, "may only hold up to 2 values"))
	}
	if bad {
		return errs // what follows would only confuse
	}
	if len(spec.ClusterIPs) > 1 {
		dual, err := netutils.IsDualStackIPStrings(spec.ClusterIPs)
		if err != nil {
			errs = append(errs, field.InternalError(ipsField, fmt.Errorf("failed to check for dual stack with error:%v", err)))
		}
		if !dual {
			errs = append(errs, field.Invalid(ipsField, spec.ClusterIPs, "may specify no more than one IP for each IP family"))
		}
	}
	if !headless(s) {
		for i, ip := range spec.ClusterIPs[:min(len(spec.ClusterIPs), len(spec.IPFamilies))] {
			six := netutils.IsIPv6String(ip)
			if spec.IPFamilies[i] == corev1.IPv4Protocol && six || spec.IPFamilies[i] == corev1.IPv6Protocol && !six {
				errs = append(errs, field.Invalid(ipsField.Index(i), ip, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%v]`", spec.IPFamilies[i], i)))
			}
		}
	}
	return errs
}

func validateServiceStatus(s, old *corev1.Service) field.ErrorList {
	fld := field.NewPath("status", "loadBalancer", "ingress")
	ingress := s.Status.LoadBalancer.Ingress
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(ingress) != 0 {
		return field.ErrorList{field.Forbidden(fld, "may only be used when `spec.type` is 'LoadBalancer'")}
	}
	var known []string
	for _, in := range old.Status.LoadBalancer.Ingress {
		if in.IP != "" {
			known = append(known, in.IP)
		}
	}
	var errs field.ErrorList
	for i, in := range ingress {
		fld := fld.Index(i)
		if in.IP != "" {
			errs = append(errs, validation.IsValidIPForLegacyField(fld.Child("ip"), in.IP, true, known)...)
		}
		switch mode := fld.Child("ipMode"); {
		case in.IPMode == nil:
			if in.IP != "" {
				errs = append(errs, field.Required(mode, "must be specified when `ip` is set"))
			}
		case in.IP == "":
			errs = append(errs, field.Forbidden(mode, "may not be specified when `ip` is not set"))
		case *in.IPMode != corev1.LoadBalancerIPModeVIP && *in.IPMode != corev1.LoadBalancerIPModeProxy:
			errs = append(errs, field.NotSupported(mode, in.IPMode, []corev1.LoadBalancerIPMode{corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP}))
		}
		if in.Hostname != "" {
			errs = append(errs, invalidAll(fld.Child("hostname"), in.Hostname, validation.IsDNS1123Subdomain(in.Hostname))...)
			if netutils.ParseIPSloppy(in.Hostname) != nil {
				errs = append(errs, field.Invalid(fld.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}

func serviceWarnings(s, _ *corev1.Service) []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	spec, fld := &s.Spec, field.NewPath("spec")
	if _, ok := s.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]; ok {
		warn("annotation %s is deprecated, please use %s instead", corev1.DeprecatedAnnotationTopologyAwareHints, corev1.AnnotationTopologyMode)
	}
	if spec.ClusterIP != "" && spec.ClusterIP != corev1.ClusterIPNone {
		for i, ip := range spec.ClusterIPs {
			warnings = append(warnings, validation.GetWarningsForIP(fld.Child("clusterIPs").Index(i), ip)...)
		}
	}
	isHeadless := spec.Type == corev1.ServiceTypeClusterIP && spec.ClusterIP == corev1.ClusterIPNone
	if isHeadless {
		if spec.LoadBalancerIP != "" {
			warn("spec.loadBalancerIP is ignored for headless services")
		}
		if len(spec.ExternalIPs) > 0 {
			warn("spec.externalIPs is ignored for headless services")
		}
		if spec.SessionAffinity != corev1.ServiceAffinityNone {
			warn("spec.SessionAffinity is ignored for headless services")
		}
	}
	for i, ip := range spec.ExternalIPs {
		warnings = append(warnings, validation.GetWarningsForIP(fld.Child("externalIPs").Index(i), ip)...)
	}
	if len(spec.ExternalIPs) > 0 && !isHeadless && spec.Type != corev1.ServiceTypeExternalName {
		warn("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
	}
	if spec.LoadBalancerIP != "" {
		warnings = append(warnings, validation.GetWarningsForIP(fld.Child("loadBalancerIP"), spec.LoadBalancerIP)...)
	}
	for i, r := range spec.LoadBalancerSourceRanges {
		warnings = append(warnings, validation.GetWarningsForCIDR(fld.Child("loadBalancerSourceRanges").Index(i), r)...)
	}
	if spec.Type == corev1.ServiceTypeExternalName && len(spec.ExternalIPs) > 0 {
		warn("spec.externalIPs is ignored when spec.type is %q", corev1.ServiceTypeExternalName)
	}
	if spec.Type != corev1.ServiceTypeExternalName && spec.ExternalName != "" {
		warn("spec.externalName is ignored when spec.type is not %q", corev1.ServiceTypeExternalName)
	}
	if d := spec.TrafficDistribution; d != nil && *d == corev1.ServiceTrafficDistributionPreferClose {
		warn("spec.trafficDistribution: %q is deprecated; use %q", corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone)
	}
	return warnings
}
