package apps

import (
	appsv1 "k8s.io/api/apps/v1"

	"github.com/tenet-run/tenet/kinds"
)

// ControllerRevision is an immutable snapshot of state.
var ControllerRevision = kinds.Define(kinds.Definition[*appsv1.ControllerRevision, *appsv1.ControllerRevisionList]{
	Group: "apps", Version: "v1", Kind: "ControllerRevision", Plural: "controllerrevisions", Namespaced: true,
	New: func() *appsv1.ControllerRevision { return &appsv1.ControllerRevision{} }, NewList: func() *appsv1.ControllerRevisionList { return &appsv1.ControllerRevisionList{} },
})
