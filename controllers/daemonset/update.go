package daemonset

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/controllers"
)

// limits is how many pods there may be too many of, and too few of, during an update, out of so many.
func (r *round) limits(wanted int) (surge, unavailable int) {
	u := r.ds.Spec.UpdateStrategy
	if u.Type != appsv1.RollingUpdateDaemonSetStrategyType || u.RollingUpdate == nil {
		return 0, 0
	}
	scaled := func(v *intstr.IntOrString) int {
		if v == nil {
			return 0
		}
		n, err := intstr.GetScaledValueFromIntOrPercent(v, wanted, true)
		if err != nil {
			return 0 // validation does not let it through
		}
		return n
	}
	return scaled(u.RollingUpdate.MaxSurge), scaled(u.RollingUpdate.MaxUnavailable)
}

// update takes the rolling update as far as it may go now. There is nothing else to be done: manage has nothing left.
func (r *round) update() {
	wanted := 0
	for _, n := range r.order {
		if n.wanted {
			wanted++
		}
	}
	surge, unavailable := r.limits(wanted)
	if surge == 0 {
		r.replace(max(unavailable, 1))
	} else {
		r.surge(surge, wanted)
	}
}

// pair is the pod of the current template and that of another on a node; ok is false where there is more than one of either.
func (r *round) pair(n *site) (current, old *corev1.Pod, ok bool) {
	for _, pod := range n.living() {
		at := &old
		if r.upToDate(pod) {
			at = &current
		}
		if *at != nil {
			return nil, nil, false
		}
		*at = pod
	}
	return current, old, true
}

// replace deletes old pods, as many as may be missing; manage makes the new ones. Old ones that are not available count already.
func (r *round) replace(allowed int) {
	var candidates []*corev1.Pod
	missing := 0
	for _, n := range r.order {
		if !n.wanted && len(n.pods) == 0 {
			continue
		}
		current, old, ok := r.pair(n)
		switch {
		case !ok, (current == nil) == (old == nil):
			missing++ // manage sees to it
		case current != nil:
			if !r.available(current) {
				missing++
			}
		case !r.available(old):
			missing++
			r.deletes = append(r.deletes, old)
		default:
			candidates = append(candidates, old)
		}
	}
	r.deletes = append(r.deletes, candidates[:min(len(candidates), max(allowed-missing, 0))]...)
}

// surge makes new pods beside old ones, so many at a time, and deletes the old ones when those are available. Where no new pod will come, because the node does
// not want one any more, the old one goes when enough are available elsewhere.
func (r *round) surge(allowed, wanted int) {
	var candidates []*site
	var unwanted []*corev1.Pod
	available := 0
	for _, n := range r.order {
		if !n.wanted && len(n.pods) == 0 {
			continue
		}
		current, old, ok := r.pair(n)
		if !ok {
			allowed-- // manage sees to it
			continue
		}
		if p := old; p != nil && r.available(p) || p == nil && current != nil && r.available(current) {
			available++
		}
		switch {
		case old == nil: // manage sees to it
		case current != nil && r.available(current):
			r.deletes = append(r.deletes, old)
		case current != nil:
			allowed--
		case !r.available(old) && !n.wanted:
			r.deletes = append(r.deletes, old)
		case !r.available(old):
			r.creates = append(r.creates, n)
		case !n.wanted:
			unwanted = append(unwanted, old)
		default:
			candidates = append(candidates, n)
		}
	}
	r.deletes = append(r.deletes, unwanted[:min(len(unwanted), max(available-wanted, 0))]...)
	r.creates = append(r.creates, candidates[:min(len(candidates), max(allowed, 0))]...)
}

// report says in status what there is, once the round's writes have gone as out tells.
func (r *round) report(out controllers.Outcome) controllers.Plan {
	if controllers.Stale(out.Err) {
		return controllers.Plan{} // the next plan knows better
	}
	for _, obj := range out.Created {
		if pod, ok := obj.(*corev1.Pod); ok {
			if n := r.sites[nodeOf(pod)]; n != nil {
				n.pods = append(n.pods, pod)
			}
		}
	}
	return r.status()
}
