package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
)

// ConfigMap is small data for pods.
var ConfigMap = kinds.Define(kinds.Definition[*corev1.ConfigMap, *corev1.ConfigMapList]{
	Group: "", Version: "v1", Kind: "ConfigMap", Plural: "configmaps", ShortNames: []string{"cm"}, Namespaced: true,
	New: func() *corev1.ConfigMap { return &corev1.ConfigMap{} }, NewList: func() *corev1.ConfigMapList { return &corev1.ConfigMapList{} },
})
