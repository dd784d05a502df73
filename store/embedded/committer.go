package embedded

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tenet-run/tenet/store"
)

const (
	// groupBytes bounds a group, so that it stays well below half a memtable (Pebble treats larger batches apart).
	groupBytes = 1 << 20
	// reserveAhead is how many revisions are reserved at once for volatile writes. A crash skips at most so many.
	reserveAhead = 10_000
)

// committer is the part of Store that only the committer goroutine touches.
type committer struct {
	// unsaved are the changes since the newest durable one: all volatile.
	unsaved []change
	// reserved is the highest revision that may be handed out before anything is durable; 0: none.
	reserved store.Revision
	window   windowLog
	buf      []byte
	// dirty says that there is something unsaved, for others to see.
	dirty atomic.Bool
}

func (s *Store) kickCommitter() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// ask runs f on the committer's goroutine, between two groups, and waits for it.
func (s *Store) ask(f func() error) error {
	done := make(chan error, 1)
	s.plan.Lock()
	if s.refuse != nil {
		s.plan.Unlock()
		return s.refuse
	}
	s.tasks = append(s.tasks, func() { done <- f() })
	s.plan.Unlock()
	s.kickCommitter()
	select {
	case err := <-done:
		return err
	case <-s.failed:
		return s.failure
	}
}

func (s *Store) runCommitter() {
	defer close(s.committed)
	for range s.kick {
		for {
			group, tasks, last := s.takeGroup()
			for _, f := range tasks {
				f()
			}
			if len(group) > 0 {
				if err := s.commitGroup(group); err != nil {
					s.fail(err)
					return
				}
				continue
			}
			if last {
				if err := s.save(nil, true); err != nil {
					s.fail(err)
				}
				return
			}
			break
		}
	}
}

// takeGroup takes commits from the queue. last: nothing is left, and nothing will come.
func (s *Store) takeGroup() (group []*commit, tasks []func(), last bool) {
	s.plan.Lock()
	defer s.plan.Unlock()
	n, size := 0, 0
	for n < len(s.queue) && (n == 0 || size+s.queue[n].bytes <= groupBytes) {
		size += s.queue[n].bytes
		n++
	}
	group = s.queue[:n:n]
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	tasks, s.tasks = s.tasks, nil
	return group, tasks, n == 0 && len(tasks) == 0 && s.refuse != nil
}

// commitGroup makes commits durable, then visible, then wakes their callers.
func (s *Store) commitGroup(group []*commit) error {
	var n int
	durable := false
	for _, c := range group {
		n += len(c.changes)
		durable = durable || c.durable
	}
	changes := make([]change, 0, n)
	for _, c := range group {
		changes = append(changes, c.changes...)
	}
	if last := changes[n-1].event.Revision; durable || last > s.reserved {
		if err := s.save(changes, false); err != nil {
			return err
		}
	} else {
		s.unsaved = append(s.unsaved, changes...)
		s.dirty.Store(true)
		s.clock.arm(dutyFlush, time.Now().Add(s.opts.VolatileInterval))
	}
	s.publish(changes)

	s.plan.Lock()
	for i := range changes {
		key := changes[i].key()
		if s.pending[key].rev == changes[i].event.Revision {
			delete(s.pending, key)
		}
	}
	s.plan.Unlock()
	for _, c := range group {
		close(c.done)
	}
	s.waiting.wake(changes[n-1].event.Revision)
	return nil
}

// saveOrFail is save for a task.
func (s *Store) saveOrFail(changes []change, closing bool) error {
	err := s.save(changes, closing)
	if err != nil {
		s.fail(err)
	}
	return err
}

// save writes changes, and all unsaved ones before them, with one fsync. closing: no volatile write will follow, so that nothing stays reserved.
func (s *Store) save(changes []change, closing bool) (err error) {
	if len(s.unsaved) > 0 {
		changes = append(s.unsaved, changes...)
	}
	if len(changes) == 0 && !(closing && s.reserved != 0) {
		return nil
	}
	superseded, volatile := supersededBefore(changes)
	batch := s.db.NewBatch()
	defer batch.Close()
	now := time.Now().Unix()
	base := map[store.Key]store.Revision{} // what is on disk of the keys whose volatile writes are left out
	for i := range changes {
		ch := &changes[i]
		e := entry{deleted: ch.event.Type == store.Deleted, more: ch.more, time: now}
		if ch.event.Prev != nil {
			e.prev = ch.event.Prev.Revision
		}
		if volatile {
			key := ch.key()
			onDisk, skipped := base[key]
			if superseded[i] {
				if !skipped {
					base[key] = e.prev
				}
				continue
			}
			if skipped {
				e.prev = onDisk
				delete(base, key)
			}
		}
		if ch.event.Record != nil {
			e.created = ch.event.Record.Created
		}
		s.buf = appendEntry(s.buf[:0], &e, ch.key(), ch.event.Record)
		if err := batch.Set(logKey(ch.event.Revision), s.buf, nil); err != nil {
			return err
		}
		s.window.push(windowEntry{rev: ch.event.Revision, prev: e.prev, deleted: e.deleted, size: int32(len(s.buf)), time: now})
	}
	switch {
	case closing && s.reserved != 0:
		s.reserved = 0
		err = batch.Delete(keyReserved, nil)
	case volatile && changes[len(changes)-1].event.Revision+reserveAhead/2 > s.reserved:
		s.reserved = changes[len(changes)-1].event.Revision + reserveAhead
		err = batch.Set(keyReserved, revisionValue(s.reserved), nil)
	}
	if err != nil {
		return err
	}
	if err := s.trimWindow(batch, time.Unix(now, 0), 2*len(changes)+64); err != nil {
		return err
	}
	if err := apply(s.db, batch, pebble.Sync); err != nil {
		return err
	}
	s.unsaved = nil
	s.dirty.Store(false)
	if cap(s.buf) > 64<<10 {
		s.buf = nil
	}
	return nil
}

// apply turns Pebble's panics into errors. A failed write never gets so far, see fencedFS.
func apply(db *pebble.DB, batch *pebble.Batch, o *pebble.WriteOptions) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("writing the log: %v", r)
			if e, ok := r.(error); ok {
				err = fmt.Errorf("writing the log: %w", e)
			}
		}
	}()
	return db.Apply(batch, o)
}

// supersededBefore tells which volatile changes are followed by another one of their key. volatile: there are any volatile ones.
func supersededBefore(changes []change) (superseded []bool, volatile bool) {
	for i := range changes {
		volatile = volatile || changes[i].volatile
	}
	if !volatile {
		return nil, false
	}
	superseded = make([]bool, len(changes))
	later := make(map[store.Key]bool, len(changes))
	for i := len(changes) - 1; i >= 0; i-- {
		key := changes[i].key()
		superseded[i] = changes[i].volatile && later[key]
		later[key] = true
	}
	return superseded, true
}

// publish makes changes visible, all at once, and wakes the watchers that they concern.
func (s *Store) publish(changes []change) {
	now := time.Now()
	s.view.Lock()
	defer s.view.Unlock()
	var touched []*table
	var commitBegin int
	for i := range changes {
		ch := &changes[i]
		t := s.table(ch.key().Prefix)
		if t.watchers.fresh == 0 {
			t.watchers.fresh = t.log.end + 1
			touched = append(touched, t)
		}
		t.apply(ch.event, now)
		s.expiring.apply(ch.event.Prev, ch.event.Record)
		if !ch.more {
			for j := commitBegin; j <= i; j++ {
				s.tables[changes[j].key().Prefix].log.endCommit()
			}
			commitBegin = i + 1
		}
	}
	s.rev.Store(uint64(changes[len(changes)-1].event.Revision))
	for _, t := range touched {
		t.log.trim(s.opts.Memory, now)
		t.wake()
	}
	s.armed(now)
}

// armed arms the clock for what a change brings. view is held.
func (s *Store) armed(now time.Time) {
	s.clock.arm(dutyTrim, now.Add(s.opts.Memory.MaxAge+s.opts.Memory.MaxAge/4))
	s.armExpiry()
	s.armBookmarks()
}

// table returns the table of a prefix, and makes it. view is held for writing.
func (s *Store) table(prefix string) *table {
	t := s.tables[prefix]
	if t == nil {
		t = newTable(prefix)
		s.tables[prefix] = t
	}
	return t
}
