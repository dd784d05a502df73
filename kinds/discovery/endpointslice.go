package discovery

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// EndpointSlice is a part of the addresses behind a Service. Labels count for its generation.
var EndpointSlice = kinds.Define(kinds.Definition[*discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList]{
	Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice", Plural: "endpointslices", Namespaced: true,
	New: func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} }, NewList: func() *discoveryv1.EndpointSliceList { return &discoveryv1.EndpointSliceList{} },
	Default: func(s *discoveryv1.EndpointSlice) {
		for i := range s.Ports {
			p := &s.Ports[i]
			if p.Name == nil {
				p.Name = new(string)
			}
			if p.Protocol == nil {
				tcp := corev1.ProtocolTCP
				p.Protocol = &tcp
			}
		}
	},
	Spec: func(s *discoveryv1.EndpointSlice) any {
		return struct {
			AddressType discoveryv1.AddressType
			Endpoints   []discoveryv1.Endpoint
			Ports       []discoveryv1.EndpointPort
			Labels      map[string]string
		}{s.AddressType, s.Endpoints, s.Ports, s.Labels}
	},
	BeforeCreate:   func(s *discoveryv1.EndpointSlice) { dropTopology(s, nil) },
	BeforeUpdate:   dropTopology,
	Validate:       func(s *discoveryv1.EndpointSlice) field.ErrorList { return validateSlice(s, nil) },
	ValidateUpdate: validateSliceChange,
	Warnings: func(s, old *discoveryv1.EndpointSlice) []string {
		var warnings []string
		if old == nil && s.AddressType == discoveryv1.AddressTypeFQDN {
			warnings = append(warnings, "spec.addressType: FQDN endpoints are deprecated")
		}
		for i, e := range s.Endpoints {
			for j, a := range e.Addresses {
				warnings = append(warnings, validation.GetWarningsForIP(field.NewPath("endpoints").Index(i).Child("addresses").Index(j), a)...)
			}
		}
		return warnings
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("AddressType", "string", discoveryv1.EndpointSlice{}.SwaggerDoc()["addressType"]),
		kinds.Column("Ports", "string", discoveryv1.EndpointSlice{}.SwaggerDoc()["ports"]),
		kinds.Column("Endpoints", "string", discoveryv1.EndpointSlice{}.SwaggerDoc()["endpoints"]),
		kinds.AgeColumn(),
	},
	Row: func(s *discoveryv1.EndpointSlice) []any {
		var ports, addresses []string
		for _, p := range s.Ports {
			text := "*"
			if p.Port != nil {
				text = strconv.Itoa(int(*p.Port))
			} else if p.Name != nil {
				text = *p.Name
			}
			ports = append(ports, text)
		}
		for _, e := range s.Endpoints {
			addresses = append(addresses, e.Addresses...)
		}
		return []any{s.Name, string(s.AddressType), firstFew(ports), firstFew(addresses), kinds.Age(s.CreationTimestamp)}
	},
})

// dropTopology ignores deprecatedTopology, which this version does not write, but for the node of an endpoint that was stored with one.
func dropTopology(s, old *discoveryv1.EndpointSlice) {
	if old != nil && equality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) {
		return
	}
	nodes := map[string]bool{}
	if old != nil {
		for _, e := range old.Endpoints {
			if n := e.DeprecatedTopology[corev1.LabelHostname]; n != "" {
				nodes[n] = true
			}
		}
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if n := e.DeprecatedTopology[corev1.LabelHostname]; e.NodeName == nil && nodes[n] && len(validation.IsDNS1123Subdomain(n)) == 0 {
			e.NodeName = &n
		}
		e.DeprecatedTopology = nil
	}
}

func firstFew(parts []string) string {
	const most = 3
	if len(parts) > most {
		return strings.Join(parts[:most], ",") + " + " + strconv.Itoa(len(parts)-most) + " more..."
	}
	if text := strings.Join(parts, ","); text != "" {
		return text
	}
	return "<unset>"
}
