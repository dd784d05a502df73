// Package probes runs startup, readiness and liveness probes.
//
// A [Prober] has one timer for all probes of the node: a goroutine exists only while a probe is being tried. Results that change are told by a callback;
// failures and warnings become events by another.
//
// While a container waits for its first success, http, tcp and grpc probes are tried a few more times within the first period, shortly after it started
// (or its initial delay is over), so that it becomes ready as soon as it is. Failures of these extra tries count for nothing.
package probes

import (
	"container/heap"
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Kind of probe.
type Kind string

const (
	Startup   Kind = "Startup"
	Readiness Kind = "Readiness"
	Liveness  Kind = "Liveness"
)

// Target is a running container.
type Target struct {
	ID        string
	Name      string
	Container *corev1.Container
	Host      string // address of the pod
	StartedAt time.Time
	// Owner is handed back in callbacks.
	Owner any
}

// Result is what the probes of a container say.
type Result struct {
	Started   bool   // startup succeeded, or there is no startup probe
	Ready     bool   // readiness holds, or there is no readiness probe
	Unhealthy string // "startup" or "liveness" when it must be restarted
}

// Prober runs the probes of containers. Make one with New and run it.
type Prober struct {
	handlers *Handlers
	changed  func(t *Target, r Result)
	event    func(t *Target, reason, message string)

	mu      sync.Mutex
	targets map[string]*target
	queue   queue
	wake    chan struct{}
}

type target struct {
	Target
	result Result
	probes []*probe
	gone   bool
}

type probe struct {
	kind   Kind
	spec   *corev1.Probe
	of     *target
	due    time.Time
	index  int // in the queue, -1: not queued
	good   int32
	bad    int32
	quick  int // extra tries made
	begun  time.Time
	ever   bool // has succeeded once
	halted bool // until the container is restarted
}

// New makes a prober. changed is called after each change of a result, event for each failure or warning; both outside of locks.
func New(h *Handlers, changed func(*Target, Result), event func(t *Target, reason, message string)) *Prober {
	return &Prober{handlers: h, changed: changed, event: event, targets: map[string]*target{}, wake: make(chan struct{}, 1)}
}

// Initial is the result before any probe: what has no probe holds. wasReady keeps an adopted container ready until a probe says otherwise.
func Initial(c *corev1.Container, wasStarted, wasReady bool) Result {
	started := c.StartupProbe == nil || wasStarted
	return Result{Started: started, Ready: started && (c.ReadinessProbe == nil || wasReady)}
}

// Add begins to probe a container; adding it again changes nothing.
func (p *Prober) Add(t Target, initial Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.targets[t.ID]; ok {
		return
	}
	tt := &target{Target: t, result: initial}
	p.targets[t.ID] = tt
	for _, x := range []struct {
		kind Kind
		spec *corev1.Probe
	}{{Startup, t.Container.StartupProbe}, {Readiness, t.Container.ReadinessProbe}, {Liveness, t.Container.LivenessProbe}} {
		if x.spec == nil || x.kind == Startup && initial.Started {
			continue
		}
		pr := &probe{kind: x.kind, spec: x.spec, of: tt, index: -1}
		pr.ever = x.kind == Readiness && initial.Ready
		tt.probes = append(tt.probes, pr)
		if x.kind == Startup || initial.Started {
			p.begin(pr, time.Now())
		}
	}
}

// begin schedules the first try of a probe.
func (p *Prober) begin(pr *probe, now time.Time) {
	at := pr.of.StartedAt.Add(time.Duration(pr.spec.InitialDelaySeconds) * time.Second)
	if at.Before(now) {
		at = now
	}
	pr.begun = at
	p.schedule(pr, at)
}

func (p *Prober) schedule(pr *probe, at time.Time) {
	pr.due = at
	if pr.index < 0 {
		heap.Push(&p.queue, pr)
	} else {
		heap.Fix(&p.queue, pr.index)
	}
	if pr.index == 0 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// Remove ends the probing of a container.
func (p *Prober) Remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.targets[id]
	if !ok {
		return
	}
	delete(p.targets, id)
	t.gone = true
	for _, pr := range t.probes {
		if pr.index >= 0 {
			heap.Remove(&p.queue, pr.index)
		}
	}
}

// StopLiveness ends startup and liveness probes of a container that is being terminated; readiness goes on.
func (p *Prober) StopLiveness(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.targets[id]; t != nil {
		for _, pr := range t.probes {
			if pr.kind != Readiness {
				pr.halted = true
				if pr.index >= 0 {
					heap.Remove(&p.queue, pr.index)
				}
			}
		}
	}
}

// Get returns the result of a container, if it is probed.
func (p *Prober) Get(id string) (Result, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.targets[id]
	if !ok {
		return Result{}, false
	}
	return t.result, true
}

// Run tries probes when they are due, until ctx ends.
func (p *Prober) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		p.mu.Lock()
		now := time.Now()
		wait := time.Hour
		for len(p.queue) > 0 {
			pr := p.queue[0]
			if wait = pr.due.Sub(now); wait > 0 {
				break
			}
			heap.Pop(&p.queue)
			go p.try(ctx, pr)
			wait = time.Hour
		}
		p.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// retries of a try that itself went wrong.
const retries = 3

func (p *Prober) try(ctx context.Context, pr *probe) {
	t := &pr.of.Target
	var out Outcome
	var text string
	for range retries {
		if out, text = p.handlers.Try(ctx, pr.spec, t); out != Errored || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	if pr.of.gone || pr.halted {
		p.mu.Unlock()
		return
	}
	now := time.Now()
	before := pr.of.result
	quick := false
	switch out {
	case Success, Warning:
		pr.good++
		pr.bad = 0
		if pr.good >= max(pr.spec.SuccessThreshold, 1) {
			pr.ever = true
			p.succeeded(pr, now)
		}
	case Failure:
		if quick = p.extra(pr, now); !quick {
			pr.bad++
			pr.good = 0
			if pr.bad >= max(pr.spec.FailureThreshold, 1) {
				p.failed(pr)
			}
		}
	}
	if !pr.halted && !quick {
		period := time.Duration(max(pr.spec.PeriodSeconds, 1)) * time.Second
		next := now.Add(period)
		if pr.quick > 0 && now.Sub(pr.begun) < period { // after the extra tries, on the beat of the first
			if beat := pr.begun.Add(period); beat.After(now) && !pr.ever {
				next = beat
			}
		}
		p.schedule(pr, next)
	}
	after := pr.of.result
	p.mu.Unlock()

	switch {
	case out == Warning:
		p.event(t, "ProbeWarning", string(pr.kind)+" probe warning: "+text)
	case out == Failure && !quick:
		p.event(t, "Unhealthy", string(pr.kind)+" probe failed: "+text)
	case out == Errored:
		p.event(t, "Unhealthy", string(pr.kind)+" probe errored and resulted in unknown state: "+text)
	}
	if before != after {
		p.changed(t, after)
	}
}

// extra schedules one more quick try after a failure before the first success. It reports whether it did.
func (p *Prober) extra(pr *probe, now time.Time) bool {
	if pr.kind == Liveness || pr.ever || pr.spec.Exec != nil || pr.quick >= 5 {
		return false
	}
	at := now.Add(100 * time.Millisecond << pr.quick)
	if at.After(pr.begun.Add(time.Duration(max(pr.spec.PeriodSeconds, 1)) * time.Second)) {
		return false
	}
	pr.quick++
	p.schedule(pr, at)
	return true
}

func (p *Prober) succeeded(pr *probe, now time.Time) {
	t := pr.of
	switch pr.kind {
	case Startup:
		t.result.Started = true
		pr.halted = true
		if t.Container.ReadinessProbe == nil {
			t.result.Ready = true
		}
		for _, other := range t.probes {
			if other != pr && other.index < 0 && !other.halted {
				p.begin(other, now)
			}
		}
	case Readiness:
		t.result.Ready = true
	case Liveness:
	}
}

func (p *Prober) failed(pr *probe) {
	t := pr.of
	switch pr.kind {
	case Startup:
		t.result.Unhealthy, pr.halted = "startup", true
	case Readiness:
		t.result.Ready = false
	case Liveness:
		t.result.Unhealthy, pr.halted = "liveness", true
	}
}

// queue is a heap of probes by due time.
type queue []*probe

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *queue) Push(x any) {
	pr := x.(*probe)
	pr.index = len(*q)
	*q = append(*q, pr)
}
func (q *queue) Pop() any {
	old := *q
	pr := old[len(old)-1]
	*q = old[:len(old)-1]
	pr.index = -1
	return pr
}
