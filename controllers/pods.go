package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// PodActive reports whether a pod counts as one: it has not ended and is not being deleted.
func PodActive(p *corev1.Pod) bool {
	return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed && p.DeletionTimestamp == nil
}

// PodTerminating reports whether a pod is being deleted and has not ended yet.
func PodTerminating(p *corev1.Pod) bool {
	return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed && p.DeletionTimestamp != nil
}

// PodReady is a pod's Ready condition, or nil while it is not true.
func PodReady(p *corev1.Pod) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// PodAvailable reports whether a pod has been ready for minReadySeconds, and if it is ready but not yet that long, how long it still takes.
func PodAvailable(p *corev1.Pod, minReadySeconds int32, now time.Time) (available bool, in time.Duration) {
	ready := PodReady(p)
	if ready == nil {
		return false, 0
	}
	if minReadySeconds == 0 {
		return true, 0
	}
	if ready.LastTransitionTime.IsZero() {
		return false, 0
	}
	at := ready.LastTransitionTime.Add(time.Duration(minReadySeconds) * time.Second)
	if at.After(now) {
		return false, at.Sub(now)
	}
	return true, 0
}

// NextAvailable is when the next of some pods will have been ready for minReadySeconds; 0: none is on its way.
func NextAvailable(pods []*corev1.Pod, minReadySeconds int32, now time.Time) time.Duration {
	var next time.Duration
	for _, pod := range pods {
		if available, in := PodAvailable(pod, minReadySeconds, now); !available && in > 0 && (next == 0 || in < next) {
			next = in
		}
	}
	return next
}
