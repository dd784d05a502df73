package networking

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/tenet-run/tenet/kinds"
)

// NetworkPolicy says who may talk to the pods it selects, and whom they may talk to.
var NetworkPolicy = kinds.Define(kinds.Definition[*networkingv1.NetworkPolicy, *networkingv1.NetworkPolicyList]{
	Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy", Plural: "networkpolicies", ShortNames: []string{"netpol"}, Namespaced: true,
	New:      func() *networkingv1.NetworkPolicy { return &networkingv1.NetworkPolicy{} },
	NewList:  func() *networkingv1.NetworkPolicyList { return &networkingv1.NetworkPolicyList{} },
	Default:  defaultNetworkPolicy,
	Spec:     func(p *networkingv1.NetworkPolicy) any { return p.Spec },
	Validate: func(p *networkingv1.NetworkPolicy) field.ErrorList { return validateNetworkPolicy(&p.Spec, nil) },
	ValidateUpdate: func(p, old *networkingv1.NetworkPolicy) field.ErrorList {
		return validateNetworkPolicy(&p.Spec, &old.Spec)
	},
	Warnings: func(p, _ *networkingv1.NetworkPolicy) (out []string) {
		forBlocks(&p.Spec, func(b *networkingv1.IPBlock, fld *field.Path) {
			out = append(out, validation.GetWarningsForCIDR(fld.Child("cidr"), b.CIDR)...)
			for i, except := range b.Except {
				out = append(out, validation.GetWarningsForCIDR(fld.Child("except").Index(i), except)...)
			}
		})
		return out
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("Pod-Selector", "string", networkingv1.NetworkPolicySpec{}.SwaggerDoc()["podSelector"]), kinds.AgeColumn(),
	},
	Row: func(p *networkingv1.NetworkPolicy) []any {
		return []any{p.Name, metav1.FormatLabelSelector(&p.Spec.PodSelector), kinds.Age(p.CreationTimestamp)}
	},
})

func defaultNetworkPolicy(p *networkingv1.NetworkPolicy) {
	if len(p.Spec.PolicyTypes) == 0 {
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(p.Spec.Egress) > 0 {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
	tcp := func(ports []networkingv1.NetworkPolicyPort) {
		for i := range ports {
			if ports[i].Protocol == nil {
				tcp := corev1.ProtocolTCP
				ports[i].Protocol = &tcp
			}
		}
	}
	for i := range p.Spec.Ingress {
		tcp(p.Spec.Ingress[i].Ports)
	}
	for i := range p.Spec.Egress {
		tcp(p.Spec.Egress[i].Ports)
	}
}

// forBlocks visits the ranges of addresses of a policy.
func forBlocks(s *networkingv1.NetworkPolicySpec, visit func(*networkingv1.IPBlock, *field.Path)) {
	each := func(peers []networkingv1.NetworkPolicyPeer, fld *field.Path) {
		for i := range peers {
			if b := peers[i].IPBlock; b != nil {
				visit(b, fld.Index(i).Child("ipBlock"))
			}
		}
	}
	fld := field.NewPath("spec")
	for i := range s.Ingress {
		each(s.Ingress[i].From, fld.Child("ingress").Index(i).Child("from"))
	}
	for i := range s.Egress {
		each(s.Egress[i].To, fld.Child("egress").Index(i).Child("to"))
	}
}

// validateNetworkPolicy holds for creates (old is nil) and updates.
func validateNetworkPolicy(s, old *networkingv1.NetworkPolicySpec) field.ErrorList {
	fld := field.NewPath("spec")
	var known []string
	var options metavalidation.LabelSelectorValidationOptions
	if old != nil {
		options.AllowInvalidLabelValueInSelector = len(metavalidation.ValidateLabelSelector(&old.PodSelector, options, nil)) > 0
		forBlocks(old, func(b *networkingv1.IPBlock, _ *field.Path) { known = append(append(known, b.CIDR), b.Except...) })
	}
	errs := metavalidation.ValidateLabelSelector(&s.PodSelector, options, fld.Child("podSelector"))
	rule := func(ports []networkingv1.NetworkPolicyPort, peers []networkingv1.NetworkPolicyPeer, fld *field.Path, side string) {
		for i := range ports {
			errs = append(errs, validatePolicyPort(&ports[i], fld.Child("ports").Index(i))...)
		}
		for i := range peers {
			errs = append(errs, validatePeer(&peers[i], options, known, fld.Child(side).Index(i))...)
		}
	}
	for i := range s.Ingress {
		rule(s.Ingress[i].Ports, s.Ingress[i].From, fld.Child("ingress").Index(i), "from")
	}
	for i := range s.Egress {
		rule(s.Egress[i].Ports, s.Egress[i].To, fld.Child("egress").Index(i), "to")
	}
	types := fld.Child("policyTypes")
	if len(s.PolicyTypes) > 2 {
		return append(errs, field.Invalid(types, &s.PolicyTypes, "may not specify more than two policyTypes"))
	}
	for i, t := range s.PolicyTypes {
		if t != networkingv1.PolicyTypeIngress && t != networkingv1.PolicyTypeEgress {
			errs = append(errs, field.NotSupported(types.Index(i), t, []string{string(networkingv1.PolicyTypeIngress), string(networkingv1.PolicyTypeEgress)}))
		}
	}
	return errs
}

func validatePolicyPort(p *networkingv1.NetworkPolicyPort, fld *field.Path) (errs field.ErrorList) {
	if t := p.Protocol; t != nil && *t != corev1.ProtocolTCP && *t != corev1.ProtocolUDP && *t != corev1.ProtocolSCTP {
		errs = append(errs, field.NotSupported(fld.Child("protocol"), *t, []string{string(corev1.ProtocolTCP), string(corev1.ProtocolUDP), string(corev1.ProtocolSCTP)}))
	}
	port, end := fld.Child("port"), fld.Child("endPort")
	switch {
	case p.Port == nil:
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is not specified"))
		}
	case p.Port.Type == intstr.String:
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is non-numeric"))
		}
		errs = append(errs, each(p.Port.StrVal, validation.IsValidPortName(p.Port.StrVal), port)...)
	default:
		for _, msg := range validation.IsValidPortNum(int(p.Port.IntVal)) {
			errs = append(errs, field.Invalid(port, p.Port.IntVal, msg))
		}
		if p.EndPort == nil {
			break
		}
		if *p.EndPort < p.Port.IntVal {
			errs = append(errs, field.Invalid(end, p.Port.IntVal, "must be greater than or equal to `port`"))
		}
		for _, msg := range validation.IsValidPortNum(int(*p.EndPort)) {
			errs = append(errs, field.Invalid(end, *p.EndPort, msg))
		}
	}
	return errs
}

func validatePeer(p *networkingv1.NetworkPolicyPeer, options metavalidation.LabelSelectorValidationOptions, known []string, fld *field.Path) (errs field.ErrorList) {
	n := 0
	if p.PodSelector != nil {
		n++
		errs = append(errs, metavalidation.ValidateLabelSelector(p.PodSelector, options, fld.Child("podSelector"))...)
	}
	if p.NamespaceSelector != nil {
		n++
		errs = append(errs, metavalidation.ValidateLabelSelector(p.NamespaceSelector, options, fld.Child("namespaceSelector"))...)
	}
	if p.IPBlock != nil {
		n++
		errs = append(errs, validateBlock(p.IPBlock, known, fld.Child("ipBlock"))...)
	}
	switch {
	case n == 0:
		errs = append(errs, field.Required(fld, "must specify a peer"))
	case n > 1 && p.IPBlock != nil:
		errs = append(errs, field.Forbidden(fld, "may not specify both ipBlock and another peer"))
	}
	return errs
}

func validateBlock(b *networkingv1.IPBlock, known []string, fld *field.Path) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(fld.Child("cidr"), "")}
	}
	errs := validation.IsValidCIDRForLegacyField(fld.Child("cidr"), b.CIDR, true, known)
	_, all, err := netutils.ParseCIDRSloppy(b.CIDR)
	if err != nil {
		return errs
	}
	for i, except := range b.Except {
		at := fld.Child("except").Index(i)
		errs = append(errs, validation.IsValidCIDRForLegacyField(at, except, true, known)...)
		_, part, err := netutils.ParseCIDRSloppy(except)
		if err != nil {
			continue
		}
		wide, _ := all.Mask.Size()
		narrow, _ := part.Mask.Size()
		if !all.Contains(part.IP) || wide >= narrow {
			errs = append(errs, field.Invalid(at, except, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}
