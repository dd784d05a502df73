package scheduler

import (
	"container/heap"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	v1helper "k8s.io/component-helpers/scheduling/corev1"
)

// How long a pod that could not be placed waits at least before the next try, by upstream's defaults: doubled each time.
const (
	firstBackoff = time.Second
	lastBackoff  = 10 * time.Second
)

// waiting is a pod without a node.
type waiting struct {
	pod      *corev1.Pod
	name     types.NamespacedName
	since    time.Time // when it came
	tries    int       // attempts that failed
	notUntil time.Time // backoff
	parked   bool      // nothing has changed since the last attempt that could help
	index    int       // in the heap; -1 while not in it
}

// queue holds the pods without a node: those to try now in a heap by priority and age, the others in the map alone.
type queue struct {
	all    map[types.NamespacedName]*waiting
	active activeHeap
}

func newQueue() *queue { return &queue{all: map[types.NamespacedName]*waiting{}} }

// set adds or refreshes a pod. A changed spec or labels makes it eligible at once.
func (q *queue) set(pod *corev1.Pod, now time.Time) {
	name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	w := q.all[name]
	if w == nil || w.pod.UID != pod.UID {
		q.remove(name)
		w = &waiting{name: name, since: now, index: -1}
		q.all[name] = w
		w.pod = pod
		q.activate(w)
		return
	}
	changed := w.pod.Generation != pod.Generation
	w.pod = pod
	if changed {
		q.activate(w)
	} else if w.index >= 0 {
		heap.Fix(&q.active, w.index)
	}
}

func (q *queue) remove(name types.NamespacedName) {
	if w := q.all[name]; w != nil {
		if w.index >= 0 {
			heap.Remove(&q.active, w.index)
		}
		delete(q.all, name)
	}
}

func (q *queue) activate(w *waiting) {
	w.parked = false
	if w.index < 0 {
		heap.Push(&q.active, w)
	}
}

// pop takes the next pod to try, or nil, and how long until one in backoff is due (0: none is).
func (q *queue) pop(now time.Time) (*waiting, time.Duration) {
	var later []*waiting
	var next *waiting
	var due time.Duration
	for len(q.active) > 0 {
		w := heap.Pop(&q.active).(*waiting)
		if wait := w.notUntil.Sub(now); wait > 0 {
			later = append(later, w)
			if due == 0 || wait < due {
				due = wait
			}
			continue
		}
		next = w
		break
	}
	for _, w := range later {
		heap.Push(&q.active, w)
	}
	return next, due
}

// failed parks a pod until something changes.
func (q *queue) failed(w *waiting, now time.Time) {
	w.tries++
	w.notUntil = now.Add(min(firstBackoff<<min(w.tries-1, 8), lastBackoff))
	w.parked = true
}

// retry puts a pod back that failed for a reason that is not the cluster's state.
func (q *queue) retry(w *waiting, now time.Time) {
	q.failed(w, now)
	if q.all[w.name] == w {
		q.activate(w)
	}
}

// changed makes the parked pods eligible again, after their backoff.
func (q *queue) changed() {
	for _, w := range q.all {
		if w.parked {
			q.activate(w)
		}
	}
}

// activeHeap orders by priority, then by age.
type activeHeap []*waiting

func (h activeHeap) Len() int { return len(h) }
func (h activeHeap) Less(i, j int) bool {
	p, q := v1helper.PodPriority(h[i].pod), v1helper.PodPriority(h[j].pod)
	if p != q {
		return p > q
	}
	if !h[i].since.Equal(h[j].since) {
		return h[i].since.Before(h[j].since)
	}
	return h[i].name.String() < h[j].name.String()
}
func (h activeHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *activeHeap) Push(x any)   { w := x.(*waiting); w.index = len(*h); *h = append(*h, w) }
func (h *activeHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	*h, w.index = old[:len(old)-1], -1
	return w
}
