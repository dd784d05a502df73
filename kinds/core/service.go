package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Service is a stable address for a set of pods.
var Service = kinds.Define(kinds.Definition[*corev1.Service, *corev1.ServiceList]{
	Group: "", Version: "v1", Kind: "Service", Plural: "services", ShortNames: []string{"svc"}, Categories: []string{"all"}, Namespaced: true, Prefix: "services/specs",
	New: func() *corev1.Service { return &corev1.Service{} }, NewList: func() *corev1.ServiceList { return &corev1.ServiceList{} },
	CopyStatus: func(dst, src *corev1.Service) { dst.Status = src.Status },
	CopySpec:   func(dst, src *corev1.Service) { dst.Spec = src.Spec },
})
