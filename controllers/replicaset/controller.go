// Package replicaset keeps as many pods as a ReplicaSet, or a ReplicationController, asks for.
//
// It owns the existence of their pods, the pods' controller reference, and their status. A pod's name follows from the ReplicaSet's UID and
// the state it was planned in, so that a plan that is carried out twice makes a pod once.
package replicaset

import (
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

// New is the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "replicaset", Component: "replicaset-controller",
		Inputs: []controllers.Input{
			{Kind: apps.ReplicaSet, Keys: controllers.Self},
			{Kind: core.Pod, Keys: podKeys},
		},
		Outputs: []controllers.Output{
			{Kind: core.Pod, Fields: "create and delete to match a ReplicaSet's replicas"},
			{Kind: core.Pod, Fields: "metadata.ownerReferences[ReplicaSet]"},
			{Kind: apps.ReplicaSet, Fields: "status"},
		},
		Plan: Plan,
	}
}

var ownerKeys = controllers.OwnedBy(apps.ReplicaSet)

// podKeys names the ReplicaSets that own a pod, or that may adopt it.
func podKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	keys := ownerKeys(r, k, c)
	if c.New == nil || c.New.GetDeletionTimestamp() != nil || metav1.GetControllerOfNoCopy(c.New) != nil {
		return keys
	}
	for _, rs := range controllers.All[*appsv1.ReplicaSet](r, apps.ReplicaSet, c.New.GetNamespace()) {
		selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(c.New.GetLabels())) {
			keys = append(keys, controllers.KeyOf(rs))
		}
	}
	return keys
}
