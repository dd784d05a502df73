package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
)

// Deps is what the engine works with.
type Deps struct {
	Client client.Client
	Cache  client.Cache
	// Recorder takes all events, unless Recorders makes one for each component ("deployment-controller"). Both may be nil: no events.
	Recorder  client.Recorder
	Recorders func(component string) client.Recorder
	Logger    *slog.Logger
}

// Run runs controllers until ctx ends, and returns when all their work has stopped. It fails at once when they cannot run together, and returns nil otherwise.
func Run(ctx context.Context, deps Deps, list ...Controller) error {
	if err := Check(list...); err != nil {
		return err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	e := &engine{deps: deps, feeds: map[*kinds.Kind]*feed{}}
	for _, c := range list {
		e.runners = append(e.runners, newRunner(e, c))
	}
	for _, f := range e.refresh(ctx) {
		select {
		case <-f.synced:
		case <-ctx.Done():
		}
	}
	var work sync.WaitGroup
	for _, set := range e.sets() {
		work.Go(func() { e.followSet(ctx, set) })
	}
	for _, r := range e.runners {
		work.Go(func() { r.run(ctx) })
	}
	work.Wait()
	e.following.Wait()
	return nil
}

type engine struct {
	deps    Deps
	runners []*runner

	mu        sync.Mutex
	feeds     map[*kinds.Kind]*feed
	following sync.WaitGroup
}

// feed is the one Follow of a kind, for all controllers that read it.
type feed struct {
	kind   *kinds.Kind
	subs   []subscription
	synced chan struct{}
	stop   context.CancelFunc
}

type subscription struct {
	r  *runner
	in *Input
}

// refresh starts a feed for every kind that is followed and has none, ends those of kinds that are gone, and returns what it started.
func (e *engine) refresh(ctx context.Context) []*feed {
	want := map[*kinds.Kind][]subscription{}
	var order []*kinds.Kind
	for _, r := range e.runners {
		for i := range r.Inputs {
			in := &r.Inputs[i]
			if in.Keys == nil {
				continue
			}
			list := []*kinds.Kind{in.Kind}
			if in.Kinds != nil {
				list = in.Kinds.Stored()
			}
			for _, k := range list {
				if slices.Contains(in.Except, k) {
					continue
				}
				if want[k] == nil {
					order = append(order, k)
				}
				want[k] = append(want[k], subscription{r, in})
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, f := range e.feeds {
		if want[k] == nil {
			f.stop()
			delete(e.feeds, k)
		}
	}
	var started []*feed
	for _, k := range order {
		if e.feeds[k] != nil {
			continue
		}
		f := &feed{kind: k, subs: want[k], synced: make(chan struct{})}
		followCtx, stop := context.WithCancel(ctx)
		f.stop = stop
		e.feeds[k] = f
		started = append(started, f)
		e.following.Go(func() { e.follow(followCtx, f) })
	}
	return started
}

func (e *engine) follow(ctx context.Context, f *feed) {
	defer f.stop()
	var once sync.Once
	synced := func() { once.Do(func() { close(f.synced) }) }
	defer synced()
	for failures := 1; ctx.Err() == nil; failures++ {
		err := e.deps.Cache.Follow(ctx, f.kind, "", client.FollowOptions{}, f.handle, synced)
		if ctx.Err() != nil {
			return
		}
		e.deps.Logger.Warn("following a kind failed; starting again", "kind", f.kind.Kind, "error", err)
		pause(ctx, client.DefaultBackoff.After(failures))
	}
}

// handle queues the keys that a change names.
func (f *feed) handle(c client.Change) {
	for _, s := range f.subs {
		for _, key := range s.keys(f.kind, c) {
			s.r.queue.AddAfter(key, s.in.Delay)
		}
	}
}

func (s subscription) keys(k *kinds.Kind, c client.Change) (keys []Key) {
	defer func() {
		if p := recover(); p != nil {
			s.r.log.Error("naming the keys of a change panicked", "kind", k.Kind, "object", KeyOf(c.Object()).String(), "error", panicked(p))
		}
	}()
	return s.in.Keys(s.r.e.deps.Cache, k, c)
}

// follows reports whether changes of a kind reach the engine, so that its cache can be expected to show them.
func (e *engine) follows(k *kinds.Kind) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.feeds[k] != nil
}

// sets are the distinct sets of kinds among the inputs.
func (e *engine) sets() []*kinds.Set {
	var sets []*kinds.Set
	for _, r := range e.runners {
		for _, in := range r.Inputs {
			if in.Kinds != nil && !slices.Contains(sets, in.Kinds) {
				sets = append(sets, in.Kinds)
			}
		}
	}
	return sets
}

// followSet adapts the feeds to a set of kinds, and wakes the keys that waited for a kind.
func (e *engine) followSet(ctx context.Context, set *kinds.Set) {
	changed := set.Changes()
	e.refresh(ctx) // for a change between the start and now
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		changed = set.Changes()
		e.refresh(ctx)
		for _, r := range e.runners {
			r.wakeAwaiting()
		}
	}
}

func panicked(p any) error {
	if err, ok := p.(error); ok {
		return fmt.Errorf("panic: %w", err)
	}
	return fmt.Errorf("panic: %v", p)
}

// errStale says that a plan was made from a state that is no longer there.
var errStale = errors.New("the state has changed since the plan was made")
