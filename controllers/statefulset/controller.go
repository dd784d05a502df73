// Package statefulset keeps the pods and claims of StatefulSets: one pod for each ordinal, with a name and claims that stay, made and replaced in order.
//
// It owns the existence of these pods and claims, their controller references, the ControllerRevisions that remember templates, and the StatefulSet's status. That
// there are never two pods of one ordinal follows from their names.
package statefulset

import (
	"strings"

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
		Name: "statefulset", Component: "statefulset-controller",
		Inputs: []controllers.Input{
			{Kind: apps.StatefulSet, Keys: controllers.Self},
			{Kind: core.Pod, Keys: podKeys},
			{Kind: core.PersistentVolumeClaim, Keys: claimKeys},
			{Kind: apps.ControllerRevision, Keys: revisionKeys},
		},
		Outputs: []controllers.Output{
			{Kind: core.Pod, Fields: "create and delete to match a StatefulSet's replicas and template"},
			{Kind: core.Pod, Fields: "metadata.ownerReferences[StatefulSet]"},
			{Kind: core.Pod, Fields: "metadata.labels[statefulset.kubernetes.io/pod-name, apps.kubernetes.io/pod-index]"},
			{Kind: core.PersistentVolumeClaim, Fields: "create for a StatefulSet's claim templates"},
			{Kind: core.PersistentVolumeClaim, Fields: "metadata.ownerReferences[StatefulSet, Pod]"},
			{Kind: apps.ControllerRevision, Fields: "create, number and delete to match a StatefulSet's template and history"},
			{Kind: apps.ControllerRevision, Fields: "metadata.ownerReferences[StatefulSet]"},
			{Kind: apps.StatefulSet, Fields: "status"},
		},
		Plan: Plan,
	}
}

var ownerKeys = controllers.OwnedBy(apps.StatefulSet)

// podKeys names the StatefulSet that owns a pod, and that of the pod's name, which may adopt it, or waits for the name.
func podKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	keys := ownerKeys(r, k, c)
	if set, _ := nameParts(c.Object().GetName()); set != "" {
		key := controllers.Key{Namespace: c.Object().GetNamespace(), Name: set}
		if len(keys) == 0 || keys[0] != key {
			if _, ok := r.Get(apps.StatefulSet, key.Namespace, set); ok {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// claimKeys names the StatefulSets that a claim is of, by its name.
func claimKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	var keys []controllers.Key
	for _, set := range controllers.All[*appsv1.StatefulSet](r, apps.StatefulSet, c.Object().GetNamespace()) {
		for i := range set.Spec.VolumeClaimTemplates {
			if strings.HasPrefix(c.Object().GetName(), set.Spec.VolumeClaimTemplates[i].Name+"-"+set.Name+"-") {
				keys = append(keys, controllers.KeyOf(set))
				break
			}
		}
	}
	return keys
}

// revisionKeys names the StatefulSet that owns a revision, or those that may adopt it.
func revisionKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	keys := ownerKeys(r, k, c)
	if c.New == nil || metav1.GetControllerOfNoCopy(c.New) != nil {
		return keys
	}
	for _, set := range controllers.All[*appsv1.StatefulSet](r, apps.StatefulSet, c.New.GetNamespace()) {
		selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
		if err == nil && selector.Matches(labels.Set(c.New.GetLabels())) {
			keys = append(keys, controllers.KeyOf(set))
		}
	}
	return keys
}
