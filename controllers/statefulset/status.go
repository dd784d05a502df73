package statefulset

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/apps"
)

// report says in status what there is, once the step's writes have gone as out tells.
func (st *step) report(out controllers.Outcome) controllers.Plan {
	if controllers.Stale(out.Err) {
		return controllers.Plan{} // the next plan knows better
	}
	pods := slices.Clone(st.pods)
	for _, obj := range out.Created {
		if pod, ok := obj.(*corev1.Pod); ok {
			pods = append(pods, pod)
		}
	}
	status := st.count(pods, out.Err == nil)
	if equality.Semantic.DeepEqual(st.set.Status, status) {
		return controllers.Plan{}
	}
	updated := st.set.DeepCopy()
	updated.Status = status
	return controllers.Plan{StatusUpdates: []controllers.Update{{Kind: apps.StatefulSet, Object: updated}}}
}

// count counts pods; gone: those that the step deletes are on their way out.
func (st *step) count(pods []*corev1.Pod, gone bool) appsv1.StatefulSetStatus {
	set := st.set
	s := appsv1.StatefulSetStatus{
		ObservedGeneration: set.Generation, CurrentRevision: st.current.Name, UpdateRevision: st.update.Name, CollisionCount: &st.collisions,
		Conditions: set.Status.Conditions,
	}
	for _, pod := range pods {
		s.Replicas++
		if runningAndReady(pod) {
			s.ReadyReplicas++
			if st.available(pod) {
				s.AvailableReplicas++
			}
		}
		if pod.DeletionTimestamp != nil || gone && st.doomed(pod.UID) {
			continue
		}
		if revisionOf(pod) == st.current.Name {
			s.CurrentReplicas++
		}
		if revisionOf(pod) == st.update.Name {
			s.UpdatedReplicas++
		}
	}
	// The update is complete: what was next is current.
	if n := int32(replicas(set)); set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType &&
		s.UpdatedReplicas == n && s.ReadyReplicas == n && s.Replicas == n {
		s.CurrentReplicas, s.CurrentRevision = s.UpdatedReplicas, s.UpdateRevision
	}
	return s
}
