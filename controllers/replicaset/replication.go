package replicaset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// Replication is the controller of ReplicationControllers, the older form of ReplicaSets: planned as one, with a selector of equalities only.
func Replication() controllers.Controller {
	return controllers.Controller{
		Name: "replicationcontroller", Component: "replication-controller",
		Inputs: []controllers.Input{
			{Kind: core.ReplicationController, Keys: controllers.Self},
			{Kind: core.Pod, Keys: replicationKeys},
		},
		Outputs: []controllers.Output{
			{Kind: core.Pod, Fields: "create and delete to match a ReplicationController's replicas"},
			{Kind: core.Pod, Fields: "metadata.ownerReferences[ReplicationController]"},
			{Kind: core.ReplicationController, Fields: "status"},
		},
		Plan: PlanReplication,
	}
}

var replicationOwnerKeys = controllers.OwnedBy(core.ReplicationController)

// replicationKeys names the ReplicationControllers that own a pod, or that may adopt it.
func replicationKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	keys := replicationOwnerKeys(r, k, c)
	if c.New == nil || c.New.GetDeletionTimestamp() != nil || metav1.GetControllerOfNoCopy(c.New) != nil {
		return keys
	}
	for _, rc := range controllers.All[*corev1.ReplicationController](r, core.ReplicationController, c.New.GetNamespace()) {
		if len(rc.Spec.Selector) > 0 && labels.SelectorFromValidatedSet(rc.Spec.Selector).Matches(labels.Set(c.New.GetLabels())) {
			keys = append(keys, controllers.KeyOf(rc))
		}
	}
	return keys
}

// PlanReplication is [Plan] for a ReplicationController.
func PlanReplication(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	rc, ok := controllers.As[*corev1.ReplicationController](s, core.ReplicationController, key.Namespace, key.Name)
	if !ok || rc.Spec.Template == nil {
		return controllers.Plan{}
	}
	rs := &appsv1.ReplicaSet{
		ObjectMeta: rc.ObjectMeta,
		Spec: appsv1.ReplicaSetSpec{
			Replicas: rc.Spec.Replicas, MinReadySeconds: rc.Spec.MinReadySeconds, Template: *rc.Spec.Template,
			Selector: &metav1.LabelSelector{MatchLabels: rc.Spec.Selector},
		},
	}
	for _, c := range rc.Status.Conditions {
		rs.Status.Conditions = append(rs.Status.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetConditionType(c.Type), Status: c.Status, LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return replicated{core.ReplicationController, func(status appsv1.ReplicaSetStatus) kinds.Object {
		updated := rc.DeepCopy()
		updated.Status = replicationStatus(status)
		if equality.Semantic.DeepEqual(rc.Status, updated.Status) {
			return nil
		}
		return updated
	}}.plan(s, rs, now)
}

// replicationStatus: terminating pods are not counted in this older form.
func replicationStatus(s appsv1.ReplicaSetStatus) corev1.ReplicationControllerStatus {
	out := corev1.ReplicationControllerStatus{
		Replicas: s.Replicas, FullyLabeledReplicas: s.FullyLabeledReplicas, ReadyReplicas: s.ReadyReplicas, AvailableReplicas: s.AvailableReplicas,
		ObservedGeneration: s.ObservedGeneration,
	}
	for _, c := range s.Conditions {
		out.Conditions = append(out.Conditions, corev1.ReplicationControllerCondition{
			Type: corev1.ReplicationControllerConditionType(c.Type), Status: c.Status, LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return out
}
