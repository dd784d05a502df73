package job

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The wait before a failed pod is replaced, doubled at each failure in a row.
const (
	backoffFirst = 10 * time.Second
	backoffMax   = 10 * time.Minute
)

// backoff is how often pods failed since the last success, and when the last time. It is remembered between plans, because pods that are deleted are gone; after a
// start it is what the pods say that are still there.
type backoff struct {
	job      types.UID
	failures int
	last     time.Time
}

func (w *work) remembered() backoff {
	if b, ok := w.s.Memory.(backoff); ok && b.job == w.job.UID {
		return b
	}
	var ok, bad []*corev1.Pod
	for _, pod := range w.pods {
		switch {
		case tracked(pod) && !w.uncountedOK[pod.UID] && !w.uncountedBad[pod.UID]:
		case pod.Status.Phase == corev1.PodSucceeded:
			ok = append(ok, pod)
		case pod.Status.Phase == corev1.PodFailed:
			bad = append(bad, pod)
		}
	}
	return backoff{job: w.job.UID}.with(ok, bad)
}

// with counts pods that ended since.
func (b backoff) with(succeeded, failed []*corev1.Pod) backoff {
	latest := func(pods []*corev1.Pod) (at time.Time) {
		for _, pod := range pods {
			if t := finishTime(pod); t.After(at) {
				at = t
			}
		}
		return at
	}
	if len(succeeded) > 0 {
		b.failures, b.last = 0, time.Time{}
		success := latest(succeeded)
		failed = slices.DeleteFunc(slices.Clone(failed), func(p *corev1.Pod) bool { return !finishTime(p).After(success) })
	}
	if len(failed) > 0 {
		b.failures += len(failed)
		b.last = latest(failed)
	}
	return b
}

// left is how long no pod is to be made yet.
func (b backoff) left(now time.Time) time.Duration {
	if b.failures == 0 {
		return 0
	}
	wait := backoffFirst
	for i := 1; i < b.failures && wait < backoffMax; i++ {
		wait *= 2
	}
	return max(min(wait, backoffMax)-now.Sub(b.last), 0)
}

// finishTime is when a pod ended: when the last of its containers did, or else when it ceased to be ready, or when its deletion was asked for, or when it was made.
func finishTime(p *corev1.Pod) time.Time {
	if at, ok := containersEnd(p); ok {
		return at
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionFalse && !c.LastTransitionTime.IsZero() {
			return c.LastTransitionTime.Time
		}
	}
	if p.DeletionTimestamp != nil {
		grace := int64(0)
		if p.DeletionGracePeriodSeconds != nil {
			grace = *p.DeletionGracePeriodSeconds
		}
		return p.DeletionTimestamp.Add(-time.Duration(grace) * time.Second)
	}
	return p.CreationTimestamp.Time
}

// containersEnd is when the last container ended, sidecars included; false while one has not, or none is known.
func containersEnd(p *corev1.Pod) (at time.Time, ok bool) {
	sidecar := func(name string) bool {
		return slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool {
			return c.Name == name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		})
	}
	look := func(list []corev1.ContainerStatus, all bool) bool {
		for i := range list {
			if !all && !sidecar(list[i].Name) {
				continue
			}
			end := list[i].State.Terminated
			if end == nil || end.FinishedAt.IsZero() {
				return false
			}
			if end.FinishedAt.After(at) {
				at = end.FinishedAt.Time
			}
		}
		return true
	}
	ended := look(p.Status.ContainerStatuses, true) && look(p.Status.InitContainerStatuses, false)
	return at, ended && !at.IsZero()
}
