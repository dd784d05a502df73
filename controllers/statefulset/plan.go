package statefulset

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/history"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

// hashLabel holds what the data of a revision hashes to. Pods name their revision instead.
const hashLabel = "controller.kubernetes.io/hash"

// Plan brings a StatefulSet one step nearer to what is asked for: with OrderedReady one pod, with Parallel all that can be.
func Plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	set, ok := controllers.As[*appsv1.StatefulSet](s, apps.StatefulSet, key.Namespace, key.Name)
	if !ok {
		return controllers.Plan{}
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil || selector.Empty() {
		return controllers.Plan{} // an object that validation lets through has one
	}
	revisions := history.Of(s, set, selector)
	pods, adoption := claimPods(s, set, selector)
	adopted := controllers.Claim(set, apps.StatefulSet, apps.ControllerRevision, labels.Everything(), revisions)
	adoption.Requires, adoption.Patches = append(adoption.Requires, adopted.Requires...), append(adoption.Patches, adopted.Patches...)
	if len(adoption.Patches) > 0 {
		return adoption // that changes what is ours, which brings the next plan
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return ordinal(a) - ordinal(b) })

	st := step{s: s, set: set, pods: pods, now: now, told: map[string]bool{}}
	if st.said, _ = s.Memory.(map[string]bool); st.said == nil {
		st.said = map[string]bool{}
	}
	if p, done := st.revise(revisions); done {
		return p
	}
	if set.DeletionTimestamp == nil {
		st.act()
		st.forget = history.Surplus(revisions, set.Spec.RevisionHistoryLimit, st.inUse)
	}
	return st.plan()
}

// claimPods is the pods that are ours, and what makes them so: those that match and have a name of ours, and nobody else's.
func claimPods(s controllers.Reader, set *appsv1.StatefulSet, selector labels.Selector) ([]*corev1.Pod, controllers.Plan) {
	var members, strangers []*corev1.Pod
	for _, pod := range client.All[*corev1.Pod](s.Owned(core.Pod, set.Namespace, set.UID)) {
		switch {
		case !metav1.IsControlledBy(pod, set):
		case isMember(set, pod):
			members = append(members, pod)
		default:
			strangers = append(strangers, pod)
		}
	}
	for _, pod := range client.All[*corev1.Pod](s.List(core.Pod, set.Namespace, selector)) {
		if metav1.GetControllerOfNoCopy(pod) == nil && isMember(set, pod) {
			members = append(members, pod)
		}
	}
	ours := controllers.Claim(set, apps.StatefulSet, core.Pod, selector, members)
	released := controllers.Claim(set, apps.StatefulSet, core.Pod, labels.Nothing(), strangers)
	return ours.Objects, controllers.Plan{Requires: ours.Requires, Patches: append(ours.Patches, released.Patches...)}
}

// step is the making of one plan.
type step struct {
	s    controllers.Snapshot
	set  *appsv1.StatefulSet
	pods []*corev1.Pod // by ordinal
	now  time.Time

	current, update *appsv1.ControllerRevision
	collisions      int32

	claims  []controllers.Create // before the pods
	made    []controllers.Create
	dropped []*corev1.Pod
	updates []controllers.Update
	forget  []controllers.Delete
	events  []controllers.Event
	err     error

	said, told map[string]bool // warnings given before, and now
}

// inUse reports whether a revision is the current or next one, or some pod's.
func (st *step) inUse(r *appsv1.ControllerRevision) bool {
	return r.Name == st.current.Name || r.Name == st.update.Name || slices.ContainsFunc(st.pods, func(p *corev1.Pod) bool { return revisionOf(p) == r.Name })
}

// plan puts the step in order: claims before the pods that use them, and status last, by what came of it.
func (st *step) plan() controllers.Plan {
	p := controllers.Plan{
		Updates: st.updates, Creates: st.claims, Remember: st.told, Events: st.events, Err: st.err,
		RequeueAfter: controllers.NextAvailable(st.pods, st.set.Spec.MinReadySeconds, st.now),
	}
	p.Then = func(out controllers.Outcome) controllers.Plan {
		if out.Err != nil {
			return st.report(out)
		}
		pods := controllers.Plan{Creates: st.made, Then: st.report}
		for _, pod := range st.dropped {
			pods.Deletes = append(pods.Deletes, st.remove(pod))
		}
		pods.Deletes = append(pods.Deletes, st.forget...)
		return pods
	}
	return p
}

// revise finds the revision of the template, which is numbered or made first where it must be; done: p is all there is to do now.
func (st *step) revise(sorted []*appsv1.ControllerRevision) (p controllers.Plan, done bool) {
	set := st.set
	if set.Status.CollisionCount != nil {
		st.collisions = *set.Status.CollisionCount
	}
	if n := len(sorted); n > 0 && sorted[n-1].Name == set.Status.UpdateRevision && set.Status.ObservedGeneration == set.Generation {
		st.update = sorted[n-1] // as status says: nothing has to be compared
	} else {
		fresh, err := history.New(set, apps.StatefulSet, &set.Spec.Template, history.Next(sorted), &st.collisions, hashLabel)
		if err != nil {
			return controllers.Plan{Err: err}, true
		}
		switch found := history.Find(sorted, fresh, &set.Spec.Template); {
		case set.DeletionTimestamp != nil && found == nil:
			return controllers.Plan{}, true
		case found == nil:
			return st.record(fresh), true
		case found != sorted[n-1] && set.DeletionTimestamp == nil:
			return controllers.Plan{Updates: []controllers.Update{history.Number(found, fresh.Revision)}}, true // rolled back: that brings the next plan
		default:
			st.update = found
		}
	}
	st.current = st.update
	if i := slices.IndexFunc(sorted, func(r *appsv1.ControllerRevision) bool { return r.Name == set.Status.CurrentRevision }); i >= 0 {
		st.current = sorted[i]
	}
	return controllers.Plan{}, false
}

// record makes a revision, which brings the next plan.
func (st *step) record(r *appsv1.ControllerRevision) controllers.Plan {
	return controllers.Plan{
		Creates: []controllers.Create{{Kind: apps.ControllerRevision, Object: r, Exists: true}},
		Then: func(out controllers.Outcome) controllers.Plan {
			if !out.Exists[0] {
				return controllers.Plan{}
			}
			switch history.NameTaken(st.s, st.set, r) {
			case history.Unseen:
				return controllers.Plan{Err: errUnseen(r)}
			case history.Collision:
				updated := st.set.DeepCopy()
				n := st.collisions + 1
				updated.Status.CollisionCount = &n
				return controllers.Plan{StatusUpdates: []controllers.Update{{Kind: apps.StatefulSet, Object: updated}}}
			}
			return controllers.Plan{}
		},
	}
}
