package embedded

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenet-run/tenet/internal/invariants"
	"github.com/tenet-run/tenet/store"
)

// table is what is known of one prefix. Guarded by Store.view, apart from snapshots.
type table struct {
	prefix  string
	live    *tree
	indexes map[indexKey]*index
	log     eventLog
	last    store.Revision // of the newest change
	changed atomic.Uint64  // moves with every change, for Store.Changed

	// snapshot is a copy of live that readers use without a lock; made on demand, nil after a change.
	snapMu   sync.Mutex
	snapshot *tree

	watchers watchers
	digests  digests
}

func newTable(prefix string) *table {
	return &table{prefix: prefix, live: newTree(32), indexes: map[indexKey]*index{}, watchers: newWatchers()}
}

func (t *table) get(ns, name string) *store.Record {
	it, _ := t.live.Get(item{ns: ns, name: name})
	return it.rec
}

// set changes the newest state without an event.
func (t *table) set(prev, next *store.Record) {
	if invariants.Enabled {
		t.replaced(prev, next)
	}
	if next != nil {
		t.live.Set(itemOf(next))
	} else {
		t.live.Delete(itemOf(prev))
	}
	for _, x := range t.indexes {
		x.apply(prev, next)
	}
	t.snapshot = nil
	t.changed.Add(1)
}

// apply takes one change into the table. view is held for writing.
func (t *table) apply(ev store.Event, now time.Time) {
	if invariants.Enabled {
		invariants.Check(ev.Revision > t.last, "%s: an event at %d after %d", t.prefix, ev.Revision, t.last)
	}
	t.set(ev.Prev, ev.Record)
	t.log.append(ev, now)
	t.last = ev.Revision
}

// tree returns an immutable copy of the newest state. view is held, at least for reading.
func (t *table) tree() *tree {
	t.snapMu.Lock()
	defer t.snapMu.Unlock()
	if t.snapshot == nil {
		t.snapshot = t.live.IsoCopy()
	}
	return t.snapshot
}

// buildIndex makes an index. view is held for writing.
func (t *table) buildIndex(k indexKey, use int64) {
	if t.indexes[k] != nil {
		return
	}
	if k.kind == 'l' {
		t.evictLabelIndex()
	}
	x := &index{key: k, buckets: map[string]*tree{}}
	t.live.Scan(func(it item) bool {
		x.apply(nil, it.rec)
		return true
	})
	x.used.Store(use)
	t.indexes[k] = x
}

func (t *table) evictLabelIndex() {
	var n int
	var oldest *index
	for k, x := range t.indexes {
		if k.kind != 'l' {
			continue
		}
		n++
		if oldest == nil || x.used.Load() < oldest.used.Load() {
			oldest = x
		}
	}
	if n >= maxLabelIndexes {
		delete(t.indexes, oldest.key)
	}
}
