package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Endpoints is the addresses behind a Service, in the old form.
var Endpoints = kinds.Define(kinds.Definition[*corev1.Endpoints, *corev1.EndpointsList]{
	Group: "", Version: "v1", Kind: "Endpoints", Plural: "endpoints", ShortNames: []string{"ep"}, Namespaced: true, Prefix: "services/endpoints",
	New: func() *corev1.Endpoints { return &corev1.Endpoints{} }, NewList: func() *corev1.EndpointsList { return &corev1.EndpointsList{} },
})
