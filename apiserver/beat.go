package apiserver

import (
	"sync"
	"time"
)

// beat is what busy watches wait for together. They wake at the same time, so that what they write to one connection goes out in few large writes; each waiting by
// itself, every one of them made its own.
type beat struct {
	mu   sync.Mutex
	next chan struct{} // closed at the next beat; nil: nobody waits
}

// after returns what is closed at the next beat: in d, or sooner when another watch has begun to wait before.
func (b *beat) after(d time.Duration) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
		time.AfterFunc(d, b.strike)
	}
	return b.next
}

func (b *beat) strike() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.next)
	b.next = nil
}
