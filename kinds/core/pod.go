package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// Pod is a group of containers that run together on one node.
var Pod = kinds.Define(kinds.Definition[*corev1.Pod, *corev1.PodList]{
	Group: "", Version: "v1", Kind: "Pod", Plural: "pods", ShortNames: []string{"po"}, Categories: []string{"all"}, Namespaced: true,
	New: func() *corev1.Pod { return &corev1.Pod{} }, NewList: func() *corev1.PodList { return &corev1.PodList{} },
	Default:    podspec.SetPodDefaults,
	Spec:       func(p *corev1.Pod) any { return p.Spec },
	CopyStatus: func(dst, src *corev1.Pod) { dst.Status = src.Status },
	CopySpec:   func(dst, src *corev1.Pod) { dst.Spec = src.Spec },
})
