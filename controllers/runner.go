package controllers

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tenet-run/tenet/client"
)

const defaultWorkers = 5

// runner runs one controller.
type runner struct {
	Controller
	e        *engine
	log      *slog.Logger
	recorder client.Recorder
	queue    *client.Queue[Key]

	mu       sync.Mutex
	memory   map[Key]any
	unseen   map[Key][]sight
	awaiting map[Key]bool
}

func newRunner(e *engine, c Controller) *runner {
	if c.Workers == 0 {
		c.Workers = defaultWorkers
	}
	r := &runner{
		Controller: c, e: e, log: e.deps.Logger.With("controller", c.Name), recorder: e.deps.Recorder, queue: client.NewQueue[Key](client.Backoff{}),
		memory: map[Key]any{}, unseen: map[Key][]sight{}, awaiting: map[Key]bool{},
	}
	if e.deps.Recorders != nil {
		r.recorder = e.deps.Recorders(c.Component)
	}
	return r
}

// run hands keys to goroutines that live as long as the work on a key: an idle controller has one.
func (r *runner) run(ctx context.Context) {
	defer r.queue.Close()
	var work sync.WaitGroup
	defer work.Wait()
	slots := make(chan struct{}, r.Workers)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		key, err := r.queue.Get(ctx)
		if err != nil {
			return
		}
		work.Go(func() {
			defer func() { <-slots }()
			defer r.queue.Done(key)
			r.reconcile(ctx, key)
		})
	}
}

func (r *runner) reconcile(ctx context.Context, key Key) {
	if wait := r.lag(ctx, key); wait > 0 {
		r.queue.AddAfter(key, wait)
		return
	}
	after, err := r.planAndExecute(ctx, key)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		r.queue.Forget(key)
		if after > 0 {
			r.queue.AddAfter(key, after)
		}
	case errors.Is(err, errStale) || apierrors.IsConflict(err):
		r.log.Debug("planning anew after a conflict", "key", key.String(), "error", err)
		if r.queue.Retry(key); r.queue.Failures(key) == 1 {
			r.queue.Add(key)
		}
	default:
		wait := r.queue.Retry(key)
		r.log.Warn("carrying out a plan failed", "key", key.String(), "retry", wait, "error", err)
	}
}

func (r *runner) planAndExecute(ctx context.Context, key Key) (after time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
			r.log.Error("a plan panicked", "key", key.String(), "error", err, "stack", string(debug.Stack()))
		}
	}()
	r.mu.Lock()
	memory := r.memory[key]
	r.mu.Unlock()
	x := execution{r: r, key: key}
	x.run(ctx, r.Plan(Snapshot{Reader: r.e.deps.Cache, Memory: memory}, key, time.Now()))
	r.mu.Lock()
	defer r.mu.Unlock()
	keep(r.memory, key, x.remember, x.remember != nil)
	keep(r.awaiting, key, true, x.await)
	keep(r.unseen, key, x.unseen, len(x.unseen) > 0)
	return x.after, x.err
}

// keep sets or deletes what is known of a key.
func keep[V any](m map[Key]V, key Key, v V, has bool) {
	if has {
		m[key] = v
	} else {
		delete(m, key)
	}
}

func (r *runner) wakeAwaiting() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.awaiting {
		r.queue.Add(key)
	}
}

// pause waits, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
