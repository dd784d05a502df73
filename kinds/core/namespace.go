package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Namespace is the scope of names.
var Namespace = kinds.Define(kinds.Definition[*corev1.Namespace, *corev1.NamespaceList]{
	Group: "", Version: "v1", Kind: "Namespace", Plural: "namespaces", ShortNames: []string{"ns"},
	New: func() *corev1.Namespace { return &corev1.Namespace{} }, NewList: func() *corev1.NamespaceList { return &corev1.NamespaceList{} },
	CopyStatus: func(dst, src *corev1.Namespace) { dst.Status = src.Status },
	CopySpec:   func(dst, src *corev1.Namespace) { dst.Spec = src.Spec },
})
