package discovery

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/tenet-run/tenet/kinds/core"
	kindmeta "github.com/tenet-run/tenet/kinds/meta"
)

// Limits of one slice.
const (
	maxTopologyLabels = 16
	maxAddresses      = 100
	maxPorts          = 20000
	maxEndpoints      = 1000
	maxHints          = 8
)

// validateSlice holds for creates (old is nil) and updates.
func validateSlice(s, old *discoveryv1.EndpointSlice) field.ErrorList {
	var errs field.ErrorList
	switch s.AddressType {
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN:
	case "":
		errs = append(errs, field.Required(field.NewPath("addressType"), ""))
	default:
		errs = append(errs, field.NotSupported(field.NewPath("addressType"), s.AddressType,
			[]discoveryv1.AddressType{discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}))
	}
	errs = append(errs, validatePorts(s.Ports, field.NewPath("ports"))...)
	bad := validateEndpoints(s.Endpoints, s.AddressType, field.NewPath("endpoints"))
	if len(bad) > 0 && old != nil && equality.Semantic.DeepEqual(old.Endpoints, s.Endpoints) {
		bad = nil // what was once accepted stays
	}
	return append(errs, bad...)
}

func validateSliceChange(s, old *discoveryv1.EndpointSlice) field.ErrorList {
	return append(validateSlice(s, old), apivalidation.ValidateImmutableField(s.AddressType, old.AddressType, field.NewPath("addressType"))...)
}

func validateEndpoints(endpoints []discoveryv1.Endpoint, typ discoveryv1.AddressType, fld *field.Path) field.ErrorList {
	if len(endpoints) > maxEndpoints {
		return field.ErrorList{field.TooMany(fld, len(endpoints), maxEndpoints)}
	}
	var errs field.ErrorList
	for i := range endpoints {
		e, fld := &endpoints[i], fld.Index(i)
		errs = append(errs, validateAddresses(e.Addresses, typ, fld.Child("addresses"))...)
		if e.NodeName != nil {
			errs = append(errs, invalidAll(fld.Child("nodeName"), *e.NodeName, apivalidation.NameIsDNSSubdomain(*e.NodeName, false))...)
		}
		topology := fld.Child("deprecatedTopology")
		if len(e.DeprecatedTopology) > maxTopologyLabels {
			errs = append(errs, field.TooMany(topology, len(e.DeprecatedTopology), maxTopologyLabels))
		}
		errs = append(errs, kindmeta.ValidateLabels(e.DeprecatedTopology, topology)...)
		if e.Hostname != nil {
			errs = append(errs, invalidAll(fld.Child("hostname"), *e.Hostname, validation.IsDNS1123Label(*e.Hostname))...)
		}
		if e.Hints != nil {
			errs = append(errs, validateHints(e.Hints, fld.Child("hints"))...)
		}
	}
	return errs
}

func validateAddresses(addresses []string, typ discoveryv1.AddressType, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(addresses) == 0 {
		errs = append(errs, field.Required(fld, "must contain at least 1 address"))
	} else if len(addresses) > maxAddresses {
		errs = append(errs, field.TooMany(fld, len(addresses), maxAddresses))
	}
	for i, a := range addresses {
		var bad field.ErrorList
		rightFamily, family := true, ""
		switch typ {
		case discoveryv1.AddressTypeFQDN:
			errs = append(errs, validation.IsFullyQualifiedDomainName(fld.Index(i), a)...)
			continue
		case discoveryv1.AddressTypeIPv4:
			bad = validation.IsValidIPForLegacyField(fld.Index(i), a, true, nil)
			rightFamily, family = netutils.IsIPv4String(a), "IPv4"
		case discoveryv1.AddressTypeIPv6:
			bad = validation.IsValidIP(fld.Index(i), a)
			rightFamily, family = netutils.IsIPv6String(a), "IPv6"
		default:
			continue
		}
		if len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		if !rightFamily {
			errs = append(errs, field.Invalid(fld, a, fmt.Sprintf("must be an %s address", family)))
		}
		errs = append(errs, core.ValidateEndpointIP(a, fld.Index(i))...)
	}
	return errs
}

func validatePorts(ports []discoveryv1.EndpointPort, fld *field.Path) field.ErrorList {
	if len(ports) > maxPorts {
		return field.ErrorList{field.TooMany(fld, len(ports), maxPorts)}
	}
	var errs field.ErrorList
	names := map[string]bool{}
	for i, p := range ports {
		fld := fld.Index(i)
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		if name != "" {
			errs = append(errs, invalidAll(fld.Child("name"), name, validation.IsDNS1123Label(name))...)
		}
		if names[name] {
			errs = append(errs, field.Duplicate(fld.Child("name"), p.Name))
		}
		names[name] = true
		protocols := []corev1.Protocol{corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP}
		if p.Protocol == nil {
			errs = append(errs, field.Required(fld.Child("protocol"), ""))
		} else if !slices.Contains(protocols, *p.Protocol) {
			errs = append(errs, field.NotSupported(fld.Child("protocol"), *p.Protocol, protocols))
		}
		if p.AppProtocol != nil {
			errs = append(errs, invalidAll(fld.Child("appProtocol"), *p.AppProtocol, validation.IsQualifiedName(*p.AppProtocol))...)
		}
	}
	return errs
}

func validateHints(h *discoveryv1.EndpointHints, fld *field.Path) field.ErrorList {
	zones, nodes := make([]string, len(h.ForZones)), make([]string, len(h.ForNodes))
	for i, z := range h.ForZones {
		zones[i] = z.Name
	}
	for i, n := range h.ForNodes {
		nodes[i] = n.Name
	}
	errs, tooMany := validateHintNames(zones, fld.Child("forZones"), validation.IsValidLabelValue)
	if tooMany {
		return errs
	}
	more, _ := validateHintNames(nodes, fld.Child("forNodes"), func(s string) []string { return apivalidation.NameIsDNSSubdomain(s, false) })
	return append(errs, more...)
}

func validateHintNames(names []string, fld *field.Path, check func(string) []string) (errs field.ErrorList, tooMany bool) {
	if len(names) > maxHints {
		return field.ErrorList{field.TooMany(fld, len(names), maxHints)}, true
	}
	for i, name := range names {
		fld := fld.Index(i).Child("name")
		if slices.Contains(names[:i], name) {
			errs = append(errs, field.Duplicate(fld, name))
		}
		errs = append(errs, invalidAll(fld, name, check(name))...)
	}
	return errs, false
}

func invalidAll(fld *field.Path, value any, msgs []string) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range msgs {
		errs = append(errs, field.Invalid(fld, value, msg))
	}
	return errs
}
