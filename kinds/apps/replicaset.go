package apps

import (
	appsv1 "k8s.io/api/apps/v1"

	"github.com/tenet-run/tenet/kinds"
)

// ReplicaSet is a set of equal pods.
var ReplicaSet = kinds.Define(kinds.Definition[*appsv1.ReplicaSet, *appsv1.ReplicaSetList]{
	Group: "apps", Version: "v1", Kind: "ReplicaSet", Plural: "replicasets", ShortNames: []string{"rs"}, Categories: []string{"all"}, Namespaced: true,
	New: func() *appsv1.ReplicaSet { return &appsv1.ReplicaSet{} }, NewList: func() *appsv1.ReplicaSetList { return &appsv1.ReplicaSetList{} },
	Spec:       func(o *appsv1.ReplicaSet) any { return o.Spec },
	CopyStatus: func(dst, src *appsv1.ReplicaSet) { dst.Status = src.Status },
	CopySpec:   func(dst, src *appsv1.ReplicaSet) { dst.Spec = src.Spec },
})
