package deployment

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/apps"
)

// Plan makes the next step of a Deployment.
func Plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	stored, ok := controllers.As[*appsv1.Deployment](s, apps.Deployment, key.Namespace, key.Name)
	if !ok {
		return controllers.Plan{}
	}
	r := &rollout{s: s, now: now, stored: stored, d: stored.DeepCopy()}
	selector, err := metav1.LabelSelectorAsSelector(stored.Spec.Selector)
	if err != nil {
		return controllers.Plan{Err: err}
	}
	if selector.Empty() {
		return r.selectsAll()
	}
	claimed := controllers.Claim(stored, apps.Deployment, apps.ReplicaSet, selector, r.candidates(selector))
	if len(claimed.Patches) > 0 {
		return controllers.Plan{Requires: claimed.Requires, Patches: claimed.Patches} // that changes ReplicaSets, which brings the next plan
	}
	r.sort(claimed.Objects)
	r.plan()
	return r.p
}

// rollout is a Deployment, its ReplicaSets, and the plan as it comes together.
type rollout struct {
	s   controllers.Snapshot
	now time.Time
	// stored is the Deployment as it is; d is a copy that the plan changes: status and annotations.
	stored, d *appsv1.Deployment
	// current has the Deployment's template; nil: it has to be made. old are the others, oldest first.
	current *appsv1.ReplicaSet
	old     []*appsv1.ReplicaSet
	p       controllers.Plan
}

// candidates is the ReplicaSets that the Deployment owns, and those without a controller that match.
func (r *rollout) candidates(selector labels.Selector) []*appsv1.ReplicaSet {
	sets := client.All[*appsv1.ReplicaSet](r.s.Owned(apps.ReplicaSet, r.d.Namespace, r.d.UID))
	for _, rs := range client.All[*appsv1.ReplicaSet](r.s.List(apps.ReplicaSet, r.d.Namespace, selector)) {
		if metav1.GetControllerOfNoCopy(rs) == nil {
			sets = append(sets, rs)
		}
	}
	return sets
}

// sort tells the current ReplicaSet from the old ones. Of several with the template the oldest is current.
func (r *rollout) sort(sets []*appsv1.ReplicaSet) {
	slices.SortStableFunc(sets, byAge)
	for _, rs := range sets {
		if r.current == nil && equalTemplate(&rs.Spec.Template, &r.d.Spec.Template) {
			r.current = rs
		} else {
			r.old = append(r.old, rs)
		}
	}
}

func (r *rollout) plan() {
	if r.d.DeletionTimestamp != nil {
		r.setStatus(r.countStatus())
		return
	}
	r.notePause()
	if r.recordRevision() {
		return
	}
	if r.d.Spec.Paused || r.scaled() {
		r.resize()
		if r.d.Spec.Paused {
			r.cleanup()
		}
		r.setStatus(r.countStatus())
		return
	}
	switch r.d.Spec.Strategy.Type {
	case appsv1.RecreateDeploymentStrategyType:
		r.recreate()
	default:
		r.roll()
	}
}

// roll is a rolling update: first more new pods, then fewer old ones.
func (r *rollout) roll() {
	if r.current == nil {
		r.create()
		return
	}
	if !r.growNew() && !r.shrinkOld() && complete(r.d, &r.d.Status) {
		r.cleanup()
	}
	r.setStatus(r.rolloutStatus())
}

// growNew scales the current ReplicaSet toward what is asked for, within maxSurge.
func (r *rollout) growNew() bool {
	want := *r.d.Spec.Replicas
	if *r.current.Spec.Replicas < want {
		want = r.newReplicas(r.current)
	}
	return r.scale(r.current, want, false)
}

// shrinkOld scales old ReplicaSets down: pods that are not available first, for they help nobody, then as many as minimum availability allows. Pods of the current
// ReplicaSet that are not available yet count as missing, so that an update that does not come up takes no more old pods down.
func (r *rollout) shrinkOld() bool {
	minAvailable := *r.d.Spec.Replicas - maxUnavailable(r.d)
	spare := replicasOf(r.all()...) - minAvailable - (*r.current.Spec.Replicas - r.current.Status.AvailableReplicas)
	if spare <= 0 {
		return false
	}
	scaled := false
	for _, rs := range active(r.old) {
		unhealthy := *rs.Spec.Replicas - rs.Status.AvailableReplicas
		if down := min(spare, unhealthy); down > 0 {
			spare -= down
			scaled = r.scale(rs, *rs.Spec.Replicas-down, false) || scaled
		}
	}
	available := int32(0)
	for _, rs := range r.all() {
		available += rs.Status.AvailableReplicas
	}
	for _, rs := range active(r.old) {
		if down := min(available-minAvailable, *rs.Spec.Replicas); down > 0 {
			available -= down
			scaled = r.scale(rs, *rs.Spec.Replicas-down, false) || scaled
		}
	}
	return scaled
}

// recreate waits until no old pod is left before it makes a new one.
func (r *rollout) recreate() {
	scaled := false
	for _, rs := range active(r.old) {
		scaled = r.scale(rs, 0, false) || scaled
	}
	if scaled || r.oldPodsRunning() {
		r.setStatus(r.rolloutStatus())
		return
	}
	if r.current == nil {
		r.create()
		return
	}
	if !r.scale(r.current, *r.d.Spec.Replicas, false) && complete(r.d, &r.d.Status) {
		r.cleanup()
	}
	r.setStatus(r.rolloutStatus())
}

// cleanup deletes the oldest ReplicaSets beyond the history limit. The version is a precondition: somebody may be rolling back to one.
func (r *rollout) cleanup() {
	if !limitsHistory(r.d) {
		return
	}
	alive := slices.DeleteFunc(slices.Clone(r.old), func(rs *appsv1.ReplicaSet) bool { return rs.DeletionTimestamp != nil })
	excess := len(alive) - int(*r.d.Spec.RevisionHistoryLimit)
	if excess <= 0 {
		return
	}
	slices.SortStableFunc(alive, byRevision)
	for _, rs := range alive[:excess] {
		if rs.Status.Replicas != 0 || *rs.Spec.Replicas != 0 || rs.Generation > rs.Status.ObservedGeneration {
			continue
		}
		d := controllers.DeleteOf(apps.ReplicaSet, rs)
		d.ResourceVersion = rs.ResourceVersion
		r.p.Deletes = append(r.p.Deletes, d)
	}
}

// selectsAll is upstream's answer to a selector that validation should not have let through.
func (r *rollout) selectsAll() controllers.Plan {
	r.event(corev1.EventTypeWarning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
	r.d.Status.ObservedGeneration = max(r.d.Status.ObservedGeneration, r.d.Generation)
	r.setStatus(r.d.Status)
	return r.p
}

// setStatus plans to write status and annotations, when they differ from what is stored.
func (r *rollout) setStatus(status appsv1.DeploymentStatus) {
	r.d.Status = status
	if equality.Semantic.DeepEqual(r.stored.Status, status) && equality.Semantic.DeepEqual(r.stored.Annotations, r.d.Annotations) {
		return
	}
	r.p.StatusUpdates = []controllers.Update{{Kind: apps.Deployment, Object: r.d}}
}

func (r *rollout) event(eventType, reason, message string) {
	r.p.Events = append(r.p.Events, controllers.Event{Kind: apps.Deployment, About: r.stored, Type: eventType, Reason: reason, Message: message})
}
