// Package deployment rolls a Deployment's pod template out over ReplicaSets.
//
// It owns a Deployment's ReplicaSets (their existence, template, replicas and the annotations that record the rollout) and the Deployment's status and revision
// annotation. It never touches pods. One plan makes one step: everything that the next step needs to know is in the ReplicaSets and the status, so that a
// crash between any two writes changes nothing about where the rollout ends.
package deployment

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
		Name: "deployment", Component: "deployment-controller",
		Inputs: []controllers.Input{
			{Kind: apps.Deployment, Keys: controllers.Self},
			{Kind: apps.ReplicaSet, Keys: replicaSetKeys},
			{Kind: core.Pod, Keys: podKeys},
		},
		Outputs: []controllers.Output{
			{Kind: apps.ReplicaSet, Fields: "create and delete to match a Deployment's template and history"},
			{Kind: apps.ReplicaSet, Fields: "metadata.ownerReferences[Deployment]"},
			{Kind: apps.ReplicaSet, Fields: "metadata.annotations[deployment.kubernetes.io/*], spec.replicas, spec.minReadySeconds of a Deployment's"},
			{Kind: apps.Deployment, Fields: "metadata.annotations[deployment.kubernetes.io/revision]"},
			{Kind: apps.Deployment, Fields: "status"},
		},
		Plan: Plan,
	}
}

var ownerKeys = controllers.OwnedBy(apps.Deployment)

// replicaSetKeys names the Deployments that own a ReplicaSet, or that may adopt it.
func replicaSetKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	keys := ownerKeys(r, k, c)
	if c.New == nil || c.New.GetDeletionTimestamp() != nil || metav1.GetControllerOfNoCopy(c.New) != nil {
		return keys
	}
	for _, d := range controllers.All[*appsv1.Deployment](r, apps.Deployment, c.New.GetNamespace()) {
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(c.New.GetLabels())) {
			keys = append(keys, controllers.KeyOf(d))
		}
	}
	return keys
}

// podKeys names a Deployment that recreates, and so waits for its old pods to be gone.
func podKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	if c.New != nil {
		return nil // a pod that ends shows in its ReplicaSet's status
	}
	ref := metav1.GetControllerOfNoCopy(c.Old)
	if ref == nil || !kinds.IsKind(apps.ReplicaSet, ref.APIVersion, ref.Kind) {
		return nil
	}
	rs, ok := controllers.As[*appsv1.ReplicaSet](r, apps.ReplicaSet, c.Old.GetNamespace(), ref.Name)
	if !ok {
		return nil
	}
	for _, key := range ownerKeys(r, apps.ReplicaSet, client.Change{New: rs}) {
		if d, ok := controllers.As[*appsv1.Deployment](r, apps.Deployment, key.Namespace, key.Name); ok && d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
			return []controllers.Key{key}
		}
	}
	return nil
}
