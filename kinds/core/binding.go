package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Binding assigns the pod of its name to a node: the older door to a pod's binding subresource.
var Binding = kinds.Define(kinds.Definition[*corev1.Binding, *corev1.Binding]{
	Group: "", Version: "v1", Kind: "Binding", Plural: "bindings", Namespaced: true, Answered: true,
	New:    func() *corev1.Binding { return &corev1.Binding{} },
	ActsOn: &kinds.Action{Kind: Pod, Subresource: "binding"},
})
