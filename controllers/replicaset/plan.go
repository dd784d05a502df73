package replicaset

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
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

// burst is how many pods one plan makes or deletes at most, as upstream.
const burst = 500

// Plan brings the number of pods to what is asked for, and says in status what there is.
func Plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	rs, ok := controllers.As[*appsv1.ReplicaSet](s, apps.ReplicaSet, key.Namespace, key.Name)
	if !ok {
		return controllers.Plan{}
	}
	return replicated{apps.ReplicaSet, func(status appsv1.ReplicaSetStatus) kinds.Object {
		if equality.Semantic.DeepEqual(rs.Status, status) {
			return nil
		}
		updated := rs.DeepCopy()
		updated.Status = status
		return updated
	}}.plan(s, rs, now)
}

// replicated is a kind whose objects are planned as ReplicaSets: they are one, or can be seen as one.
type replicated struct {
	kind *kinds.Kind
	// withStatus is the object in the state that status describes; nil: it is in that state.
	withStatus func(status appsv1.ReplicaSetStatus) kinds.Object
}

func (k replicated) plan(s controllers.Snapshot, rs *appsv1.ReplicaSet, now time.Time) controllers.Plan {
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil || selector.Empty() {
		return controllers.Plan{} // an object that validation lets through has one
	}
	var candidates, terminating []*corev1.Pod
	for _, pod := range podsOf(s, rs, selector) {
		switch {
		case controllers.PodActive(pod):
			candidates = append(candidates, pod)
		case controllers.PodTerminating(pod) && metav1.IsControlledBy(pod, rs) && selector.Matches(labels.Set(pod.Labels)):
			terminating = append(terminating, pod)
		}
	}
	claimed := controllers.Claim(rs, k.kind, core.Pod, selector, candidates)
	if len(claimed.Patches) > 0 {
		return controllers.Plan{Requires: claimed.Requires, Patches: claimed.Patches} // that changes pods, which brings the next plan
	}
	active := claimed.Objects
	var p controllers.Plan

	diff := len(active) - int(replicas(rs))
	switch {
	case rs.DeletionTimestamp != nil:
	case diff < 0:
		for _, name := range podNames(s, rs, min(-diff, burst), active, terminating) {
			p.Creates = append(p.Creates, k.create(rs, name))
		}
	case diff > 0:
		for _, pod := range Doomed(active, relatedPods(s, rs), min(diff, burst), now) {
			p.Deletes = append(p.Deletes, k.remove(rs, pod))
		}
	}
	deletes := p.Deletes
	p.Then = func(out controllers.Outcome) controllers.Plan {
		return k.statusPlan(rs, after(active, deletes, out), len(terminating)+gone(deletes, out), diff, out.Err, now)
	}
	return p
}

func replicas(rs *appsv1.ReplicaSet) int32 {
	if rs.Spec.Replicas == nil {
		return 1
	}
	return *rs.Spec.Replicas
}

// podsOf is the pods that are owned, and those without a controller that match, by name.
func podsOf(s controllers.Snapshot, rs *appsv1.ReplicaSet, selector labels.Selector) []*corev1.Pod {
	pods := client.All[*corev1.Pod](s.Owned(core.Pod, rs.Namespace, rs.UID))
	pods = slices.DeleteFunc(pods, func(p *corev1.Pod) bool { return !metav1.IsControlledBy(p, rs) })
	for _, pod := range client.All[*corev1.Pod](s.List(core.Pod, rs.Namespace, selector)) {
		if metav1.GetControllerOfNoCopy(pod) == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// relatedPods is the pods of all ReplicaSets of the same owner, so that a Deployment is spread as a whole.
func relatedPods(s controllers.Snapshot, rs *appsv1.ReplicaSet) []*corev1.Pod {
	owner := metav1.GetControllerOfNoCopy(rs)
	siblings := []*appsv1.ReplicaSet{rs}
	if owner != nil {
		siblings = client.All[*appsv1.ReplicaSet](s.Owned(apps.ReplicaSet, rs.Namespace, owner.UID))
	}
	var pods []*corev1.Pod
	for _, sibling := range siblings {
		pods = append(pods, client.All[*corev1.Pod](s.Owned(core.Pod, rs.Namespace, sibling.UID))...)
	}
	return pods
}

func (k replicated) create(rs *appsv1.ReplicaSet, name string) controllers.Create {
	t := rs.Spec.Template.DeepCopy()
	return controllers.Create{
		Kind: core.Pod,
		Object: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, GenerateName: controllers.NamePrefix(core.Pod, rs.Name), Namespace: rs.Namespace, Labels: t.Labels, Annotations: t.Annotations, Finalizers: t.Finalizers,
				OwnerReferences: []metav1.OwnerReference{controllers.ControllerRef(rs, k.kind)},
			},
			Spec: t.Spec,
		},
		Done:   &controllers.Event{Kind: k.kind, About: rs, Type: corev1.EventTypeNormal, Reason: "SuccessfulCreate", Message: "Created pod: " + name},
		Failed: &controllers.Event{Kind: k.kind, About: rs, Type: corev1.EventTypeWarning, Reason: "FailedCreate", Message: "Error creating: "},
	}
}

func (k replicated) remove(rs *appsv1.ReplicaSet, pod *corev1.Pod) controllers.Delete {
	d := controllers.DeleteOf(core.Pod, pod)
	d.Done = &controllers.Event{Kind: k.kind, About: rs, Type: corev1.EventTypeNormal, Reason: "SuccessfulDelete", Message: "Deleted pod: " + pod.Name}
	d.Failed = &controllers.Event{Kind: k.kind, About: rs, Type: corev1.EventTypeWarning, Reason: "FailedDelete", Message: "Error deleting: "}
	return d
}

// after is the active pods once the plan's writes are made, as far as that is known.
func after(active []*corev1.Pod, deletes []controllers.Delete, out controllers.Outcome) []*corev1.Pod {
	pods := slices.Clone(active)
	if gone(deletes, out) > 0 {
		pods = slices.DeleteFunc(pods, func(p *corev1.Pod) bool {
			return slices.ContainsFunc(deletes, func(d controllers.Delete) bool { return d.UID == p.UID })
		})
	}
	for _, obj := range out.Created {
		if obj != nil {
			pods = append(pods, obj.(*corev1.Pod))
		}
	}
	return pods
}

func gone(deletes []controllers.Delete, out controllers.Outcome) int {
	if out.Err != nil {
		return 0
	}
	return len(deletes)
}

// statusPlan says in status what there is; err is how the plan's writes failed, or nil.
func (k replicated) statusPlan(rs *appsv1.ReplicaSet, active []*corev1.Pod, terminating, diff int, err error, now time.Time) controllers.Plan {
	var p controllers.Plan
	status := status(rs, active, terminating, now)
	if status.ReadyReplicas != status.AvailableReplicas {
		p.RequeueAfter = nextAvailable(rs, active, now)
	}
	if controllers.Stale(err) {
		return p // the next plan knows better
	}
	has := slices.ContainsFunc(rs.Status.Conditions, func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure })
	switch {
	case err != nil && !has:
		reason := "FailedCreate"
		if diff > 0 {
			reason = "FailedDelete"
		}
		status.Conditions = append(status.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now), Reason: reason, Message: err.Error(),
		})
	case err == nil && has:
		status.Conditions = slices.DeleteFunc(status.Conditions, func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure })
	}
	if updated := k.withStatus(status); updated != nil {
		p.StatusUpdates = []controllers.Update{{Kind: k.kind, Object: updated}}
	}
	return p
}

// status counts pods. A terminating pod is counted under TerminatingReplicas only (KEP-3973, on by default).
func status(rs *appsv1.ReplicaSet, active []*corev1.Pod, terminating int, now time.Time) appsv1.ReplicaSetStatus {
	n := int32(terminating)
	st := appsv1.ReplicaSetStatus{
		Replicas: int32(len(active)), TerminatingReplicas: &n, ObservedGeneration: rs.Generation, Conditions: slices.Clone(rs.Status.Conditions),
	}
	template := labels.SelectorFromValidatedSet(rs.Spec.Template.Labels)
	for _, pod := range active {
		if template.Matches(labels.Set(pod.Labels)) {
			st.FullyLabeledReplicas++
		}
		if controllers.PodReady(pod) != nil {
			st.ReadyReplicas++
			if available, _ := controllers.PodAvailable(pod, rs.Spec.MinReadySeconds, now); available {
				st.AvailableReplicas++
			}
		}
	}
	return st
}

// nextAvailable is when the next ready pod will have been so for minReadySeconds.
func nextAvailable(rs *appsv1.ReplicaSet, active []*corev1.Pod, now time.Time) time.Duration {
	next := time.Duration(rs.Spec.MinReadySeconds) * time.Second
	for _, pod := range active {
		if available, in := controllers.PodAvailable(pod, rs.Spec.MinReadySeconds, now); !available && in > 0 {
			next = min(next, in)
		}
	}
	return next
}

// podNames gives n new pods names that follow from the pods there are. The version is part of the state, so that a pod does not get the name of one that was
// there before.
func podNames(s controllers.Reader, rs *appsv1.ReplicaSet, n int, groups ...[]*corev1.Pod) []string {
	var state []string
	for _, pods := range groups {
		for _, pod := range pods {
			state = append(state, string(pod.UID))
		}
	}
	slices.Sort(state)
	state = append(state, string(rs.UID), rs.ResourceVersion)
	return controllers.Names(s, core.Pod, rs.Namespace, controllers.NamePrefix(core.Pod, rs.Name), n, state...)
}
