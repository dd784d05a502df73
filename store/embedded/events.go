package embedded

import (
	"sort"
	"time"

	"github.com/tenet-run/tenet/store"
)

const blockEvents = 128

// block is a run of events. It only grows: what a reader was given of it under the lock stays as it is.
type block struct {
	events [blockEvents]store.Event
	n      int
	// whole: the last event so far is the last of its commit.
	whole bool
	bytes int64
	last  time.Time // of the last append
}

// eventLog is the history of one prefix in memory: every event after floor, oldest first, counted by sequence numbers from first to end. Guarded by
// Store.view. Events are shared by all watchers; a watcher is no more than a sequence number.
type eventLog struct {
	blocks     []*block
	first, end uint64
	floor      store.Revision
	bytes      int64
}

func (l *eventLog) append(ev store.Event, now time.Time) {
	n := len(l.blocks)
	if n == 0 || l.blocks[n-1].n == blockEvents {
		l.blocks = append(l.blocks, &block{})
		n++
	}
	b := l.blocks[n-1]
	b.events[b.n] = ev
	b.n++
	b.whole = false
	b.last = now
	if ev.Prev != nil {
		size := int64(len(ev.Prev.Value)) + 512
		b.bytes += size
		l.bytes += size
	}
	l.end++
}

// endCommit marks the end of a commit's events.
func (l *eventLog) endCommit() {
	if n := len(l.blocks); n > 0 {
		l.blocks[n-1].whole = true
	}
}

func (l *eventLog) dropFirst() {
	b := l.blocks[0]
	l.floor = b.events[b.n-1].Revision
	l.bytes -= b.bytes
	l.first += uint64(b.n)
	l.blocks[0] = nil
	l.blocks = l.blocks[1:]
	if len(l.blocks) == 0 {
		l.blocks = nil
	}
}

// trim drops what is beyond the window. The block that is being filled is dropped only by age, and only whole.
func (l *eventLog) trim(w Window, now time.Time) {
	for len(l.blocks) > 1 && l.bytes > w.MaxBytes {
		l.dropFirst()
	}
	for len(l.blocks) > 0 && now.Sub(l.blocks[0].last) >= w.MaxAge {
		l.dropFirst()
	}
}

// seek returns the sequence number of the first event after a revision that is not before floor.
func (l *eventLog) seek(after store.Revision) uint64 {
	i := sort.Search(len(l.blocks), func(i int) bool { b := l.blocks[i]; return b.events[b.n-1].Revision > after })
	if i == len(l.blocks) {
		return l.end
	}
	b := l.blocks[i]
	j := sort.Search(b.n, func(j int) bool { return b.events[j].Revision > after })
	return l.first + uint64(i*blockEvents+j)
}

// read returns the events from a sequence number to the end of its block, and whether they end with a whole commit.
func (l *eventLog) read(from uint64) (evs []store.Event, whole bool) {
	off := from - l.first
	b := l.blocks[off/blockEvents]
	return b.events[off%blockEvents : b.n : b.n], b.whole
}
