package embedded

import (
	"context"
	"sync"

	"github.com/tenet-run/tenet/store"
)

// waiters are those who wait for a revision.
type waiters struct {
	mu  sync.Mutex
	all map[chan struct{}]store.Revision
}

// Wait implements [store.Store].
func (s *Store) Wait(ctx context.Context, at store.Revision) error {
	if s.Revision() >= at {
		return nil
	}
	ch := make(chan struct{})
	s.waiting.mu.Lock()
	if s.waiting.all == nil {
		s.waiting.all = map[chan struct{}]store.Revision{}
	}
	s.waiting.all[ch] = at
	s.waiting.mu.Unlock()
	defer func() {
		s.waiting.mu.Lock()
		delete(s.waiting.all, ch)
		s.waiting.mu.Unlock()
	}()
	if s.Revision() >= at { // reached before we were registered
		return nil
	}
	select {
	case <-ch:
	case <-s.committed:
	case <-s.failed:
	case <-ctx.Done():
	}
	if s.Revision() < at {
		return store.ErrFuture
	}
	return nil
}

// wake wakes those whose revision has been reached.
func (w *waiters) wake(rev store.Revision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch, at := range w.all {
		if at <= rev {
			close(ch)
			delete(w.all, ch)
		}
	}
}
