package daemonset

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/apps"
)

// status counts nodes; of each the first pod counts.
func (r *round) status() controllers.Plan {
	st := appsv1.DaemonSetStatus{
		ObservedGeneration: r.ds.Generation, CollisionCount: r.ds.Status.CollisionCount, Conditions: r.ds.Status.Conditions,
	}
	for _, n := range r.order {
		switch {
		case n.node == nil:
		case !n.wanted:
			if len(n.pods) > 0 {
				st.NumberMisscheduled++
			}
		default:
			st.DesiredNumberScheduled++
			if len(n.pods) == 0 {
				continue
			}
			st.CurrentNumberScheduled++
			pod := n.pods[0]
			if r.upToDate(pod) {
				st.UpdatedNumberScheduled++
			}
			if controllers.PodReady(pod) != nil {
				st.NumberReady++
				if r.available(pod) {
					st.NumberAvailable++
				}
			}
		}
	}
	st.NumberUnavailable = st.DesiredNumberScheduled - st.NumberAvailable
	p := controllers.Plan{RequeueAfter: r.again}
	if !equality.Semantic.DeepEqual(r.ds.Status, st) {
		updated := r.ds.DeepCopy()
		updated.Status = st
		p.StatusUpdates = []controllers.Update{{Kind: apps.DaemonSet, Object: updated}}
	}
	return p
}
