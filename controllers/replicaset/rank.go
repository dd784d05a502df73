package replicaset

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
)

// Doomed picks n of the active pods to delete, in upstream's order: not on a node yet, pending, unknown, not ready, cheap to delete, with many related
// pods on the same node, ready for a short time, restarted often, young. Times are compared by order of magnitude, so that not always the same ones go.
func Doomed(active, related []*corev1.Pod, n int, now time.Time) []*corev1.Pod {
	if n >= len(active) {
		return active
	}
	onNode := map[string]int{}
	for _, pod := range related {
		if controllers.PodActive(pod) {
			onNode[pod.Spec.NodeName]++
		}
	}
	pods := slices.Clone(active)
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int { return compare(a, b, onNode, now) })
	return pods[:n]
}

// compare is negative when a is to be deleted before b.
func compare(a, b *corev1.Pod, onNode map[string]int, now time.Time) int {
	if a.Spec.NodeName != b.Spec.NodeName && (a.Spec.NodeName == "" || b.Spec.NodeName == "") {
		return cmp.Compare(len(a.Spec.NodeName), len(b.Spec.NodeName))
	}
	if c := cmp.Compare(phaseOrder(a), phaseOrder(b)); c != 0 {
		return c
	}
	readyA, readyB := controllers.PodReady(a), controllers.PodReady(b)
	if (readyA != nil) != (readyB != nil) {
		if readyA == nil {
			return -1
		}
		return 1
	}
	if c := cmp.Compare(deletionCost(a), deletionCost(b)); c != 0 {
		return c
	}
	if c := cmp.Compare(onNode[b.Spec.NodeName], onNode[a.Spec.NodeName]); c != 0 {
		return c
	}
	if readyA != nil && !readyA.LastTransitionTime.Equal(&readyB.LastTransitionTime) {
		return younger(readyA.LastTransitionTime, readyB.LastTransitionTime, a, b, now)
	}
	regularA, sidecarA := restarts(a)
	regularB, sidecarB := restarts(b)
	if c := cmp.Or(cmp.Compare(regularB, regularA), cmp.Compare(sidecarB, sidecarA)); c != 0 {
		return c
	}
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return younger(a.CreationTimestamp, b.CreationTimestamp, a, b, now)
	}
	return 0
}

// phaseOrder is pending, unknown, running.
func phaseOrder(p *corev1.Pod) int {
	switch p.Status.Phase {
	case corev1.PodUnknown:
		return 1
	case corev1.PodRunning:
		return 2
	}
	return 0
}

func deletionCost(p *corev1.Pod) int32 {
	cost, err := strconv.ParseInt(p.Annotations[corev1.PodDeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return int32(cost)
}

// younger puts the later time first, by order of magnitude of its age; equals by UID. A missing time counts as the youngest.
func younger(x, y metav1.Time, a, b *corev1.Pod, now time.Time) int {
	if x.IsZero() || y.IsZero() {
		if x.IsZero() {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(magnitude(now.Sub(x.Time)), magnitude(now.Sub(y.Time))), cmp.Compare(a.UID, b.UID))
}

func magnitude(age time.Duration) int64 {
	if age <= 0 {
		return -1
	}
	return int64(math.Log2(float64(age)))
}

// restarts is the most restarts of a container, and of a sidecar.
func restarts(p *corev1.Pod) (regular, sidecar int32) {
	for _, c := range p.Status.ContainerStatuses {
		regular = max(regular, c.RestartCount)
	}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		for _, st := range p.Status.InitContainerStatuses {
			if st.Name == c.Name {
				sidecar = max(sidecar, st.RestartCount)
			}
		}
	}
	return regular, sidecar
}
