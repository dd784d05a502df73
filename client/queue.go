package client

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"
)

// ErrQueueClosed is what Get returns once a Queue is closed.
var ErrQueueClosed = errors.New("client: work queue closed")

// Backoff is how long a key that failed again and again waits: First, doubled at each failure, at most Max.
type Backoff struct{ First, Max time.Duration }

// DefaultBackoff is upstream's for controllers: 5 ms to 1000 s.
var DefaultBackoff = Backoff{First: 5 * time.Millisecond, Max: 1000 * time.Second}

// After is the wait after the given number of failures; 1 is the first.
func (b Backoff) After(failures int) time.Duration {
	d := b.First
	for i := 1; i < failures; i++ {
		if d *= 2; d >= b.Max || d <= 0 {
			return b.Max
		}
	}
	return min(d, b.Max)
}

// Queue is a work queue of keys. A key that is added while it waits is there once; a key that is added while somebody works on it comes again when that work is
// done, so that no two workers have one key at once. Handing a key out drops what was scheduled for it later: whoever works on it sees the newest state, and
// says again when it wants to come back. An idle queue costs no CPU: one timer is set, for the earliest delayed key, and only when there is one.
type Queue[K comparable] struct {
	backoff Backoff

	mu       sync.Mutex
	ready    []K // first in, first out
	head     int
	waiting  map[K]bool // in ready, or to be added when the work on it is done
	working  map[K]bool
	failures map[K]int
	delayed  delays[K]
	due      map[K]*delay[K]
	timer    *time.Timer
	wake     chan struct{} // capacity one: ready is not empty, or closed
	closed   bool
}

// NewQueue makes a queue. The zero Backoff means [DefaultBackoff].
func NewQueue[K comparable](b Backoff) *Queue[K] {
	if b == (Backoff{}) {
		b = DefaultBackoff
	}
	return &Queue[K]{
		backoff: b, waiting: map[K]bool{}, working: map[K]bool{}, failures: map[K]int{}, due: map[K]*delay[K]{}, wake: make(chan struct{}, 1),
	}
}

// Add queues a key now.
func (q *Queue[K]) Add(key K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(key)
}

func (q *Queue[K]) add(key K) {
	if q.closed || q.waiting[key] {
		return
	}
	q.waiting[key] = true
	if !q.working[key] {
		q.push(key)
	}
}

func (q *Queue[K]) push(key K) {
	q.ready = append(q.ready, key)
	q.signal()
}

func (q *Queue[K]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// AddAfter queues a key when d has passed. Of several delays the earliest counts. d of zero or less is Add.
func (q *Queue[K]) AddAfter(key K, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d <= 0 {
		q.add(key)
		return
	}
	if q.closed {
		return
	}
	at := time.Now().Add(d)
	if have := q.due[key]; have != nil {
		if !at.Before(have.at) {
			return
		}
		have.at = at
		heap.Fix(&q.delayed, have.index)
	} else {
		have = &delay[K]{key: key, at: at}
		q.due[key] = have
		heap.Push(&q.delayed, have)
	}
	q.arm()
}

// Retry queues a key after a failure, with the key's backoff, and returns how long that is.
func (q *Queue[K]) Retry(key K) time.Duration {
	q.mu.Lock()
	q.failures[key]++
	d := q.backoff.After(q.failures[key])
	q.mu.Unlock()
	q.AddAfter(key, d)
	return d
}

// Failures is how often in a row Retry was called for a key.
func (q *Queue[K]) Failures(key K) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failures[key]
}

// Forget ends a key's row of failures.
func (q *Queue[K]) Forget(key K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.failures, key)
}

// Get waits for a key and hands it out; the caller must say Done. Errors: [ErrQueueClosed], or the context's.
func (q *Queue[K]) Get(ctx context.Context) (K, error) {
	for {
		if key, ok, err := q.take(); ok || err != nil {
			return key, err
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			var none K
			return none, ctx.Err()
		}
	}
}

func (q *Queue[K]) take() (key K, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.signal() // for the next one who waits
		return key, false, ErrQueueClosed
	}
	if q.head == len(q.ready) {
		return key, false, nil
	}
	key = q.ready[q.head]
	var none K
	q.ready[q.head] = none
	if q.head++; q.head == len(q.ready) {
		q.ready, q.head = q.ready[:0], 0
		if cap(q.ready) > 1024 {
			q.ready = nil
		}
	} else {
		if q.head > 1024 && q.head*2 > len(q.ready) {
			q.ready = append([]K(nil), q.ready[q.head:]...)
			q.head = 0
		}
		q.signal()
	}
	delete(q.waiting, key)
	q.working[key] = true
	if d := q.due[key]; d != nil {
		delete(q.due, key)
		heap.Remove(&q.delayed, d.index)
		q.arm()
	}
	return key, true, nil
}

// Done says that the work on a key is over.
func (q *Queue[K]) Done(key K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.working, key)
	if q.waiting[key] && !q.closed {
		q.push(key)
	}
}

// Len is the number of keys that wait to be handed out; delayed ones are not counted.
func (q *Queue[K]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// Close ends every Get, and drops what is queued.
func (q *Queue[K]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.timer != nil {
		q.timer.Stop()
	}
	q.ready, q.head, q.delayed = nil, 0, nil
	clear(q.due)
	clear(q.waiting)
	q.signal()
}

// arm sets the timer for the earliest delayed key.
func (q *Queue[K]) arm() {
	if len(q.delayed) == 0 {
		if q.timer != nil {
			q.timer.Stop()
		}
		return
	}
	d := time.Until(q.delayed[0].at)
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.fire)
		return
	}
	q.timer.Reset(d)
}

func (q *Queue[K]) fire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	now := time.Now()
	for len(q.delayed) > 0 && !q.delayed[0].at.After(now) {
		d := heap.Pop(&q.delayed).(*delay[K])
		delete(q.due, d.key)
		q.add(d.key)
	}
	q.arm()
}

type delay[K comparable] struct {
	key   K
	at    time.Time
	index int
}

// delays is a heap by time.
type delays[K comparable] []*delay[K]

func (h delays[K]) Len() int           { return len(h) }
func (h delays[K]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h delays[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *delays[K]) Push(x any) {
	d := x.(*delay[K])
	d.index = len(*h)
	*h = append(*h, d)
}
func (h *delays[K]) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return d
}
