package embedded

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tenet-run/tenet/store"
)

// treeAt makes the state of a prefix as it was at a revision in the window: from a list that is being continued, from the events in memory, or from the
// log on disk, in this order. It goes back from the newest state by undoing what came after.
func (s *Store) treeAt(prefix string, at store.Revision) (*tree, error) {
	if tr := s.pages.get(prefix, at); tr != nil {
		return tr, nil
	}
	s.view.RLock()
	t := s.tables[prefix]
	newest := t.copy()
	var after []store.Event
	inMemory := at >= t.log.floor
	if inMemory {
		for seq := t.log.seek(at); seq < t.log.end; {
			evs, _ := t.log.read(seq)
			after = append(after, evs...)
			seq += uint64(len(evs))
		}
	}
	s.view.RUnlock()
	if !inMemory {
		var err error
		if after, err = s.readUndo(prefix, at); err != nil {
			return nil, err
		}
	}
	for i := len(after) - 1; i >= 0; i-- {
		if ev := &after[i]; ev.Prev != nil {
			newest.Set(itemOf(ev.Prev))
		} else {
			newest.Delete(itemOf(ev.Record))
		}
	}
	return newest, nil
}

// copy returns a copy of the newest state that the caller may change. view is held, at least for reading.
func (t *table) copy() *tree {
	tr := t.tree()
	t.snapMu.Lock()
	defer t.snapMu.Unlock()
	return tr.IsoCopy()
}

// readUndo reads from disk what undoes the changes of a prefix after a revision. Of changes of one key it is enough to have the first. It reads to the
// end of the log, beyond the state that is to be undone: a volatile write in that state may be on disk only as one that came later.
func (s *Store) readUndo(prefix string, after store.Revision) ([]store.Event, error) {
	var out []store.Event
	seen := map[store.Key]bool{}
	_, err := s.scanLog(after, math.MaxUint64-1, func(rev store.Revision, e *entry) (bool, error) {
		if !e.hasPrefix(prefix) {
			return true, nil
		}
		key, err := e.key()
		if err != nil || seen[key] {
			return true, err
		}
		seen[key] = true
		ev := store.Event{Revision: rev, Record: &store.Record{Key: key}}
		if e.prev != 0 {
			if ev.Prev, err = s.readRecord(e.prev); err != nil {
				return false, err
			}
		}
		out = append(out, ev)
		return true, nil
	})
	return out, err
}

// scanLog calls f for the entries after one revision, up to another, until it returns false. It returns the revision up to which it has read.
// [store.ErrExpired] when the window has moved beyond the first. Volatile writes are made to be there.
func (s *Store) scanLog(after, to store.Revision, f func(store.Revision, *entry) (bool, error)) (read store.Revision, err error) {
	if s.dirty.Load() {
		if err := s.ask(func() error { return s.saveOrFail(nil, false) }); err != nil {
			return after, err
		}
	}
	read = after
	err = s.reading(func() (err error) {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: logKey(after + 1), UpperBound: logKey(to + 1)})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, it.Close()) }()
		if after < s.Oldest() {
			return store.ErrExpired
		}
		for it.First(); it.Valid(); it.Next() {
			rev, err := keyRevision(it.Key())
			if err != nil {
				return err
			}
			raw, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			e, err := parseEntry(raw)
			if err != nil {
				return err
			}
			goOn, err := f(rev, &e)
			if err != nil {
				return err
			}
			read = rev
			if !goOn {
				return nil
			}
		}
		read = to
		return it.Error()
	})
	return read, err
}

// readRecord reads one state from the log: one that is live, or the state before a change in the window. Called by those who hold disk.
// What the window let go of meanwhile is [store.ErrExpired].
func (s *Store) readRecord(rev store.Revision) (*store.Record, error) {
	raw, closer, err := s.db.Get(logKey(rev))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, store.ErrExpired
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	e, err := parseEntry(raw)
	if err != nil {
		return nil, err
	}
	return e.record(rev)
}

// pageAge is how long a list may take to be continued from memory. After that it is made again from history.
const pageAge = 5 * time.Minute

// maxPages bounds the lists being continued that are kept.
const maxPages = 16

// pageCache keeps the trees of lists that are being continued.
type pageCache struct {
	mu    sync.Mutex
	pages []page // least recently used first
}

type page struct {
	prefix string
	at     store.Revision
	tree   *tree
	used   time.Time
}

func (c *pageCache) get(prefix string, at store.Revision) *tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pages {
		if p.prefix == prefix && p.at == at {
			return p.tree
		}
	}
	return nil
}

func (c *pageCache) keep(prefix string, at store.Revision, tr *tree, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.pages {
		if p.prefix == prefix && p.at == at {
			c.pages = append(c.pages[:i], c.pages[i+1:]...)
			break
		}
	}
	if len(c.pages) == maxPages {
		c.pages = append(c.pages[:0], c.pages[1:]...)
	}
	c.pages = append(c.pages, page{prefix, at, tr, now})
}

// trim drops pages that are too old, and tells whether there are others.
func (c *pageCache) trim(now time.Time) (left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.pages[:0]
	for _, p := range c.pages {
		if now.Sub(p.used) < pageAge {
			kept = append(kept, p)
		}
	}
	clear(c.pages[len(kept):])
	c.pages = kept
	return len(kept) > 0
}
