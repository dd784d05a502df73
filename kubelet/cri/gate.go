package cri

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Urgency of those who wait at a gate.
type urgency int

const (
	later urgency = iota // a pod begins
	next                 // a pod that has begun goes on
	urgencies
)

// gate bounds how many starts are under way at a time. They keep the processors busy: more of them at once end no sooner, and all together at the end.
// Who has begun goes first, so that pods are finished one after the other.
//
// A start that takes longer than patience waits for something else (a hung network plugin, a slow disk), and is no longer counted: it can not keep
// other pods from starting.
type gate struct {
	patience time.Duration

	mu      sync.Mutex
	free    int
	waiting [urgencies][]chan struct{}
}

// enter waits for a place. leave gives it up; it may be called more than once.
func (g *gate) enter(ctx context.Context, u urgency) (leave func(), err error) {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
	} else {
		mine := make(chan struct{})
		g.waiting[u] = append(g.waiting[u], mine)
		g.mu.Unlock()
		select {
		case <-mine:
		case <-ctx.Done():
			g.mu.Lock()
			i := slices.Index(g.waiting[u], mine)
			if i >= 0 {
				g.waiting[u] = slices.Delete(g.waiting[u], i, i+1)
			}
			g.mu.Unlock()
			if i < 0 { // the place was given at this very moment
				g.pass()
			}
			return nil, ctx.Err()
		}
	}
	pass := sync.OnceFunc(g.pass)
	slow := time.AfterFunc(g.patience, pass)
	return func() { slow.Stop(); pass() }, nil
}

// pass gives a place to the next in line.
func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for u := range slices.Backward(g.waiting[:]) {
		if line := g.waiting[u]; len(line) > 0 {
			close(line[0])
			g.waiting[u] = line[1:]
			return
		}
	}
	g.free++
}
