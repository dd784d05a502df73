package embedded

import (
	"context"
	"fmt"

	"github.com/tenet-run/tenet/store"
)

// planned is the newest state of a key that a commit on its way to disk will change; rec is nil when it will be deleted.
type planned struct {
	rec *store.Record
	by  *commit
	rev store.Revision
}

// change is one write of a commit, its revision assigned.
type change struct {
	event    store.Event
	volatile bool
	more     bool // the next change belongs to the same commit
}

func (c *change) key() store.Key {
	if c.event.Record != nil {
		return c.event.Record.Key
	}
	return c.event.Prev.Key
}

// commit is a Commit on its way.
type commit struct {
	changes []change
	bytes   int
	durable bool
	done    chan struct{} // closed when it is visible
}

// Commit implements [store.Store]. The store keeps what the writes refer to; the caller must not change it. The record of a deletion is the state that
// was deleted, with the revision of the deletion.
func (s *Store) Commit(ctx context.Context, writes ...store.Write) ([]*store.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	size, err := checkWrites(writes)
	if err != nil || len(writes) == 0 {
		return nil, err
	}
	c := &commit{changes: make([]change, len(writes)), bytes: size, done: make(chan struct{})}
	out := make([]*store.Record, len(writes))

	for {
		conflict, after, err := s.plant(c, writes, out)
		if err != nil {
			return nil, err
		}
		if conflict == nil {
			break
		}
		if after != nil {
			if err := s.await(ctx, after); err != nil {
				return nil, err
			}
			conflict.Current = s.lookup(conflict.Key)
			if holds(&writes[conflict.Index], conflict.Current) {
				continue // changed again
			}
		}
		return nil, conflict
	}
	s.kickCommitter()
	if err := s.await(ctx, c); err != nil {
		return nil, err
	}
	return out, nil
}

// checkWrites checks what needs no state, and returns the size of the commit.
func checkWrites(writes []store.Write) (int, error) {
	if len(writes) > store.MaxWrites {
		return 0, store.ErrTooLarge
	}
	size := 0
	for i := range writes {
		w := &writes[i]
		if w.Key.Prefix == "" || w.Key.Name == "" {
			return 0, fmt.Errorf("store: write %d: the key %q has no prefix or no name", i, w.Key)
		}
		size += len(w.Value) + len(w.Key.Prefix) + len(w.Key.Namespace) + len(w.Key.Name)
		for j := range i {
			if writes[j].Key == w.Key {
				return 0, fmt.Errorf("store: a commit writes %s twice", w.Key)
			}
		}
	}
	if size > store.MaxBytes {
		return 0, store.ErrTooLarge
	}
	return size, nil
}

// plant checks the preconditions, assigns revisions and queues the commit. When a precondition fails because of a commit that is still on its way, that
// is returned too: only when it is visible may the conflict be told.
func (s *Store) plant(c *commit, writes []store.Write, out []*store.Record) (conflict *store.ConflictError, after *commit, err error) {
	s.plan.Lock()
	defer s.plan.Unlock()
	if s.refuse != nil {
		return nil, nil, s.refuse
	}
	select {
	case <-s.failed:
		return nil, nil, s.failure
	default:
	}
	for i := range writes {
		w := &writes[i]
		var cur *store.Record
		p, onItsWay := s.pending[w.Key]
		if onItsWay {
			cur = p.rec
		} else {
			cur = s.lookup(w.Key)
		}
		if !holds(w, cur) {
			return &store.ConflictError{Index: i, Key: w.Key, Current: cur}, p.by, nil
		}
		c.changes[i].event.Prev = cur
	}
	for i := range writes {
		w, ch := &writes[i], &c.changes[i]
		rev, prev := s.next, ch.event.Prev
		s.next++
		rec := &store.Record{Key: w.Key, Header: w.Header, Value: w.Value, Revision: rev, Created: rev}
		ch.event.Revision = rev
		ch.more = i < len(writes)-1
		switch {
		case w.Delete:
			ch.event.Type = store.Deleted
			rec.Header, rec.Value, rec.Created = prev.Header, prev.Value, prev.Created
		case prev == nil:
			ch.event.Type = store.Created
			ch.event.Record = rec
		default:
			ch.event.Type = store.Modified
			ch.event.Record = rec
			rec.Created = prev.Created
			ch.volatile = w.Volatile
		}
		if !ch.volatile {
			c.durable = true
		}
		out[i] = rec
		s.pending[w.Key] = planned{ch.event.Record, c, rev}
	}
	s.queue = append(s.queue, c)
	return nil, nil, nil
}

// holds tells whether a write may be done to a state. What is to be deleted must be there.
func holds(w *store.Write, cur *store.Record) bool {
	switch {
	case w.Expect.Absent:
		return cur == nil && !w.Delete
	case cur == nil:
		return w.Expect.Revision == 0 && !w.Delete
	default:
		return w.Expect.Revision == 0 || w.Expect.Revision == cur.Revision
	}
}

// lookup returns the newest visible record, or nil.
func (s *Store) lookup(key store.Key) *store.Record {
	s.view.RLock()
	defer s.view.RUnlock()
	if t := s.tables[key.Prefix]; t != nil {
		return t.get(key.Namespace, key.Name)
	}
	return nil
}

// await waits until a commit is visible.
func (s *Store) await(ctx context.Context, c *commit) error {
	select {
	case <-c.done:
		return nil
	default:
	}
	select {
	case <-c.done:
		return nil
	case <-s.failed:
		return s.failure
	case <-ctx.Done():
		return fmt.Errorf("store: the outcome of the commit is unknown: %w", ctx.Err())
	}
}
