package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Secret is small confidential data.
var Secret = kinds.Define(kinds.Definition[*corev1.Secret, *corev1.SecretList]{
	Group: "", Version: "v1", Kind: "Secret", Plural: "secrets", Namespaced: true,
	New: func() *corev1.Secret { return &corev1.Secret{} }, NewList: func() *corev1.SecretList { return &corev1.SecretList{} },
})
