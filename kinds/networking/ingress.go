package networking

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// classAnnotation named the class before there was a field.
const classAnnotation = "kubernetes.io/ingress.class"

// Ingress leads HTTP requests from outside to Services, by host and path.
var Ingress = kinds.Define(kinds.Definition[*networkingv1.Ingress, *networkingv1.IngressList]{
	Group: "networking.k8s.io", Version: "v1", Kind: "Ingress", Plural: "ingresses", ShortNames: []string{"ing"}, Namespaced: true, Prefix: "ingress",
	New: func() *networkingv1.Ingress { return &networkingv1.Ingress{} }, NewList: func() *networkingv1.IngressList { return &networkingv1.IngressList{} },
	Spec:       func(i *networkingv1.Ingress) any { return i.Spec },
	CopyStatus: func(dst, src *networkingv1.Ingress) { dst.Status = src.Status },
	CopySpec:   func(dst, src *networkingv1.Ingress) { dst.Spec = src.Spec },
	Validate: func(i *networkingv1.Ingress) field.ErrorList {
		errs := validateIngress(&i.Spec, nil)
		if class, set := i.Annotations[classAnnotation]; set && i.Spec.IngressClassName != nil && class != *i.Spec.IngressClassName {
			errs = append(errs, field.Invalid(field.NewPath("annotations", classAnnotation), class, "must match `ingressClassName` when both are specified"))
		}
		return errs
	},
	ValidateUpdate: func(i, old *networkingv1.Ingress) field.ErrorList { return validateIngress(&i.Spec, &old.Spec) },
	ValidateStatus: validateIngressStatus,
	Warnings: func(i, old *networkingv1.Ingress) []string {
		if _, set := i.Annotations[classAnnotation]; set && old == nil && i.Spec.IngressClassName == nil {
			return []string{fmt.Sprintf("annotation %q is deprecated, please use 'spec.ingressClassName' instead", classAnnotation)}
		}
		return nil
	},
	StatusWarnings: func(i, _ *networkingv1.Ingress) (out []string) {
		for k, in := range i.Status.LoadBalancer.Ingress {
			if in.IP != "" {
				out = append(out, validation.GetWarningsForIP(field.NewPath("status", "loadBalancer", "ingress").Index(k), in.IP)...)
			}
		}
		return out
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Class", "string", "The name of the IngressClass resource that should be used for additional configuration"),
		kinds.Column("Hosts", "string", "Hosts that incoming requests are matched against before the ingress rule"),
		kinds.Column("Address", "string", "Address is a list containing ingress points for the load-balancer"),
		kinds.Column("Ports", "string", "Ports of TLS configurations that open"),
		kinds.AgeColumn(),
	},
	Row: func(i *networkingv1.Ingress) []any {
		class, ports := "<none>", "80"
		if i.Spec.IngressClassName != nil {
			class = *i.Spec.IngressClassName
		}
		if len(i.Spec.TLS) > 0 {
			ports = "80, 443"
		}
		return []any{i.Name, class, hosts(i.Spec.Rules), addresses(i.Status.LoadBalancer.Ingress), ports, kinds.Age(i.CreationTimestamp)}
	},
})

// hosts are three at most; rules without a host are for all.
func hosts(rules []networkingv1.IngressRule) string {
	var list []string
	more := false
	for _, r := range rules {
		more = more || len(list) == 3
		if !more && r.Host != "" {
			list = append(list, r.Host)
		}
	}
	switch {
	case len(list) == 0:
		return "*"
	case more:
		return fmt.Sprintf("%s + %d more...", strings.Join(list, ","), len(rules)-3)
	}
	return strings.Join(list, ",")
}

func addresses(list []networkingv1.IngressLoadBalancerIngress) string {
	var out []string
	for _, in := range list {
		if in.IP != "" {
			out = append(out, in.IP)
		} else if in.Hostname != "" {
			out = append(out, in.Hostname)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}
