package resourcequota

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/quota"
)

type planner struct{ kinds *kinds.Set }

func (pl planner) plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	q, ok := controllers.As[*corev1.ResourceQuota](s, core.ResourceQuota, key.Namespace, key.Name)
	if !ok {
		return controllers.Plan{}
	}
	var p controllers.Plan
	used, overdue := pl.count(s, q, now)
	if !overdue.IsZero() {
		p.RequeueAfter = overdue.Sub(now) + time.Millisecond
	}
	for name := range q.Spec.Hard {
		if _, known := used[name]; known {
			continue
		}
		p.AwaitKinds = true // of a kind that may come, or nothing we can count: what was known of it stays
		if was, ok := q.Status.Used[name]; ok {
			used[name] = was
		}
	}
	if equality.Semantic.DeepEqual(q.Spec.Hard, q.Status.Hard) && equality.Semantic.DeepEqual(used, q.Status.Used) {
		return p
	}
	updated := q.DeepCopy()
	updated.Status = corev1.ResourceQuotaStatus{Hard: q.Spec.Hard.DeepCopy(), Used: used}
	p.StatusUpdates = []controllers.Update{{Kind: core.ResourceQuota, Object: updated}}
	return p
}

// count adds up what the objects in the quota's scopes use of the resources it bounds and that some kind can use, and says when that is less for no other reason
// than the time.
func (pl planner) count(s controllers.Snapshot, q *corev1.ResourceQuota, now time.Time) (used corev1.ResourceList, next time.Time) {
	used = corev1.ResourceList{}
	for _, k := range pl.kinds.Stored() {
		tracked := false
		for name := range q.Spec.Hard {
			if quota.Tracks(k, name) {
				tracked = true
				if _, ok := used[name]; !ok {
					used[name] = resource.Quantity{Format: resource.DecimalSI}
				}
			}
		}
		if !tracked {
			continue
		}
		for _, obj := range s.List(k, q.Namespace, nil) {
			if !quota.InScope(q, obj) {
				continue
			}
			quota.Add(used, quota.Usage(k, obj, now))
			if pod, ok := obj.(*corev1.Pod); ok {
				if holds, until := quota.Holds(pod, now); holds && !until.IsZero() && (next.IsZero() || until.Before(next)) {
					next = until
				}
			}
		}
	}
	return used, next
}
