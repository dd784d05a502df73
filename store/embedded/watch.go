package embedded

import (
	"context"
	"sync"
	"time"

	"github.com/tenet-run/tenet/store"
)

// batchEvents is about how many events one Next delivers; never less than a whole commit.
const batchEvents = 512

// watcher is a cursor into the event log of its table, or into the log on disk when that in memory does not reach back so far. One that is so slow
// that its place has left the window on disk too is cut off with ErrExpired.
type watcher struct {
	s     *Store
	query store.WatchQuery
	topic topic
	ready chan struct{}

	mu sync.Mutex
	// err is why the watch has ended; nil: it has not.
	err error
	// onDisk: events after cursor come from disk; those in memory are not looked at yet.
	onDisk bool
	cursor store.Revision
	// behind: there may be events from seq on. Otherwise there is nothing for this watcher in the log, however far it has moved.
	behind bool
	seq    uint64
	// progress asks for a bookmark; sent is the newest revision that the reader knows to be complete, sentAt when it was told.
	progress bool
	sent     store.Revision
	sentAt   time.Time

	buf []store.Event
}

// Watch implements [store.Store].
//
// A bookmark is sent only when the revision has moved on since the last event or bookmark: otherwise there is no progress to report.
func (s *Store) Watch(q store.WatchQuery) (store.Watcher, error) {
	if selectsNothing(q.Selector) {
		q.Selector = nil
	}
	w := &watcher{s: s, query: q, topic: topicOf(&q), ready: make(chan struct{}, 1), sentAt: time.Now()}
	s.plan.Lock()
	refuse := s.refuse
	s.plan.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	s.view.Lock()
	defer s.view.Unlock()
	rev := s.Revision()
	if q.From == 0 {
		q.From = rev
	}
	if err := s.checkAt(q.From, rev); err != nil {
		return nil, err
	}
	t := s.table(q.Prefix)
	w.sent = q.From
	switch {
	case q.From >= t.last:
	case q.From >= t.log.floor:
		w.behind, w.seq = true, t.log.seek(q.From)
		w.signal()
	default:
		w.onDisk, w.cursor = true, q.From
		w.signal()
	}
	t.watchers.add(w)
	if q.Bookmarks > 0 {
		s.bookmarked = append(s.bookmarked, w)
		s.clock.arm(dutyBookmark, w.sentAt.Add(q.Bookmarks))
	}
	return w, nil
}

func (w *watcher) Ready() <-chan struct{} { return w.ready }

func (w *watcher) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Next implements [store.Watcher].
func (w *watcher) Next(ctx context.Context) ([]store.Event, error) {
	for {
		evs, more, err := w.take()
		if err != nil || len(evs) > 0 {
			if more || err != nil {
				w.signal() // for the reader that waits on Ready next
			}
			return evs, err
		}
		if more {
			continue
		}
		select {
		case <-w.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take returns the events that are there, without waiting. more: another call may find further ones.
func (w *watcher) take() (evs []store.Event, more bool, err error) {
	w.mu.Lock()
	onDisk := w.onDisk
	cursor, err := w.cursor, w.err
	w.mu.Unlock()
	if err != nil {
		return nil, false, err
	}
	if onDisk {
		return w.takeFromDisk(cursor)
	}
	s := w.s
	s.view.RLock()
	defer s.view.RUnlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, false, w.err
	}
	t := s.tables[w.query.Prefix]
	w.buf = w.buf[:0]
	if w.behind {
		if w.seq < t.log.first {
			// Too slow for memory. The window on disk may still have what it missed; when not, the watch ends there.
			w.behind, w.onDisk, w.cursor = false, true, w.sent
			return nil, true, nil
		}
		evs = w.readMemory(&t.log)
	}
	if !w.behind && w.progress {
		w.progress = false
		if rev := s.Revision(); rev > w.sent || len(evs) > 0 {
			w.buf = append(w.buf[:0], evs...)
			w.buf = append(w.buf, store.Event{Type: store.Bookmark, Revision: rev})
			w.sent, w.sentAt = rev, time.Now()
			return w.buf, false, nil
		}
	}
	if len(evs) > 0 {
		w.sent, w.sentAt = evs[len(evs)-1].Revision, time.Now()
	}
	return evs, w.behind, nil
}

// readMemory reads the next events that are selected. Without a selection, and within a block, they are not even copied.
func (w *watcher) readMemory(l *eventLog) []store.Event {
	read := 0
	for w.seq < l.end {
		evs, whole := l.read(w.seq)
		w.seq += uint64(len(evs))
		read += len(evs)
		if w.query.Selector == nil && w.query.Namespace == "" && w.seq == l.end && len(w.buf) == 0 {
			w.behind = false
			return evs
		}
		for i := range evs {
			if w.selects(&evs[i]) {
				w.buf = append(w.buf, evs[i])
			}
		}
		if whole && read >= batchEvents {
			break
		}
	}
	w.behind = w.seq < l.end
	return w.buf
}

func (w *watcher) selects(ev *store.Event) bool {
	r := ev.Record
	if r == nil {
		r = ev.Prev
	}
	if w.query.Namespace != "" && r.Key.Namespace != w.query.Namespace {
		return false
	}
	sel := w.query.Selector
	return sel == nil || ev.Record != nil && sel.Matches(ev.Record) || ev.Prev != nil && sel.Matches(ev.Prev)
}

// takeFromDisk reads a batch from the log on disk, and goes over to the log in memory where that begins.
func (w *watcher) takeFromDisk(cursor store.Revision) ([]store.Event, bool, error) {
	s := w.s
	evs, cursor, err := s.readEvents(w, cursor, s.Revision())
	s.view.RLock()
	defer s.view.RUnlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && err != nil {
		w.endLocked(err)
	}
	if w.err != nil {
		return nil, false, w.err
	}
	w.cursor = cursor
	w.buf = evs
	t := s.tables[w.query.Prefix]
	if cursor >= t.log.floor {
		w.onDisk = false
		w.seq = t.log.seek(cursor)
		w.behind = w.seq < t.log.end
	}
	if len(evs) > 0 {
		w.sent, w.sentAt = evs[len(evs)-1].Revision, time.Now()
	}
	return evs, w.onDisk || w.behind || w.progress, nil
}

// readEvents reads events after a revision from disk, in whole commits, about a batch, and returns the revision up to which it has read.
// States that are still the newest ones are the shared records.
func (s *Store) readEvents(w *watcher, after, to store.Revision) ([]store.Event, store.Revision, error) {
	var out []store.Event
	last := map[store.Key]*store.Record{}
	scanned := 0
	read, err := s.scanLog(after, to, func(rev store.Revision, e *entry) (bool, error) {
		scanned++
		goOn := e.more || len(out) < batchEvents && scanned < 16*batchEvents
		if !e.hasPrefix(w.query.Prefix) {
			return goOn, nil
		}
		key, err := e.key()
		if err != nil || w.query.Namespace != "" && key.Namespace != w.query.Namespace {
			return goOn, err
		}
		rec, prev := (*store.Record)(nil), last[key]
		if e.prev == 0 {
			prev = nil
		} else if prev == nil || prev.Revision != e.prev {
			if prev, err = s.readRecord(e.prev); err != nil {
				return false, err
			}
		}
		if !e.deleted {
			if rec = s.lookup(key); rec == nil || rec.Revision != rev {
				if rec, err = e.record(rev); err != nil {
					return false, err
				}
			}
		}
		last[key] = rec
		if ev := eventOf(rev, rec, prev); w.selects(&ev) {
			out = append(out, ev)
		}
		return goOn, nil
	})
	return out, read, err
}

// Close implements [store.Watcher].
func (w *watcher) Close() {
	w.s.view.Lock()
	defer w.s.view.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLocked(store.ErrClosed)
	w.forget()
}

// forget takes the watcher out of the registers. view is held for writing.
func (w *watcher) forget() {
	if t := w.s.tables[w.query.Prefix]; t != nil {
		t.watchers.remove(w)
	}
	for i, b := range w.s.bookmarked {
		if b == w {
			w.s.bookmarked = append(w.s.bookmarked[:i], w.s.bookmarked[i+1:]...)
			break
		}
	}
}

func (w *watcher) endLocked(err error) {
	if w.err == nil {
		w.err = err
	}
	w.buf, w.behind, w.onDisk = nil, false, false
	w.signal()
}

// endWatches ends the watches of a table, or all.
func (s *Store) endWatches(only *table, err error) {
	s.view.Lock()
	defer s.view.Unlock()
	for _, t := range s.tables {
		if only != nil && t != only {
			continue
		}
		for _, w := range t.watchers.all() {
			w.mu.Lock()
			w.endLocked(err)
			w.mu.Unlock()
			w.forget()
		}
	}
}

// armBookmarks arms the clock for the watchers that want bookmarks: there is progress now. view is held.
func (s *Store) armBookmarks() {
	if len(s.bookmarked) > 0 && !s.bookmarksDue.IsZero() {
		s.clock.arm(dutyBookmark, s.bookmarksDue)
	}
}

// sendBookmarks lets watchers that have told nothing for their interval send a bookmark, a little early rather than each at its own time.
func (s *Store) sendBookmarks(now time.Time) {
	s.view.Lock()
	defer s.view.Unlock()
	rev := s.Revision()
	var next time.Time
	idle := true
	for _, w := range s.bookmarked {
		w.mu.Lock()
		every := w.query.Bookmarks
		due := w.sentAt.Add(every)
		if w.sent < rev {
			idle = false
			if !due.After(now.Add(every / 8)) {
				w.progress = true
				w.signal()
				due = now.Add(every)
			}
		} else if due.Before(now) {
			due = now.Add(every)
		}
		w.mu.Unlock()
		if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	s.bookmarksDue = next
	if !idle && !next.IsZero() {
		s.clock.arm(dutyBookmark, next)
	}
}
