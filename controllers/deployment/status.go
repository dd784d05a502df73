package deployment

import (
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// countStatus is the numbers and the Available condition.
func (r *rollout) countStatus() appsv1.DeploymentStatus {
	terminating := int32(0)
	st := appsv1.DeploymentStatus{
		ObservedGeneration: r.d.Generation, CollisionCount: r.d.Status.CollisionCount, TerminatingReplicas: &terminating,
		Conditions: slices.Clone(r.d.Status.Conditions),
	}
	for _, rs := range r.all() {
		st.Replicas += rs.Status.Replicas
		st.ReadyReplicas += rs.Status.ReadyReplicas
		st.AvailableReplicas += rs.Status.AvailableReplicas
		switch {
		case rs.Status.TerminatingReplicas != nil && st.TerminatingReplicas != nil:
			terminating += *rs.Status.TerminatingReplicas
		case rs.Status.TerminatingReplicas == nil && rs.Status.ObservedGeneration != 0:
			st.TerminatingReplicas = nil // not known of one: not known
		}
	}
	st.UnavailableReplicas = max(0, replicasOf(r.all()...)-st.AvailableReplicas)
	if r.current != nil {
		st.UpdatedReplicas = r.current.Status.Replicas
	}
	if st.AvailableReplicas >= *r.d.Spec.Replicas-maxUnavailable(r.d) {
		r.set(&st, appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable", "Deployment has minimum availability.")
	} else {
		r.set(&st, appsv1.DeploymentAvailable, corev1.ConditionFalse, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
	}
	return st
}

// rolloutStatus is countStatus, how the rollout gets on, and what keeps ReplicaSets from having their pods.
func (r *rollout) rolloutStatus() appsv1.DeploymentStatus {
	st := r.countStatus()
	last := condition(&r.d.Status, appsv1.DeploymentProgressing)
	if !hasDeadline(r.d) {
		drop(&st, appsv1.DeploymentProgressing)
	} else if done := st.Replicas == st.UpdatedReplicas && last != nil && last.Reason == "NewReplicaSetAvailable"; !done {
		r.estimateProgress(&st, last)
	}
	if failure := r.replicaFailure(); failure != nil {
		replace(&st, *failure)
	} else {
		drop(&st, appsv1.DeploymentReplicaFailure)
	}
	r.checkDeadline(&st)
	return st
}

func (r *rollout) estimateProgress(st *appsv1.DeploymentStatus, last *appsv1.DeploymentCondition) {
	subject := fmt.Sprintf("Deployment %q", r.d.Name)
	if r.current != nil {
		subject = fmt.Sprintf("ReplicaSet %q", r.current.Name)
	}
	switch {
	case complete(r.d, st):
		r.progress(st, corev1.ConditionTrue, "NewReplicaSetAvailable", subject+" has successfully progressed.")
	case progressing(&r.d.Status, st):
		// The time of the last update is what the deadline counts from, so it moves though the reason may be the same.
		c := r.condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "ReplicaSetUpdated", subject+" is progressing.")
		if last != nil && last.Status == corev1.ConditionTrue {
			c.LastTransitionTime = last.LastTransitionTime
		}
		drop(st, appsv1.DeploymentProgressing)
		st.Conditions = append(st.Conditions, c)
	case r.timedOut(st):
		r.progress(st, corev1.ConditionFalse, "ProgressDeadlineExceeded", subject+" has timed out progressing.")
	}
}

func (r *rollout) timedOut(st *appsv1.DeploymentStatus) bool {
	c := condition(st, appsv1.DeploymentProgressing)
	switch {
	case c == nil || c.Reason == "NewReplicaSetAvailable":
		return false
	case c.Reason == "ProgressDeadlineExceeded":
		return true
	}
	return c.LastUpdateTime.Add(deadline(r.d)).Before(r.now)
}

// checkDeadline asks for a plan when the deadline will have passed, for nothing else may happen until then.
func (r *rollout) checkDeadline(st *appsv1.DeploymentStatus) {
	c := condition(st, appsv1.DeploymentProgressing)
	if !hasDeadline(r.d) || c == nil || c.Reason == "ProgressDeadlineExceeded" || c.Reason == "NewReplicaSetAvailable" || complete(r.d, st) {
		return
	}
	// Stored times have whole seconds: one more is on the safe side.
	r.p.RequeueAfter = max(c.LastUpdateTime.Add(deadline(r.d)).Sub(r.now), 0) + time.Second
}

// replicaFailure is the failure of the current ReplicaSet, or of an old one, or nil.
func (r *rollout) replicaFailure() *appsv1.DeploymentCondition {
	sets := r.old
	if r.current != nil {
		sets = append([]*appsv1.ReplicaSet{r.current}, r.old...)
	}
	for _, rs := range sets {
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				return &appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message,
					LastTransitionTime: c.LastTransitionTime, LastUpdateTime: c.LastTransitionTime,
				}
			}
		}
	}
	return nil
}

// notePause records pausing and resuming in the Progressing condition, so that the deadline does not count a pause.
func (r *rollout) notePause() {
	if !hasDeadline(r.d) {
		return
	}
	c := condition(&r.d.Status, appsv1.DeploymentProgressing)
	if c != nil && c.Reason == "ProgressDeadlineExceeded" {
		return
	}
	noted := c != nil && c.Reason == "DeploymentPaused"
	switch {
	case r.d.Spec.Paused && !noted:
		r.progress(&r.d.Status, corev1.ConditionUnknown, "DeploymentPaused", "Deployment is paused")
	case !r.d.Spec.Paused && noted:
		r.progress(&r.d.Status, corev1.ConditionUnknown, "DeploymentResumed", "Deployment is resumed")
	}
}

func (r *rollout) progress(st *appsv1.DeploymentStatus, status corev1.ConditionStatus, reason, message string) {
	r.set(st, appsv1.DeploymentProgressing, status, reason, message)
}

func (r *rollout) set(st *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) {
	replace(st, r.condition(t, status, reason, message))
}

func (r *rollout) condition(t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) appsv1.DeploymentCondition {
	now := metav1.NewTime(r.now)
	return appsv1.DeploymentCondition{Type: t, Status: status, Reason: reason, Message: message, LastUpdateTime: now, LastTransitionTime: now}
}

func condition(st *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range st.Conditions {
		if st.Conditions[i].Type == t {
			return &st.Conditions[i]
		}
	}
	return nil
}

// replace sets a condition, unless the one there says the same with the same reason; the time of transition stays as long as the status does.
func replace(st *appsv1.DeploymentStatus, c appsv1.DeploymentCondition) {
	if last := condition(st, c.Type); last != nil && last.Status == c.Status {
		if last.Reason == c.Reason {
			return
		}
		c.LastTransitionTime = last.LastTransitionTime
	}
	drop(st, c.Type)
	st.Conditions = append(st.Conditions, c)
}

func drop(st *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	st.Conditions = slices.DeleteFunc(slices.Clone(st.Conditions), func(c appsv1.DeploymentCondition) bool { return c.Type == t })
}

// complete: all pods that are asked for are of the current template and available, and there are no others.
func complete(d *appsv1.Deployment, st *appsv1.DeploymentStatus) bool {
	want := *d.Spec.Replicas
	return st.UpdatedReplicas == want && st.Replicas == want && st.AvailableReplicas == want && st.ObservedGeneration >= d.Generation
}

// progressing: more new pods, fewer old ones, or more that are ready or available.
func progressing(before, after *appsv1.DeploymentStatus) bool {
	return after.UpdatedReplicas > before.UpdatedReplicas || after.Replicas-after.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		after.ReadyReplicas > before.ReadyReplicas || after.AvailableReplicas > before.AvailableReplicas
}

// all is the old ReplicaSets and the current one.
func (r *rollout) all() []*appsv1.ReplicaSet {
	if r.current == nil {
		return r.old
	}
	return append(slices.Clone(r.old), r.current)
}

func active(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	return slices.DeleteFunc(slices.Clone(sets), func(rs *appsv1.ReplicaSet) bool { return *rs.Spec.Replicas == 0 })
}

func replicasOf(sets ...*appsv1.ReplicaSet) (n int32) {
	for _, rs := range sets {
		n += *rs.Spec.Replicas
	}
	return n
}

func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

func deadline(d *appsv1.Deployment) time.Duration {
	return time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second
}

func limitsHistory(d *appsv1.Deployment) bool {
	return d.Spec.RevisionHistoryLimit != nil && *d.Spec.RevisionHistoryLimit != math.MaxInt32
}

// maxSurge and maxUnavailable are the bounds of a rolling update in pods. When percentages round both to nothing, one pod may be missing: else nothing
// could ever move.
func maxSurge(d *appsv1.Deployment) int32 {
	if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return 0
	}
	return surge(d)
}

func maxUnavailable(d *appsv1.Deployment) int32 {
	if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType || *d.Spec.Replicas == 0 {
		return 0
	}
	var value *intstr.IntOrString
	if d.Spec.Strategy.RollingUpdate != nil {
		value = d.Spec.Strategy.RollingUpdate.MaxUnavailable
	}
	n := resolve(value, *d.Spec.Replicas, false)
	if n == 0 && surge(d) == 0 {
		n = 1
	}
	return min(n, *d.Spec.Replicas)
}

func surge(d *appsv1.Deployment) int32 {
	if d.Spec.Strategy.RollingUpdate == nil {
		return 0
	}
	return resolve(d.Spec.Strategy.RollingUpdate.MaxSurge, *d.Spec.Replicas, true)
}

func resolve(v *intstr.IntOrString, of int32, up bool) int32 {
	n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(v, intstr.FromInt32(0)), int(of), up)
	if err != nil {
		return 0 // validation refuses what cannot be read
	}
	return int32(n)
}
