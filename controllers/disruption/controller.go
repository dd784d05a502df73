// Package disruption says in the status of PodDisruptionBudgets how many of their pods may go now, and takes back the announcement that a pod will go when it
// does not.
//
// It owns the status of PodDisruptionBudgets together with the eviction subresource, by this rule: an eviction only lowers disruptionsAllowed and adds to
// disruptedPods, with the budget's resourceVersion as precondition and the generation it was made for; this controller alone raises the one and takes from the
// other, also with the resourceVersion. So neither overwrites the other, and a budget is never spent twice.
package disruption

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/policy"
)

// New is the controller. A pod's owner may be of any of the kinds, if that has a scale.
func New(set *kinds.Set) controllers.Controller {
	return controllers.Controller{
		Name: "disruption", Component: "controllermanager",
		Inputs: []controllers.Input{
			{Kind: policy.PodDisruptionBudget, Keys: budgetKeys},
			{Kind: core.Pod, Keys: podKeys},
			{Kind: apps.Deployment, Keys: ownerKeys},
			{Kind: apps.ReplicaSet, Keys: ownerKeys},
			{Kind: apps.StatefulSet, Keys: ownerKeys},
			{Kind: core.ReplicationController, Keys: ownerKeys},
			{Kinds: set},
		},
		Outputs: []controllers.Output{
			{Kind: policy.PodDisruptionBudget, Fields: "status; disruptionsAllowed and disruptedPods shared with evictions"},
			{Kind: core.Pod, Fields: "status.conditions[DisruptionTarget] to False when nothing came of it"},
		},
		Plan: planner{set}.plan,
	}
}

func keyOf(k *kinds.Kind, obj kinds.Object) controllers.Key {
	return controllers.Key{Kind: k, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

func budgetKeys(_ controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	return []controllers.Key{keyOf(k, c.Object())}
}

// podKeys names the budgets of a pod, also of the labels it had, and the pod itself while it is announced to go.
func podKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	var keys []controllers.Key
	for _, b := range controllers.All[*policyv1.PodDisruptionBudget](r, policy.PodDisruptionBudget, c.Object().GetNamespace()) {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			continue
		}
		if c.New != nil && selector.Matches(labels.Set(c.New.GetLabels())) || c.Old != nil && selector.Matches(labels.Set(c.Old.GetLabels())) {
			keys = append(keys, keyOf(policy.PodDisruptionBudget, b))
		}
	}
	if pod, ok := c.New.(*corev1.Pod); ok && announced(pod) != nil {
		keys = append(keys, keyOf(k, pod))
	}
	return keys
}

// ownerKeys names the budgets of the pods that an owner has or makes, when it is scaled.
func ownerKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	if c.New == nil {
		return nil
	}
	replicas, template := scaleOf(c.New)
	if c.Old != nil {
		if before, _ := scaleOf(c.Old); before == replicas {
			return nil
		}
	}
	var keys []controllers.Key
	for _, b := range controllers.All[*policyv1.PodDisruptionBudget](r, policy.PodDisruptionBudget, c.New.GetNamespace()) {
		if selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && selector.Matches(labels.Set(template)) {
			keys = append(keys, keyOf(policy.PodDisruptionBudget, b))
		}
	}
	return keys
}

// scaleOf is the replicas and the labels of the pods of a built-in owner.
func scaleOf(obj kinds.Object) (int32, map[string]string) {
	number := func(n *int32) int32 {
		if n == nil {
			return 1
		}
		return *n
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		return number(o.Spec.Replicas), o.Spec.Template.Labels
	case *appsv1.ReplicaSet:
		return number(o.Spec.Replicas), o.Spec.Template.Labels
	case *appsv1.StatefulSet:
		return number(o.Spec.Replicas), o.Spec.Template.Labels
	case *corev1.ReplicationController:
		if o.Spec.Template != nil {
			return number(o.Spec.Replicas), o.Spec.Template.Labels
		}
	}
	return 0, nil
}
