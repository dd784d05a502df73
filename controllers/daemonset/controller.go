// Package daemonset keeps one pod of each DaemonSet on every node that can take it.
//
// It owns the existence of these pods, their controller reference, the ControllerRevisions that remember templates, and the DaemonSet's status. A pod is made for
// one node, by its node affinity; the scheduler binds it. Where that is, is decided by the same functions of k8s.io/component-helpers that the scheduler's
// filters call, so the two cannot disagree.
package daemonset

import (
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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
		Name: "daemonset", Component: "daemonset-controller",
		Inputs: []controllers.Input{
			{Kind: apps.DaemonSet, Keys: controllers.Self},
			{Kind: core.Pod, Keys: dependentKeys},
			{Kind: apps.ControllerRevision, Keys: dependentKeys},
			{Kind: core.Node, Keys: nodeKeys},
		},
		Outputs: []controllers.Output{
			{Kind: core.Pod, Fields: "create and delete to have a DaemonSet's on every node"},
			{Kind: core.Pod, Fields: "metadata.ownerReferences[DaemonSet]"},
			{Kind: apps.ControllerRevision, Fields: "create, number and delete to match a DaemonSet's template and history"},
			{Kind: apps.ControllerRevision, Fields: "metadata.ownerReferences[DaemonSet]"},
			{Kind: apps.DaemonSet, Fields: "status"},
		},
		Plan: Plan,
	}
}

var ownerKeys = controllers.OwnedBy(apps.DaemonSet)

// dependentKeys names the DaemonSet that owns a pod or revision, or those that may adopt it.
func dependentKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	keys := ownerKeys(r, k, c)
	if c.New == nil || c.New.GetDeletionTimestamp() != nil || metav1.GetControllerOfNoCopy(c.New) != nil {
		return keys
	}
	for _, ds := range controllers.All[*appsv1.DaemonSet](r, apps.DaemonSet, c.New.GetNamespace()) {
		selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(c.New.GetLabels())) {
			keys = append(keys, controllers.KeyOf(ds))
		}
	}
	return keys
}

// nodeKeys names the DaemonSets for which a change of a node makes a difference. Most changes of nodes are reports of their agents and make none.
func nodeKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	before, _ := c.Old.(*corev1.Node)
	after, _ := c.New.(*corev1.Node)
	if before != nil && after != nil && maps.Equal(before.Labels, after.Labels) && slices.EqualFunc(before.Spec.Taints, after.Spec.Taints, sameTaint) {
		return nil
	}
	var keys []controllers.Key
	for _, ds := range controllers.All[*appsv1.DaemonSet](r, apps.DaemonSet, "") {
		p := placementOf(ds)
		if p.on(before) != p.on(after) {
			keys = append(keys, controllers.KeyOf(ds))
		}
	}
	return keys
}

func sameTaint(a, b corev1.Taint) bool {
	return a.Key == b.Key && a.Value == b.Value && a.Effect == b.Effect
}
