package discovery

import (
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/tenet-run/tenet/kinds"
)

// EndpointSlice is a part of the addresses behind a Service.
var EndpointSlice = kinds.Define(kinds.Definition[*discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList]{
	Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice", Plural: "endpointslices", Namespaced: true,
	New: func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} }, NewList: func() *discoveryv1.EndpointSliceList { return &discoveryv1.EndpointSliceList{} },
})
