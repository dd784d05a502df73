package nodelifecycle

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
)

func planEviction(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	pod, ok := controllers.As[*corev1.Pod](s, core.Pod, key.Namespace, key.Name)
	if !ok || pod.DeletionTimestamp != nil || pod.Spec.NodeName == "" {
		return controllers.Plan{}
	}
	node, ok := controllers.As[*corev1.Node](s, core.Node, "", pod.Spec.NodeName)
	if !ok {
		return controllers.Plan{}
	}
	// first is when the pod met a taint that does not say when it was added.
	first, ok := s.Memory.(time.Time)
	if !ok {
		first = now
	}
	at, leaves := leavesAt(pod, noExecute(node), first)
	switch {
	case !leaves:
		return controllers.Plan{}
	case at.After(now):
		return controllers.Plan{RequeueAfter: at.Sub(now), Remember: first}
	}
	return controllers.Plan{
		Patches: disrupted(pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", "", now),
		Deletes: []controllers.Delete{controllers.DeleteOf(core.Pod, pod)},
		Events: []controllers.Event{{
			Kind: core.Pod, About: pod, Type: corev1.EventTypeNormal, Reason: "TaintManagerEviction", Message: fmt.Sprintf("Marking for deletion Pod %s/%s", pod.Namespace, pod.Name),
		}},
	}
}

// leavesAt is when a pod has to leave a node with these taints, if at all: at once when it does not tolerate one, else after the shortest time it tolerates one.
func leavesAt(pod *corev1.Pod, taints []corev1.Taint, first time.Time) (at time.Time, leaves bool) {
	for i := range taints {
		since := first
		if t := taints[i].TimeAdded; t != nil {
			since = t.Time
			if bound := boundAt(pod); bound.After(since) {
				since = bound
			}
		}
		tolerated, seconds := tolerates(pod, &taints[i])
		if !tolerated {
			return time.Time{}, true
		}
		if seconds == nil {
			continue
		}
		if end := since.Add(time.Duration(max(*seconds, 0)) * time.Second); !leaves || end.Before(at) {
			at, leaves = end, true
		}
	}
	return at, leaves
}

// tolerates reports whether a pod tolerates a taint, and for how long: the shortest of what its matching tolerations say, nil for ever.
func tolerates(pod *corev1.Pod, taint *corev1.Taint) (tolerated bool, seconds *int64) {
	for i := range pod.Spec.Tolerations {
		t := &pod.Spec.Tolerations[i]
		if !matches(t, taint) {
			continue
		}
		tolerated = true
		if t.TolerationSeconds != nil && (seconds == nil || *t.TolerationSeconds < *seconds) {
			seconds = t.TolerationSeconds
		}
	}
	return tolerated, seconds
}

func matches(t *corev1.Toleration, taint *corev1.Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
		return false
	}
	switch t.Operator {
	case "", corev1.TolerationOpEqual:
		return t.Value == taint.Value
	case corev1.TolerationOpExists:
		return true
	}
	return false
}

// boundAt is when a pod came to its node, as far as is known.
func boundAt(pod *corev1.Pod) time.Time {
	at := pod.CreationTimestamp.Time
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue && c.LastTransitionTime.After(at) {
			at = c.LastTransitionTime.Time
		}
	}
	return at
}

// disrupted writes into a pod's status why it is about to be deleted, and with a phase, that it has ended.
func disrupted(pod *corev1.Pod, reason, message string, phase corev1.PodPhase, now time.Time) []controllers.Patch {
	status := map[string]any{"conditions": []corev1.PodCondition{{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now), ObservedGeneration: pod.Generation,
	}}}
	if phase != "" {
		status["phase"] = phase
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		panic(err) // strings and times always encode
	}
	p := controllers.PatchOf(core.Pod, pod, types.StrategicMergePatchType, data)
	p.Subresource = "status"
	return []controllers.Patch{p}
}
