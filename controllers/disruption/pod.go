package disruption

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
)

// staleAfter is how long a pod may be announced to go without being deleted.
const staleAfter = 2 * time.Minute

// planPod takes back the announcement that a pod is about to be disrupted when it still is there.
func planPod(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	pod, ok := controllers.As[*corev1.Pod](s, core.Pod, key.Namespace, key.Name)
	if !ok {
		return controllers.Plan{}
	}
	c := announced(pod)
	if c == nil {
		return controllers.Plan{}
	}
	if left := c.LastTransitionTime.Add(staleAfter).Sub(now); left > 0 {
		return controllers.Plan{RequeueAfter: left}
	}
	updated := pod.DeepCopy()
	i := slices.IndexFunc(updated.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
	back := corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(now)}
	if pod.Status.ObservedGeneration > 0 || c.ObservedGeneration > 0 {
		back.ObservedGeneration = pod.Generation
	}
	updated.Status.Conditions[i] = back
	return controllers.Plan{StatusUpdates: []controllers.Update{{Kind: core.Pod, Object: updated}}}
}

// announced is the condition that says a pod is about to go, which it still has to; nil: there is none, or it is the kubelet's, which takes as long as it takes.
func announced(pod *corev1.Pod) *corev1.PodCondition {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason != corev1.PodReasonTerminationByKubelet {
			return c
		}
	}
	return nil
}
