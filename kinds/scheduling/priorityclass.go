package scheduling

import (
	schedulingv1 "k8s.io/api/scheduling/v1"

	"github.com/tenet-run/tenet/kinds"
)

// PriorityClass is a name for a priority.
var PriorityClass = kinds.Define(kinds.Definition[*schedulingv1.PriorityClass, *schedulingv1.PriorityClassList]{
	Group: "scheduling.k8s.io", Version: "v1", Kind: "PriorityClass", Plural: "priorityclasses", ShortNames: []string{"pc"},
	New: func() *schedulingv1.PriorityClass { return &schedulingv1.PriorityClass{} }, NewList: func() *schedulingv1.PriorityClassList { return &schedulingv1.PriorityClassList{} },
})
