package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Node is a machine that runs pods.
var Node = kinds.Define(kinds.Definition[*corev1.Node, *corev1.NodeList]{
	Group: "", Version: "v1", Kind: "Node", Plural: "nodes", ShortNames: []string{"no"}, Prefix: "minions",
	New: func() *corev1.Node { return &corev1.Node{} }, NewList: func() *corev1.NodeList { return &corev1.NodeList{} },
	CopyStatus: func(dst, src *corev1.Node) { dst.Status = src.Status },
	CopySpec:   func(dst, src *corev1.Node) { dst.Spec = src.Spec },
})
