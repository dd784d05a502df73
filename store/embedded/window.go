package embedded

import (
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tenet-run/tenet/store"
)

// windowEntry is what must be known of an entry to let it leave the history window.
type windowEntry struct {
	rev, prev store.Revision
	time      int64
	size      int32
	deleted   bool
}

// windowLog is the history window on disk, oldest first.
type windowLog struct {
	entries []windowEntry
	head    int
	bytes   int64
}

// entryOverhead is what an entry costs beside its own bytes, in memory and on disk.
const entryOverhead = 64

func (w *windowLog) push(e windowEntry) {
	w.entries = append(w.entries, e)
	w.bytes += int64(e.size) + entryOverhead
}

func (w *windowLog) oldest() (windowEntry, bool) {
	if w.head == len(w.entries) {
		return windowEntry{}, false
	}
	return w.entries[w.head], true
}

func (w *windowLog) pop() {
	w.bytes -= int64(w.entries[w.head].size) + entryOverhead
	w.head++
	if w.head > 1024 && w.head > len(w.entries)/2 {
		w.entries = append([]windowEntry(nil), w.entries[w.head:]...)
		w.head = 0
	}
}

// trimWindow lets up to max entries leave the window. What leaves the log with an entry is the state before it, and the entry itself if it is a
// deletion: nobody can ask for those any more. The committer calls it.
func (s *Store) trimWindow(batch *pebble.Batch, now time.Time, max int) error {
	w := &s.window
	tooOld := now.Add(-s.opts.Window.MaxAge).Unix()
	var oldest store.Revision
	for range max {
		e, ok := w.oldest()
		if !ok || w.bytes <= s.opts.Window.MaxBytes && e.time >= tooOld {
			break
		}
		w.pop()
		oldest = e.rev
		var err error
		if e.prev != 0 {
			err = batch.Delete(logKey(e.prev), nil)
		}
		if e.deleted {
			err = errors.Join(err, batch.Delete(logKey(e.rev), nil))
		}
		if err != nil {
			return err
		}
	}
	if oldest == 0 {
		return nil
	}
	// Readers of the disk look at this after they have opened their iterator: it must be there before the entries are gone.
	s.oldest.Store(uint64(oldest))
	return batch.Set(keyOldest, revisionValue(oldest), nil)
}

// trimIdle lets go of what has grown too old while nothing was written: seldom, and then all at once. It needs no fsync: what is lost is trimmed again.
func (s *Store) trimIdle(now time.Time) error {
	e, ok := s.window.oldest()
	if !ok || e.time >= now.Add(-s.opts.Window.MaxAge-s.opts.Window.MaxAge/4).Unix() {
		return nil
	}
	for {
		e, ok := s.window.oldest()
		if !ok || e.time >= now.Add(-s.opts.Window.MaxAge).Unix() {
			return nil
		}
		batch := s.db.NewBatch()
		if err := s.trimWindow(batch, now, 1024); err != nil {
			return err
		}
		if err := apply(s.db, batch, pebble.NoSync); err != nil {
			return err
		}
		if err := batch.Close(); err != nil {
			return err
		}
	}
}
