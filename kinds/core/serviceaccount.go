package core

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
)

// ServiceAccount is an identity for pods.
var ServiceAccount = kinds.Define(kinds.Definition[*corev1.ServiceAccount, *corev1.ServiceAccountList]{
	Group: "", Version: "v1", Kind: "ServiceAccount", Plural: "serviceaccounts", ShortNames: []string{"sa"}, Namespaced: true,
	New: func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} }, NewList: func() *corev1.ServiceAccountList { return &corev1.ServiceAccountList{} },
})
