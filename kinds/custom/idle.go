package custom

import (
	"sync"
	"time"
)

// idleTick is how often that which was not used since the last tick is let go.
const idleTick = time.Minute

// Idle lets go of schemas and programs that were not used for one to two ticks. Its timer runs only while there is something to let go.
type Idle struct {
	mu    sync.Mutex
	held  map[*Definition]struct{}
	timer *time.Timer
}

// hold takes a definition in that has something compiled.
func (i *Idle) hold(d *Definition) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.held == nil {
		i.held = map[*Definition]struct{}{}
	}
	i.held[d] = struct{}{}
	if i.timer == nil {
		i.timer = time.AfterFunc(idleTick, i.sweep)
	}
}

func (i *Idle) sweep() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for d := range i.held {
		if d.used.CompareAndSwap(true, false) {
			continue
		}
		delete(i.held, d)
		d.drop()
	}
	if len(i.held) > 0 {
		i.timer.Reset(idleTick)
	} else {
		i.timer = nil
	}
}

// Held is the number of definitions that have something compiled.
func (i *Idle) Held() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.held)
}

// Close lets go of everything.
func (i *Idle) Close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
	for d := range i.held {
		d.drop()
	}
	i.held = nil
}
