package kubelet

import (
	"context"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/kubelet/images"
	"github.com/tenet-run/tenet/kubelet/plan"
	"github.com/tenet-run/tenet/kubelet/volumes"
)

// worker runs one pod: it observes, plans, starts actions and writes the status, one round after the other. Everything that happens pokes it.
type worker struct {
	k    *Kubelet
	uid  types.UID
	log  *slog.Logger
	wake chan struct{}
	// snapshot is the pod for those who must not wait for the lock.
	snapshot atomic.Pointer[corev1.Pod]

	mu     sync.Mutex // guards what follows
	pod    *corev1.Pod
	gone   bool
	stale  bool // the runtime must be asked again
	behind bool // an operation has ended since the runtime was last asked
	orphan bool // made from what the runtime has, not from the API

	stop    *plan.Stop
	since   time.Time
	mounted bool
	refresh bool // API data of volumes is to be brought up to date
	cleaned int  // 1: volumes and cgroup, 2: sandboxes and logs too
	images  map[string]images.Image
	busy    map[string]*operation
	failed  map[string]plan.Failure
	fails   map[string]int // failures in a row, for backoff
	backoff map[string]plan.Backoff
	hooks   map[string]bool // containers whose postStart hook runs
	stopped map[string]bool // containers whose preStop hook has run
	looping map[string]time.Duration
	exits   map[string][]chan struct{} // closed when a container has ended
	last    *corev1.PodStatus

	want       *corev1.PodStatus // to be written
	wrote      *corev1.PodStatus // was written ...
	wroteAs    *corev1.PodStatus // ... and this is what the API kept
	writing    bool
	retryWrite time.Time
	writeFails int

	// Only the worker's own goroutine touches these.
	sandboxes  []plan.Sandbox
	containers []plan.Container
	ended      map[string]plan.Container // exited containers never change
	boxes      map[string]plan.Sandbox   // what is known of sandboxes, by ID
	probed     map[string]bool
	set        *volumes.Set
}

type operation struct {
	plan.Busy
	cancel context.CancelFunc
}

func (k *Kubelet) newWorker(pod *corev1.Pod) *worker {
	w := &worker{
		k: k, uid: pod.UID, pod: pod, stale: true, wake: make(chan struct{}, 1),
		log:    k.log.With("pod", pod.Namespace+"/"+pod.Name, "uid", pod.UID),
		images: map[string]images.Image{}, busy: map[string]*operation{}, failed: map[string]plan.Failure{}, fails: map[string]int{},
		backoff: map[string]plan.Backoff{}, hooks: map[string]bool{}, stopped: map[string]bool{}, looping: map[string]time.Duration{}, exits: map[string][]chan struct{}{},
		ended: map[string]plan.Container{}, boxes: map[string]plan.Sandbox{}, probed: map[string]bool{},
		set: volumes.New(k.podDir(pod.UID), &k.sources, time.Now),
	}
	w.snapshot.Store(pod)
	return w
}

// poke makes the worker look again; stale makes it ask the runtime, too.
func (w *worker) poke(stale bool) {
	if stale {
		w.mu.Lock()
		w.stale = true
		w.mu.Unlock()
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// update hands a newer state of the pod to the worker; nil: the API has it no more.
func (w *worker) update(pod *corev1.Pod) {
	w.mu.Lock()
	if pod == nil {
		w.gone = true
	} else if !older(pod, w.pod) {
		old := w.pod
		w.pod = pod
		w.snapshot.Store(pod)
		if !maps.Equal(old.Labels, pod.Labels) || !maps.Equal(old.Annotations, pod.Annotations) {
			w.refresh = true
		}
		if pod.DeletionTimestamp != nil && w.cleaned == 1 {
			w.stale = true
		}
	}
	w.mu.Unlock()
	w.poke(false)
}

// older reports that a is a state before b: the answer to a write may overtake the watch.
func older(a, b *corev1.Pod) bool {
	x, err1 := strconv.ParseUint(a.ResourceVersion, 10, 64)
	y, err2 := strconv.ParseUint(b.ResourceVersion, 10, 64)
	return err1 == nil && err2 == nil && x < y
}

// current is the newest state of the pod.
func (w *worker) current() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

// run is the worker's life. It ends with ctx, leaving the pod as it is, or when the pod is gone from node and API.
func (w *worker) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next, done := w.round(ctx)
		if done || ctx.Err() != nil {
			return
		}
		timer.Reset(max(time.Until(next), 0))
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// round observes, plans and acts once. It returns when to look again at the latest, and whether the worker's work is done.
func (w *worker) round(ctx context.Context) (next time.Time, done bool) {
	next = time.Now().Add(time.Hour)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	for {
		if err := w.observe(ctx); err != nil {
			if ctx.Err() == nil {
				w.log.Warn("The runtime could not be asked about a pod", "err", err)
			}
			return time.Now().Add(time.Second), false
		}
		w.probe()
		w.mu.Lock()
		if !w.behind {
			break
		}
		w.mu.Unlock() // an operation ended while the runtime was asked: what it did may be missing
	}
	s := w.state()
	if !s.Terminating() && w.stop == nil && len(w.containers) == 0 && len(w.sandboxes) == 0 && s.Pod.Status.StartTime == nil && w.last == nil {
		if stop := w.k.admit(w.pod); stop != nil {
			w.stop, s.Stop = stop, stop
			w.k.event(w.pod, corev1.EventTypeWarning, stop.Reason, stop.Message)
		}
	}
	if s.Terminating() && w.since.IsZero() {
		w.since, s.TerminatingSince = s.Now, s.Now
		for key, op := range w.busy {
			if len(key) > len(plan.EnsureImage) && key[:len(plan.EnsureImage)] == string(plan.EnsureImage) || key == string(plan.MountVolumes) {
				op.cancel()
			}
		}
	}
	p := plan.Next(&s)
	if p.Stop != nil {
		w.stop, s.Stop, w.since = p.Stop, p.Stop, s.Now
		s.TerminatingSince = s.Now
		w.k.event(w.pod, corev1.EventTypeNormal, p.Stop.Reason, p.Stop.Message)
	}
	w.tellCrashLoops(&s)
	status := plan.Status(&s)
	w.last = &status
	if !w.gone && !w.orphan {
		w.wantStatus(ctx, &status)
		earlier(w.retryWrite)
	}
	for _, a := range p.Actions {
		if a.Do == plan.DeletePod && (w.writing || w.dirty() && w.writeFails < 3) {
			continue // the last status first
		}
		w.begin(ctx, a)
	}
	if w.mounted && !s.Terminating() {
		if w.refresh || !w.set.NextRefresh().IsZero() && !s.Now.Before(w.set.NextRefresh()) {
			w.beginRefresh(ctx)
		}
		earlier(w.set.NextRefresh())
		earlier(w.failed["refresh"].Retry)
	}
	earlier(p.Wake)
	// The phase just made may have ended the pod: then the next round is due now.
	after := s
	after.Last = &status
	if !s.Terminating() && after.Terminating() {
		earlier(s.Now)
	}
	w.mu.Unlock()
	if p.Done {
		w.k.forget(w)
		return next, true
	}
	return next, false
}

// state is what the plan may know. w.mu is held.
func (w *worker) state() plan.State {
	s := plan.State{
		Pod: w.pod, Now: time.Now(), Gone: w.gone, Stop: w.stop, TerminatingSince: w.since,
		Sandboxes: w.sandboxes, Containers: w.containers, Volumes: w.mounted,
		Images: make(map[string]plan.Image, len(w.images)), Busy: make(map[string]plan.Busy, len(w.busy)), Failed: maps.Clone(w.failed),
		Probes: map[string]plan.Probes{}, Backoff: maps.Clone(w.backoff), Last: w.last, HostIPs: w.k.cfg.NodeIPs, NoNetwork: w.k.cfg.Hollow,
	}
	need := 1
	if w.gone || w.pod.DeletionTimestamp != nil {
		need = 2
	}
	s.CleanedUp = w.cleaned >= need
	for n, i := range w.images {
		s.Images[n] = plan.Image{Ref: i.Ref}
	}
	for key, op := range w.busy {
		if key != "refresh" {
			s.Busy[key] = op.Busy
		}
	}
	for i := range w.containers {
		c := &w.containers[i]
		if c.Phase != plan.Running {
			continue
		}
		if r, ok := w.k.prober.Get(c.ID); ok {
			s.Probes[c.ID] = plan.Probes{Started: r.Started && !w.hooks[c.ID], Ready: r.Ready, Unhealthy: r.Unhealthy}
		}
	}
	return s
}

// tellCrashLoops makes one BackOff event each time a container begins to wait.
func (w *worker) tellCrashLoops(s *plan.State) {
	now := plan.InCrashLoop(s)
	for name, delay := range now {
		if w.looping[name] != delay || w.looping[name] == 0 {
			if c := findContainer(w.pod, name); c != nil {
				w.k.containerEvent(w.pod, c, corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container "+name+" in pod "+plan.FullName(w.pod))
			}
		}
	}
	w.looping = now
}

// begin runs an action in a goroutine of its own. w.mu is held.
func (w *worker) begin(ctx context.Context, a plan.Action) {
	key := a.Key()
	if old := w.busy[key]; old != nil { // a kill that must be quicker than the one under way
		old.cancel()
	}
	ctx, cancel := context.WithCancel(ctx)
	op := &operation{Busy: plan.Busy{Grace: a.Grace, Since: time.Now()}, cancel: cancel}
	w.busy[key] = op
	pod := w.pod
	go func() {
		defer cancel()
		failure := w.do(ctx, a, pod)
		w.mu.Lock()
		if w.busy[key] == op {
			delete(w.busy, key)
			switch {
			case failure == nil:
				delete(w.failed, key)
				delete(w.fails, key)
			case ctx.Err() == nil:
				w.fails[key]++
				w.failed[key] = *failure
			}
		}
		w.stale, w.behind = true, true
		w.mu.Unlock()
		w.poke(false)
	}()
}

// again is when an operation that keeps failing is tried again: after first, doubled each time, at most limit.
func (w *worker) again(key string, first, limit time.Duration) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := first
	for range w.fails[key] {
		if d *= 2; d >= limit {
			d = limit
			break
		}
	}
	return time.Now().Add(d)
}

func (w *worker) beginRefresh(ctx context.Context) {
	const key = "refresh"
	if f, ok := w.failed[key]; w.busy[key] != nil || ok && time.Now().Before(f.Retry) {
		return
	}
	w.refresh = false
	pod := w.pod
	w.busy[key] = &operation{cancel: func() {}}
	go func() {
		err := w.set.Refresh(ctx, pod, w.k.facts(nil))
		w.mu.Lock()
		delete(w.busy, key)
		delete(w.failed, key)
		if err != nil && ctx.Err() == nil {
			w.refresh = true
			w.failed[key] = plan.Failure{Retry: time.Now().Add(30 * time.Second)}
			w.log.Warn("Volumes could not be brought up to date", "err", err)
		}
		w.mu.Unlock()
		w.poke(false)
	}()
}

// dataChanged tells the worker that a config map or secret it refers to is new.
func (w *worker) dataChanged() {
	w.mu.Lock()
	w.refresh = true
	delete(w.failed, "refresh")
	for _, do := range []plan.Do{plan.MountVolumes} {
		delete(w.failed, string(do))
	}
	for key, f := range w.failed {
		if f.Reason == "CreateContainerConfigError" {
			f.Retry = time.Time{}
			w.failed[key] = f
		}
	}
	w.mu.Unlock()
	w.poke(false)
}

// dirty reports that the API does not have the wanted status yet. w.mu is held.
func (w *worker) dirty() bool {
	same := equality.Semantic.DeepEqual
	if w.want == nil || same(w.pod.Status, *w.want) {
		return false
	}
	// What the API made of this very status is good enough: it may drop fields that it does not know.
	return w.wrote == nil || !same(w.wrote, w.want) || !same(&w.pod.Status, w.wroteAs)
}

func findContainer(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if e := &pod.Spec.EphemeralContainers[i]; e.Name == name {
			c := corev1.Container(e.EphemeralContainerCommon)
			return &c
		}
	}
	return nil
}
