package nodelifecycle

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
)

const (
	// quarantine is how long a pod's node has to be missing before that is believed.
	quarantine = 40 * time.Second
	// endedSettle gathers pods that end.
	endedSettle = 20 * time.Second
)

// endedPods is the key under which ended pods are counted.
var endedPods = controllers.Key{Name: "ended"}

func planPodGC(o Options, s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	if key == endedPods {
		return planEnded(s, o.TerminatedMax)
	}
	pod, ok := controllers.As[*corev1.Pod](s, core.Pod, key.Namespace, key.Name)
	if !ok {
		return controllers.Plan{}
	}
	if pod.Spec.NodeName == "" {
		if pod.DeletionTimestamp == nil {
			return controllers.Plan{}
		}
		return collect(pod, "PodGC: deleting unscheduled pod that is terminating", now, false)
	}
	node, ok := controllers.As[*corev1.Node](s, core.Node, "", pod.Spec.NodeName)
	if ok {
		if pod.DeletionTimestamp != nil && outOfService(node) {
			return collect(pod, "PodGC: node is out-of-service", now, true)
		}
		return controllers.Plan{}
	}
	missing, noticed := s.Memory.(time.Time)
	if !noticed {
		missing = now
	}
	if left := missing.Add(quarantine).Sub(now); left > 0 {
		return controllers.Plan{RequeueAfter: left, Remember: missing}
	}
	p := collect(pod, "PodGC: node no longer exists", now, true)
	p.Requires = []controllers.Require{{Kind: core.Node, Name: pod.Spec.NodeName, Absent: true}}
	p.Remember = missing
	return p
}

// collect deletes a pod at once, for there is no kubelet to do it gracefully. One that was disrupted is recorded as failed first.
func collect(pod *corev1.Pod, message string, now time.Time, failed bool) controllers.Plan {
	d := controllers.DeleteOf(core.Pod, pod)
	d.Grace = new(int64)
	p := controllers.Plan{Deletes: []controllers.Delete{d}}
	if failed && !ended(pod) {
		p.Patches = disrupted(pod, "DeletionByPodGC", message, corev1.PodFailed, now)
	}
	return p
}

// planEnded deletes the oldest ended pods beyond the number that is kept. Evicted pods go first, as upstream.
func planEnded(s controllers.Reader, keep int) controllers.Plan {
	var list []*corev1.Pod
	for _, pod := range controllers.All[*corev1.Pod](s, core.Pod, "") {
		if ended(pod) {
			list = append(list, pod)
		}
	}
	excess := len(list) - keep
	if excess <= 0 {
		return controllers.Plan{}
	}
	slices.SortFunc(list, func(a, b *corev1.Pod) int {
		if evictedA, evictedB := a.Status.Reason == "Evicted", b.Status.Reason == "Evicted"; evictedA != evictedB {
			if evictedA {
				return -1
			}
			return 1
		}
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	var p controllers.Plan
	for _, pod := range list[:excess] {
		d := controllers.DeleteOf(core.Pod, pod)
		d.Grace = new(int64)
		p.Deletes = append(p.Deletes, d)
	}
	return p
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// outOfService: an administrator says that the node is down for good and its pods may be forgotten.
func outOfService(node *corev1.Node) bool {
	return readiness(node) != corev1.ConditionTrue && slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}
