package daemonset

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/controllers"
)

const (
	firstBackoff = time.Second // before a pod that failed again is replaced again, doubled each time
	maxBackoff   = 15 * time.Minute
)

// failure is when a failed pod of a node was replaced last, and how long the next one that fails has to wait since then.
type failure struct {
	at         time.Time
	wait       time.Duration
	generation int64
}

// manage decides what has to come and go for the number of pods on each node to be right.
func (r *round) manage() {
	for node, f := range r.failed {
		if r.now.Sub(f.at) > 2*maxBackoff {
			delete(r.failed, node)
		}
	}
	for _, n := range r.order {
		switch {
		case n.node == nil:
			// The node is gone: pods that were never bound to it will be removed by nobody else.
			for _, pod := range n.living() {
				if pod.Spec.NodeName == "" {
					r.deletes = append(r.deletes, pod)
				}
			}
		case n.wanted && len(n.pods) == 0:
			r.creates = append(r.creates, n)
		case n.stays:
			r.tidy(n)
		default:
			r.deletes = append(r.deletes, n.living()...)
		}
	}
}

// tidy removes ended and surplus pods from a node, and makes one where all that are left are going and the update may surge.
func (r *round) tidy(n *site) {
	var running []*corev1.Pod
	for _, pod := range n.living() {
		switch pod.Status.Phase {
		case corev1.PodFailed:
			if r.mayReplace(n) {
				r.events = append(r.events, *r.about(corev1.EventTypeWarning, "FailedDaemonPod",
					fmt.Sprintf("Found failed daemon pod %s/%s on node %s, will try to kill it", pod.Namespace, pod.Name, n.name)))
				r.deletes = append(r.deletes, pod)
			}
		case corev1.PodSucceeded:
			r.events = append(r.events, *r.about(corev1.EventTypeNormal, "SucceededDaemonPod",
				fmt.Sprintf("Found succeeded daemon pod %s/%s on node %s, will try to delete it", pod.Namespace, pod.Name, n.name)))
			r.deletes = append(r.deletes, pod)
		default:
			running = append(running, pod)
		}
	}
	surge, _ := r.limits(1)
	switch {
	case surge == 0 && len(running) > 1:
		r.deletes = append(r.deletes, running[1:]...)
	case surge == 0, len(running) == 1:
	case len(running) == 0:
		if n.wanted {
			r.creates = append(r.creates, n)
		}
	default:
		r.settle(running)
	}
}

// settle leaves at most two pods on a node while an update surges: the oldest of the new template, and as long as that is not available, the oldest of another
// one if it is ready.
func (r *round) settle(running []*corev1.Pod) {
	var newest, old *corev1.Pod
	for _, pod := range running {
		switch current := r.upToDate(pod); {
		case current && newest == nil:
			newest = pod
		case !current && old == nil:
			old = pod
		default:
			r.deletes = append(r.deletes, pod)
		}
	}
	if newest != nil && old != nil && (controllers.PodReady(old) == nil || r.available(newest)) {
		r.deletes = append(r.deletes, old)
	}
}

// mayReplace bounds how fast a node's failing pods are replaced: a node agent that refuses a pod would otherwise be offered it without end.
func (r *round) mayReplace(n *site) bool {
	f, again := r.failed[n.name]
	again = again && f.generation == r.ds.Generation
	if left := f.at.Add(f.wait).Sub(r.now); again && left > 0 {
		r.wait(left)
		return false
	}
	next := failure{at: r.now, wait: firstBackoff, generation: r.ds.Generation}
	if again {
		next.wait = min(2*f.wait, maxBackoff)
	}
	r.failed[n.name] = next
	return true
}
