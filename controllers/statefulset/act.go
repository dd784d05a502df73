package statefulset

import (
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/history"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

func (st *step) ordered() bool {
	return st.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
}

func runningAndReady(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodRunning && controllers.PodReady(p) != nil
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}

func (st *step) available(p *corev1.Pod) bool {
	ok, _ := controllers.PodAvailable(p, st.set.Spec.MinReadySeconds, st.now)
	return ok
}

func (st *step) unavailable(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil || !st.available(p)
}

// act decides what is to be done now: first what is missing, then what is too many, and when all is well, what is out of date.
func (st *step) act() {
	wanted := make([]*corev1.Pod, replicas(st.set)) // nil: there is none
	var condemned []*corev1.Pod                     // highest ordinal first
	for _, pod := range st.pods {
		if n := ordinal(pod); inRange(st.set, n) {
			wanted[n-first(st.set)] = pod
		} else {
			condemned = append(condemned, pod)
		}
	}
	slices.Reverse(condemned)
	for i, pod := range wanted {
		if blocked := st.keep(first(st.set)+i, pod); blocked && st.ordered() {
			return
		}
	}
	if len(st.made) > 0 || st.err != nil {
		return
	}
	for _, pod := range condemned {
		claims := claimsOf(st.s, st.set, ordinal(pod), pod.UID)
		st.own(claims)
	}
	unhealthy := st.firstUnhealthy(wanted, condemned)
	for _, pod := range condemned {
		switch {
		case pod.DeletionTimestamp != nil:
			if st.ordered() {
				return
			}
		case st.ordered() && pod != unhealthy && (!runningAndReady(pod) || !st.available(pod)):
			return
		default:
			if st.dropped = append(st.dropped, pod); st.ordered() {
				return
			}
		}
	}
	if st.set.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType {
		st.roll(wanted)
	}
}

// firstUnhealthy is the pod of the lowest place that is not available, and that alone may be scaled away all the same.
func (st *step) firstUnhealthy(wanted, condemned []*corev1.Pod) *corev1.Pod {
	for _, pod := range wanted {
		if pod == nil || st.unavailable(pod) {
			return pod
		}
	}
	for _, pod := range slices.Backward(condemned) {
		if st.unavailable(pod) {
			return pod
		}
	}
	return nil
}

// keep has the pod of a wanted ordinal there and well. blocked: later ones have to wait for it when they are made in order.
func (st *step) keep(n int, pod *corev1.Pod) (blocked bool) {
	if pod == nil {
		st.make(n)
		return true
	}
	if ended(pod) {
		if pod.DeletionTimestamp == nil {
			st.dropped = append(st.dropped, pod) // a new one is made when it is gone
		}
		return true
	}
	claims := claimsOf(st.s, st.set, n, pod.UID)
	if pod.Status.Phase == corev1.PodPending && claims.going == "" {
		st.makeClaims(claims, pod.Name)
	}
	if st.ordered() && (pod.DeletionTimestamp != nil || !runningAndReady(pod) || !st.available(pod)) {
		return true
	}
	st.own(claims)
	if !identified(pod) {
		p := pod.DeepCopy()
		identify(p)
		st.updates = append(st.updates, controllers.Update{Kind: core.Pod, Object: p, Done: st.done("Update", pod.Name)})
	}
	if !mounts(st.set, pod) {
		st.warn("FailedUpdate", fmt.Sprintf("Update Pod %s in StatefulSet %s failed error: its volumes are not those of the volume claim templates, and a pod's volumes cannot be changed", pod.Name, st.set.Name))
	}
	return false
}

// make makes the pod of an ordinal, and its claims, if nothing is in the way.
func (st *step) make(n int) {
	name := podName(st.set, n)
	if other, taken := st.s.Get(core.Pod, st.set.Namespace, name); taken {
		st.warn("FailedCreate", fmt.Sprintf("Create Pod %s in StatefulSet %s failed error: pods %q already exists", name, st.set.Name, other.GetName()))
		return // its end brings the next plan
	}
	claims := claimsOf(st.s, st.set, n, "")
	switch {
	case claims.stale:
		return // so does that of the claim
	case claims.going != "":
		st.warn("FailedCreate", fmt.Sprintf("Create Pod %s in StatefulSet %s failed error: pvc %s is being deleted", name, st.set.Name, claims.going))
		return
	}
	revision, template := st.update.Name, &st.set.Spec.Template
	if st.isOld(n) && st.current.Name != st.update.Name {
		t, err := history.Template(st.current)
		if err != nil {
			st.err = err
			return
		}
		revision, template = st.current.Name, t
	}
	st.makeClaims(claims, name)
	st.own(claims)
	st.made = append(st.made, controllers.Create{
		Kind: core.Pod, Object: newPod(st.set, template, revision, n), Done: st.done("Create", name), Failed: st.failed("Create", name),
	})
}

// isOld reports whether a new pod of an ordinal is still made from the current revision, not the next one.
func (st *step) isOld(n int) bool {
	u := &st.set.Spec.UpdateStrategy
	switch {
	case u.RollingUpdate != nil && u.RollingUpdate.Partition != nil:
		return n < first(st.set)+int(*u.RollingUpdate.Partition)
	case u.Type == appsv1.RollingUpdateStatefulSetStrategyType:
		return n < first(st.set)+int(st.set.Status.CurrentReplicas)
	}
	return false
}

func (st *step) makeClaims(claims claimState, pod string) {
	for _, c := range claims.missing {
		about := func(kind, reason, text string) *controllers.Event {
			return &controllers.Event{Kind: apps.StatefulSet, About: st.set, Type: kind, Reason: reason, Message: text}
		}
		st.claims = append(st.claims, controllers.Create{
			Kind: core.PersistentVolumeClaim, Object: c,
			Done: about(corev1.EventTypeNormal, "SuccessfulCreate", fmt.Sprintf("Create Claim %s Pod %s in StatefulSet %s success", c.Name, pod, st.set.Name)),
			Failed: about(corev1.EventTypeWarning, "FailedCreate",
				fmt.Sprintf("Create Claim %s for Pod %s in StatefulSet %s failed error: ", c.Name, pod, st.set.Name)),
		})
	}
}

// own gives claims the owners that the retention policy wants.
func (st *step) own(claims claimState) {
	for _, c := range claims.astray {
		st.updates = append(st.updates, controllers.Update{Kind: core.PersistentVolumeClaim, Object: c})
	}
	for _, name := range claims.foreign {
		e := conflicting(st.set, name)
		st.warn(e.Reason, e.Message)
	}
}

// roll takes down what is of another revision than the next one, from the highest ordinal, as many as may be down at a time.
func (st *step) roll(wanted []*corev1.Pod) {
	lowest, atOnce := 0, 1
	bounded := false
	if r := st.set.Spec.UpdateStrategy.RollingUpdate; r != nil {
		if r.Partition != nil {
			lowest = int(*r.Partition)
		}
		if r.MaxUnavailable != nil {
			n, err := intstr.GetScaledValueFromIntOrPercent(r.MaxUnavailable, len(wanted), false)
			if err != nil {
				st.err = err
				return
			}
			atOnce, bounded = max(n, 1), true
		}
	}
	if bounded {
		for _, pod := range wanted {
			if pod == nil || st.unavailable(pod) {
				atOnce--
			}
		}
	}
	for i := len(wanted) - 1; i >= lowest && atOnce > 0; i-- {
		switch pod := wanted[i]; {
		case pod == nil:
			if !bounded {
				return
			}
		case revisionOf(pod) != st.update.Name && pod.DeletionTimestamp == nil:
			if !st.doomed(pod.UID) {
				st.dropped = append(st.dropped, pod)
			}
			atOnce--
		case !bounded && st.unavailable(pod):
			return // one at a time
		}
	}
}

func (st *step) remove(pod *corev1.Pod) controllers.Delete {
	d := controllers.DeleteOf(core.Pod, pod)
	d.Done, d.Failed = st.done("Delete", pod.Name), st.failed("Delete", pod.Name)
	return d
}

func (st *step) done(verb, pod string) *controllers.Event {
	return &controllers.Event{
		Kind: apps.StatefulSet, About: st.set, Type: corev1.EventTypeNormal, Reason: "Successful" + verb,
		Message: fmt.Sprintf("%s Pod %s in StatefulSet %s successful", verb, pod, st.set.Name),
	}
}

func (st *step) failed(verb, pod string) *controllers.Event {
	return &controllers.Event{
		Kind: apps.StatefulSet, About: st.set, Type: corev1.EventTypeWarning, Reason: "Failed" + verb,
		Message: fmt.Sprintf("%s Pod %s in StatefulSet %s failed error: ", verb, pod, st.set.Name),
	}
}

// warn says something that stands in the way once, for as long as it does.
func (st *step) warn(reason, message string) {
	if st.told[message] = true; !st.said[message] {
		st.events = append(st.events, controllers.Event{Kind: apps.StatefulSet, About: st.set, Type: corev1.EventTypeWarning, Reason: reason, Message: message})
	}
}

func errUnseen(r *appsv1.ControllerRevision) error {
	return errors.New("ControllerRevision " + r.Namespace + "/" + r.Name + " exists, but is not seen yet")
}

// doomed reports whether a pod is among those that the step deletes.
func (st *step) doomed(uid types.UID) bool {
	return slices.ContainsFunc(st.dropped, func(p *corev1.Pod) bool { return p.UID == uid })
}
