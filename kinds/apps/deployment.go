package apps

import (
	appsv1 "k8s.io/api/apps/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Deployment is a set of equal pods.
var Deployment = kinds.Define(kinds.Definition[*appsv1.Deployment, *appsv1.DeploymentList]{
	Group: "apps", Version: "v1", Kind: "Deployment", Plural: "deployments", ShortNames: []string{"deploy"}, Categories: []string{"all"}, Namespaced: true,
	New: func() *appsv1.Deployment { return &appsv1.Deployment{} }, NewList: func() *appsv1.DeploymentList { return &appsv1.DeploymentList{} },
	Spec:       func(o *appsv1.Deployment) any { return o.Spec },
	CopyStatus: func(dst, src *appsv1.Deployment) { dst.Status = src.Status },
	CopySpec:   func(dst, src *appsv1.Deployment) { dst.Spec = src.Spec },
})
