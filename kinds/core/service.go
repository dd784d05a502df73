package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// Service is a stable address for a set of pods. Its addresses and node ports come from pools of the cluster: the API server calls
// [CompleteService] between BeforeCreate or BeforeUpdate and validation, which needs them.
var Service = kinds.Define(kinds.Definition[*corev1.Service, *corev1.ServiceList]{
	Group: "", Version: "v1", Kind: "Service", Plural: "services", ShortNames: []string{"svc"}, Categories: []string{"all"}, Namespaced: true,
	Prefix: "services/specs", CreateOnUpdate: true,
	ReturnDeleted: true,
	New:           func() *corev1.Service { return &corev1.Service{} }, NewList: func() *corev1.ServiceList { return &corev1.ServiceList{} },
	ValidName:  apivalidation.NameIsDNSLabel,
	Default:    defaultService,
	CopyStatus: func(dst, src *corev1.Service) { dst.Status = src.Status },
	CopySpec:   func(dst, src *corev1.Service) { dst.Spec = src.Spec },
	BeforeCreate: func(s *corev1.Service) {
		syncClusterIPs(s, nil)
		dropUnread(s)
	},
	BeforeUpdate:   beforeServiceUpdate,
	Validate:       func(s *corev1.Service) fieldErrors { return validateService(s, nil) },
	ValidateUpdate: validateServiceChange,
	ValidateStatus: validateServiceStatus,
	Warnings:       serviceWarnings,
	StatusWarnings: func(s, _ *corev1.Service) (out []string) {
		for i, ingress := range s.Status.LoadBalancer.Ingress {
			if ingress.IP != "" {
				out = append(out, validation.GetWarningsForIP(field.NewPath("status", "loadBalancer", "ingress").Index(i), ingress.IP)...)
			}
		}
		return out
	},
	Fields: map[string]func(*corev1.Service) string{
		"spec.clusterIP": func(s *corev1.Service) string { return s.Spec.ClusterIP },
		"spec.type":      func(s *corev1.Service) string { return string(s.Spec.Type) },
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Type", "string", corev1.ServiceSpec{}.SwaggerDoc()["type"]),
		kinds.Column("Cluster-IP", "string", corev1.ServiceSpec{}.SwaggerDoc()["clusterIP"]),
		kinds.Column("External-IP", "string", corev1.ServiceSpec{}.SwaggerDoc()["externalIPs"]),
		kinds.Column("Port(s)", "string", corev1.ServiceSpec{}.SwaggerDoc()["ports"]),
		kinds.AgeColumn(),
		kinds.WideColumn("Selector", "string", corev1.ServiceSpec{}.SwaggerDoc()["selector"]),
	},
	Row: func(s *corev1.Service) []any {
		clusterIP := "<none>"
		if len(s.Spec.ClusterIPs) > 0 {
			clusterIP = s.Spec.ClusterIPs[0]
		}
		return []any{
			s.Name, string(s.Spec.Type), clusterIP, externalIPs(s), orElse(formatServicePorts(s.Spec.Ports), "<none>"),
			kinds.Age(s.CreationTimestamp), labels.FormatLabels(s.Spec.Selector),
		}
	},
	Subresources: []*kinds.Subresource{{
		Name: "proxy", Verbs: proxyVerbs, Connect: true,
		GVK: corev1.SchemeGroupVersion.WithKind("ServiceProxyOptions"), New: newObject[corev1.ServiceProxyOptions],
	}},
})

func defaultService(s *corev1.Service) {
	spec := &s.Spec
	if spec.SessionAffinity == "" {
		spec.SessionAffinity = corev1.ServiceAffinityNone
	}
	switch c := spec.SessionAffinityConfig; spec.SessionAffinity {
	case corev1.ServiceAffinityNone:
		spec.SessionAffinityConfig = nil
	case corev1.ServiceAffinityClientIP:
		if c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
			seconds := corev1.DefaultClientIPServiceAffinitySeconds
			spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
		}
	}
	if spec.Type == "" {
		spec.Type = corev1.ServiceTypeClusterIP
	}
	for i := range spec.Ports {
		p := &spec.Ports[i]
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	if reachedFromOutside(s) && spec.ExternalTrafficPolicy == "" {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	switch spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		if spec.InternalTrafficPolicy == nil {
			policy := corev1.ServiceInternalTrafficPolicyCluster
			spec.InternalTrafficPolicy = &policy
		}
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		if spec.AllocateLoadBalancerNodePorts == nil {
			yes := true
			spec.AllocateLoadBalancerNodePorts = &yes
		}
		for i := range s.Status.LoadBalancer.Ingress {
			if in := &s.Status.LoadBalancer.Ingress[i]; in.IP != "" && in.IPMode == nil {
				mode := corev1.LoadBalancerIPModeVIP
				in.IPMode = &mode
			}
		}
	}
}

// beforeServiceUpdate guesses, as Kubernetes does, what a client meant that changed one of several fields which hang together.
func beforeServiceUpdate(s, old *corev1.Service) {
	keepAllocated(s, old)
	syncClusterIPs(s, old)
	dropForType(s, old)
	dropUnread(s)
}

// dropUnread clears what Kubernetes stores and never shows.
func dropUnread(s *corev1.Service) {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		s.Spec.InternalTrafficPolicy = nil
	}
}

// keepAllocated fills in what the client left out and the cluster had handed out before.
func keepAllocated(s, old *corev1.Service) {
	if needsClusterIP(s) && needsClusterIP(old) {
		if s.Spec.ClusterIP == "" {
			s.Spec.ClusterIP = old.Spec.ClusterIP
		}
		if len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
		}
	}
	if needsNodePorts(s) && needsNodePorts(old) {
		before, kept := map[string]int32{}, map[int32]bool{}
		for _, p := range old.Spec.Ports {
			before[p.Name] = p.NodePort
		}
		for _, p := range s.Spec.Ports {
			if p.NodePort != 0 && slices.ContainsFunc(old.Spec.Ports, func(o corev1.ServicePort) bool { return o.NodePort == p.NodePort }) {
				kept[p.NodePort] = true
			}
		}
		for i := range s.Spec.Ports {
			if p := &s.Spec.Ports[i]; p.NodePort == 0 && !kept[before[p.Name]] {
				p.NodePort = before[p.Name]
			}
		}
	}
	if needsHealthCheckPort(s) && needsHealthCheckPort(old) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// syncClusterIPs keeps clusterIP and clusterIPs in step for clients that know only the older one.
func syncClusterIPs(s, old *corev1.Service) {
	if old == nil {
		if s.Spec.ClusterIP != "" && len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
		}
		return
	}
	sameOne, sameAll := s.Spec.ClusterIP == old.Spec.ClusterIP, slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs)
	switch {
	case sameOne && len(s.Spec.ClusterIPs) == 0:
		s.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
	case !sameOne && sameAll && s.Spec.ClusterIP == "":
		s.Spec.ClusterIPs = nil
	case !sameOne && sameAll:
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
}

// dropForType clears fields that the new type has no use for, unless the client changed them in the same write: then validation speaks.
func dropForType(s, old *corev1.Service) {
	spec, was := &s.Spec, &old.Spec
	if needsClusterIP(old) && !needsClusterIP(s) {
		if spec.ClusterIP == was.ClusterIP && slices.Equal(spec.ClusterIPs, was.ClusterIPs) {
			spec.ClusterIP, spec.ClusterIPs = "", nil
		}
		if slices.Equal(spec.IPFamilies, was.IPFamilies) {
			spec.IPFamilies = nil
		}
		if equalPointers(spec.IPFamilyPolicy, was.IPFamilyPolicy) {
			spec.IPFamilyPolicy = nil
		}
	}
	if needsNodePorts(old) && !needsNodePorts(s) {
		news := func(p corev1.ServicePort) bool {
			return p.NodePort != 0 && !slices.ContainsFunc(was.Ports, func(o corev1.ServicePort) bool { return o.NodePort == p.NodePort })
		}
		if !slices.ContainsFunc(spec.Ports, news) {
			for i := range spec.Ports {
				spec.Ports[i].NodePort = 0
			}
		}
	}
	if needsHealthCheckPort(old) && !needsHealthCheckPort(s) && spec.HealthCheckNodePort == was.HealthCheckNodePort {
		spec.HealthCheckNodePort = 0
	}
	if was.Type == corev1.ServiceTypeLoadBalancer && spec.Type != corev1.ServiceTypeLoadBalancer {
		if equalPointers(spec.AllocateLoadBalancerNodePorts, was.AllocateLoadBalancerNodePorts) {
			spec.AllocateLoadBalancerNodePorts = nil
		}
		if equalPointers(spec.LoadBalancerClass, was.LoadBalancerClass) {
			spec.LoadBalancerClass = nil
		}
	}
	if reachedFromOutside(old) && !reachedFromOutside(s) && spec.ExternalTrafficPolicy == was.ExternalTrafficPolicy {
		spec.ExternalTrafficPolicy = ""
	}
	if spec.Type != corev1.ServiceTypeLoadBalancer {
		s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
}

func equalPointers[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

func needsClusterIP(s *corev1.Service) bool { return s.Spec.Type != corev1.ServiceTypeExternalName }

func needsNodePorts(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
}

func needsHealthCheckPort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

func reachedFromOutside(s *corev1.Service) bool {
	return needsNodePorts(s) || s.Spec.Type == corev1.ServiceTypeClusterIP && len(s.Spec.ExternalIPs) > 0
}

func headless(s *corev1.Service) bool {
	return len(s.Spec.ClusterIPs) == 1 && s.Spec.ClusterIPs[0] == corev1.ClusterIPNone
}

func externalIPs(s *corev1.Service) string {
	given := strings.Join(s.Spec.ExternalIPs, ",")
	switch s.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort:
		return orElse(given, "<none>")
	case corev1.ServiceTypeLoadBalancer:
		var ips []string
		for _, in := range s.Status.LoadBalancer.Ingress {
			if at := orElse(in.IP, in.Hostname); at != "" {
				ips = append(ips, at)
			}
		}
		slices.Sort(ips)
		return orElse(strings.Join(append(slices.Compact(ips), s.Spec.ExternalIPs...), ","), "<pending>")
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	}
	return "<unknown>"
}

func formatServicePorts(ports []corev1.ServicePort) string {
	parts := make([]string, len(ports))
	for i, p := range ports {
		if p.NodePort > 0 {
			parts[i] = fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol)
		} else {
			parts[i] = fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		}
	}
	return strings.Join(parts, ",")
}
