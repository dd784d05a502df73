package deployment

import (
	"fmt"
	"math"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

// scaled reports whether somebody changed spec.replicas of the Deployment since its ReplicaSets were last sized: that is done in proportion, outside the rollout.
func (r *rollout) scaled() bool {
	for _, rs := range active(r.all()) {
		if desired, ok := annotatedCount(rs, desiredReplicasAnnotation); ok && desired != *r.d.Spec.Replicas {
			return true
		}
	}
	return false
}

// resize brings the ReplicaSets of a Deployment that was scaled, or is paused, to the new size.
func (r *rollout) resize() {
	if only, ok := r.activeOrLatest(); ok {
		if only != nil && *only.Spec.Replicas != *r.d.Spec.Replicas {
			r.scale(only, *r.d.Spec.Replicas, false)
		}
		return
	}
	if r.saturated() {
		for _, rs := range active(r.old) {
			r.scale(rs, 0, false)
		}
		return
	}
	if r.d.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		r.resizeInProportion()
	}
}

// activeOrLatest is the one ReplicaSet with replicas, or when none has any, the newest (nil when there is none at all). It is false when several have.
func (r *rollout) activeOrLatest() (*appsv1.ReplicaSet, bool) {
	switch sets := active(r.all()); len(sets) {
	case 0:
		if r.current == nil && len(r.old) > 0 {
			return r.old[len(r.old)-1], true
		}
		return r.current, true
	case 1:
		return sets[0], true
	}
	return nil, false
}

// saturated: the current ReplicaSet has all the pods that are asked for, and they are available.
func (r *rollout) saturated() bool {
	if r.current == nil {
		return false
	}
	want := *r.d.Spec.Replicas
	desired, ok := annotatedCount(r.current, desiredReplicasAnnotation)
	return ok && desired == want && *r.current.Spec.Replicas == want && r.current.Status.AvailableReplicas == want
}

// resizeInProportion shares what is to be added or removed among the ReplicaSets by their size, so that scaling neither hastens the rollout nor
// undoes it: the risk stays what it was.
func (r *rollout) resizeInProportion() {
	sets := active(r.all())
	allowed := int32(0)
	if *r.d.Spec.Replicas > 0 {
		allowed = *r.d.Spec.Replicas + maxSurge(r.d)
	}
	toAdd := allowed - replicasOf(sets...)
	slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
		if *a.Spec.Replicas != *b.Spec.Replicas {
			return int(*b.Spec.Replicas - *a.Spec.Replicas)
		}
		if toAdd < 0 {
			return byAge(a, b)
		}
		return byAge(b, a)
	})
	sizes := make([]int32, len(sets))
	added := int32(0)
	for i, rs := range sets {
		share := int32(0)
		switch {
		case toAdd > 0:
			share = min(r.fraction(rs), toAdd-added)
		case toAdd < 0:
			share = max(r.fraction(rs), toAdd-added)
		}
		sizes[i] = *rs.Spec.Replicas + share
		added += share
	}
	if len(sizes) > 0 && toAdd != 0 {
		sizes[0] = max(0, sizes[0]+toAdd-added) // what rounding left over
	}
	for i, rs := range sets {
		r.scale(rs, sizes[i], true)
	}
}

// fraction is how much a ReplicaSet is to grow or shrink to keep its share of the whole.
func (r *rollout) fraction(rs *appsv1.ReplicaSet) int32 {
	if *r.d.Spec.Replicas == 0 {
		return -*rs.Spec.Replicas
	}
	before, ok := annotatedCount(rs, maxReplicasAnnotation)
	if !ok || before == 0 {
		before = r.d.Status.Replicas
	}
	if before == 0 {
		return 0
	}
	size := float64(*rs.Spec.Replicas) * float64(*r.d.Spec.Replicas+maxSurge(r.d)) / float64(before)
	return int32(math.Round(size)) - *rs.Spec.Replicas
}

// newReplicas is how many replicas a new or growing ReplicaSet may have now.
func (r *rollout) newReplicas(rs *appsv1.ReplicaSet) int32 {
	if r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return *r.d.Spec.Replicas
	}
	have := int32(0)
	if rs != nil {
		have = *rs.Spec.Replicas
	}
	room := *r.d.Spec.Replicas + surge(r.d) - replicasOf(r.all()...)
	if room <= 0 {
		return have
	}
	return have + min(room, *r.d.Spec.Replicas-have)
}

// scale plans a ReplicaSet's size, and puts the ReplicaSet as it will be in the place of what it was. annotate: its annotations count as a reason to write too.
func (r *rollout) scale(rs *appsv1.ReplicaSet, size int32, annotate bool) bool {
	from := *rs.Spec.Replicas
	next := rs.DeepCopy()
	next.Spec.Replicas = &size
	annotated := annotateReplicas(next, *r.d.Spec.Replicas, *r.d.Spec.Replicas+maxSurge(r.d))
	if from == size && (!annotate || !annotated) {
		return false
	}
	u := controllers.Update{Kind: apps.ReplicaSet, Object: next}
	if from != size {
		direction := "up"
		if size < from {
			direction = "down"
		}
		first := r.planned(rs)
		if first >= 0 { // scaled twice in one plan: one write, one event, from the size that is stored
			from = *r.storedReplicas(rs)
			r.p.Updates = slices.Delete(r.p.Updates, first, first+1)
		}
		u.Done = r.scalingEvent(direction, rs.Name, from, size)
	}
	r.p.Updates = append(r.p.Updates, u)
	r.replace(rs, next)
	return from != size
}

func (r *rollout) scalingEvent(direction, name string, from, to int32) *controllers.Event {
	return &controllers.Event{
		Kind: apps.Deployment, About: r.stored, Type: corev1.EventTypeNormal, Reason: "ScalingReplicaSet",
		Message: fmt.Sprintf("Scaled %s replica set %s from %d to %d", direction, name, from, to),
	}
}

// planned is where among the planned updates a ReplicaSet is, or -1.
func (r *rollout) planned(rs *appsv1.ReplicaSet) int {
	return slices.IndexFunc(r.p.Updates, func(u controllers.Update) bool { return u.Object.GetUID() == rs.UID })
}

func (r *rollout) storedReplicas(rs *appsv1.ReplicaSet) *int32 {
	if stored, ok := controllers.As[*appsv1.ReplicaSet](r.s, apps.ReplicaSet, rs.Namespace, rs.Name); ok {
		return stored.Spec.Replicas
	}
	return rs.Spec.Replicas
}

func (r *rollout) replace(rs, next *appsv1.ReplicaSet) {
	if rs == r.current {
		r.current = next
		return
	}
	r.old[slices.Index(r.old, rs)] = next
}

// oldPodsRunning reports whether a pod of an old ReplicaSet may still run: counted or not.
func (r *rollout) oldPodsRunning() bool {
	for _, rs := range r.old {
		if rs.Status.Replicas > 0 {
			return true
		}
		for _, pod := range client.All[*corev1.Pod](r.s.Owned(core.Pod, rs.Namespace, rs.UID)) {
			if pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded {
				return true
			}
		}
	}
	return false
}
