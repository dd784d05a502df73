package core

import (
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/tenet-run/tenet/kinds"
)

// Endpoints are the addresses behind a Service, in the old form; EndpointSlice is the new one.
var Endpoints = kinds.Define(kinds.Definition[*corev1.Endpoints, *corev1.EndpointsList]{
	Group: "", Version: "v1", Kind: "Endpoints", Plural: "endpoints", Singular: "endpoints", ShortNames: []string{"ep"}, Namespaced: true,
	Prefix: "services/endpoints", CreateOnUpdate: true,
	Deprecated: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
	New:        func() *corev1.Endpoints { return &corev1.Endpoints{} }, NewList: func() *corev1.EndpointsList { return &corev1.EndpointsList{} },
	Default: func(ep *corev1.Endpoints) {
		for i := range ep.Subsets {
			for j := range ep.Subsets[i].Ports {
				if p := &ep.Subsets[i].Ports[j]; p.Protocol == "" {
					p.Protocol = corev1.ProtocolTCP
				}
			}
		}
	},
	Validate: func(ep *corev1.Endpoints) field.ErrorList {
		return validateSubsets(ep.Subsets, field.NewPath("subsets"))
	},
	ValidateUpdate: func(ep, old *corev1.Endpoints) field.ErrorList {
		errs := validateSubsets(ep.Subsets, field.NewPath("subsets"))
		if len(errs) > 0 && equality.Semantic.DeepEqual(old.Subsets, ep.Subsets) {
			return nil // what was once accepted stays
		}
		return errs
	},
	Warnings: func(ep, _ *corev1.Endpoints) []string {
		var warnings []string
		for i, s := range ep.Subsets {
			fld := field.NewPath("subsets").Index(i)
			for j, a := range s.Addresses {
				warnings = append(warnings, validation.GetWarningsForIP(fld.Child("addresses").Index(j).Child("ip"), a.IP)...)
			}
			for j, a := range s.NotReadyAddresses {
				warnings = append(warnings, validation.GetWarningsForIP(fld.Child("notReadyAddresses").Index(j).Child("ip"), a.IP)...)
			}
		}
		return warnings
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("Endpoints", "string", corev1.Endpoints{}.SwaggerDoc()["subsets"]), kinds.AgeColumn(),
	},
	Row: func(ep *corev1.Endpoints) []any {
		return []any{ep.Name, formatSubsets(ep.Subsets), kinds.Age(ep.CreationTimestamp)}
	},
})

func validateSubsets(subsets []corev1.EndpointSubset, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, s := range subsets {
		fld := fld.Index(i)
		if len(s.Addresses) == 0 && len(s.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(fld, "must specify `addresses` or `notReadyAddresses`"))
		}
		for j := range s.Addresses {
			errs = append(errs, validateEndpointAddress(&s.Addresses[j], fld.Child("addresses").Index(j))...)
		}
		for j := range s.NotReadyAddresses {
			errs = append(errs, validateEndpointAddress(&s.NotReadyAddresses[j], fld.Child("notReadyAddresses").Index(j))...)
		}
		for j := range s.Ports {
			errs = append(errs, validateEndpointPort(&s.Ports[j], len(s.Ports) > 1, fld.Child("ports").Index(j))...)
		}
	}
	return errs
}

func validateEndpointAddress(a *corev1.EndpointAddress, fld *field.Path) field.ErrorList {
	errs := validation.IsValidIPForLegacyField(fld.Child("ip"), a.IP, true, nil)
	if a.Hostname != "" {
		errs = append(errs, validateLabel(a.Hostname, fld.Child("hostname"))...)
	}
	if a.NodeName != nil {
		for _, msg := range apivalidation.NameIsDNSSubdomain(*a.NodeName, false) {
			errs = append(errs, field.Invalid(fld.Child("nodeName"), *a.NodeName, msg))
		}
	}
	return append(errs, ValidateEndpointIP(a.IP, fld.Child("ip"))...)
}

// ValidateEndpointIP refuses addresses that cannot stand for a peer: unspecified, loopback and link-local ones.
func ValidateEndpointIP(text string, fld *field.Path) field.ErrorList {
	ip := netutils.ParseIPSloppy(text)
	if ip == nil {
		return field.ErrorList{field.Invalid(fld, text, "must be a valid IP address")}
	}
	var errs field.ErrorList
	if ip.IsUnspecified() {
		errs = append(errs, field.Invalid(fld, text, fmt.Sprintf("may not be unspecified (%v)", text)))
	}
	if ip.IsLoopback() {
		errs = append(errs, field.Invalid(fld, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
	}
	if ip.IsLinkLocalUnicast() {
		errs = append(errs, field.Invalid(fld, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
	}
	if ip.IsLinkLocalMulticast() {
		errs = append(errs, field.Invalid(fld, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))
	}
	return errs
}

func validateEndpointPort(p *corev1.EndpointPort, needsName bool, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	if needsName && p.Name == "" {
		errs = append(errs, field.Required(fld.Child("name"), ""))
	} else if p.Name != "" {
		errs = append(errs, validateLabel(p.Name, fld.Child("name"))...)
	}
	for _, msg := range validation.IsValidPortNum(int(p.Port)) {
		errs = append(errs, field.Invalid(fld.Child("port"), p.Port, msg))
	}
	errs = append(errs, validateProtocol(p.Protocol, fld.Child("protocol"))...)
	if p.AppProtocol != nil {
		errs = append(errs, validateQualifiedName(*p.AppProtocol, fld.Child("appProtocol"))...)
	}
	return errs
}

func validateProtocol(p corev1.Protocol, fld *field.Path) field.ErrorList {
	switch p {
	case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
		return nil
	case "":
		return field.ErrorList{field.Required(fld, "")}
	}
	return field.ErrorList{field.NotSupported(fld, p, []corev1.Protocol{corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP})}
}

func validateLabel(s string, fld *field.Path) field.ErrorList {
	return invalidAll(fld, s, validation.IsDNS1123Label(s))
}

func validateQualifiedName(s string, fld *field.Path) field.ErrorList {
	return invalidAll(fld, s, validation.IsQualifiedName(s))
}

func invalidAll(fld *field.Path, value any, msgs []string) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range msgs {
		errs = append(errs, field.Invalid(fld, value, msg))
	}
	return errs
}

func formatSubsets(subsets []corev1.EndpointSubset) string {
	if len(subsets) == 0 {
		return "<none>"
	}
	var parts []string
	for _, s := range subsets {
		if len(s.Ports) == 0 { // a headless service may have none
			for _, a := range s.Addresses {
				parts = append(parts, a.IP)
			}
		}
		for _, p := range s.Ports {
			for _, a := range s.Addresses {
				parts = append(parts, net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))))
			}
		}
	}
	return firstFew(parts, len(parts))
}
