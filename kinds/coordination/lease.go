package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Lease is a claim that is held as long as it is renewed.
var Lease = kinds.Define(kinds.Definition[*coordinationv1.Lease, *coordinationv1.LeaseList]{
	Group: "coordination.k8s.io", Version: "v1", Kind: "Lease", Plural: "leases", Namespaced: true,
	New: func() *coordinationv1.Lease { return &coordinationv1.Lease{} }, NewList: func() *coordinationv1.LeaseList { return &coordinationv1.LeaseList{} },
})
