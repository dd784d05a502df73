package embedded

import (
	"context"
	"sync"
	"time"
)

// duty is something that the store does when its time has come.
type duty int

const (
	dutyExpire   duty = iota // delete objects whose time has come
	dutyFlush                // write volatile writes to disk
	dutyTrim                 // let go of history
	dutyBookmark             // send progress marks
	duties
)

// clock is the store's one timer. Nothing is armed while there is nothing to do.
type clock struct {
	mu   sync.Mutex
	next [duties]time.Time // zero: never
	kick chan struct{}     // next has changed
	quit chan struct{}
	done chan struct{}
	once sync.Once
}

func (c *clock) init() {
	c.kick = make(chan struct{}, 1)
	c.quit = make(chan struct{})
	c.done = make(chan struct{})
}

// stop ends the clock's goroutine and waits for it.
func (c *clock) stop() {
	c.once.Do(func() { close(c.quit) })
	<-c.done
}

// arm lets a duty be done at t, or earlier if it is armed already.
func (c *clock) arm(d duty, t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.next[d].IsZero() && !t.Before(c.next[d]) {
		return
	}
	c.next[d] = t
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// first returns when the first duty is due; zero: never.
func (c *clock) first() (first time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.next {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// take returns the duties that are due, and disarms them.
func (c *clock) take(now time.Time) (due []duty) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for d, t := range c.next {
		if !t.IsZero() && !t.After(now) {
			c.next[d] = time.Time{}
			due = append(due, duty(d))
		}
	}
	return due
}

func (s *Store) runClock() {
	defer close(s.clock.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-s.clock.quit:
		case <-s.failed:
		case <-ctx.Done():
		}
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if first := s.clock.first(); first.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(first))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.clock.kick:
		case <-timer.C:
			now := time.Now()
			for _, d := range s.clock.take(now) {
				s.do(ctx, d, now)
			}
		}
	}
}

func (s *Store) do(ctx context.Context, d duty, now time.Time) {
	switch d {
	case dutyExpire:
		s.expire(ctx, now)
	case dutyFlush:
		// An error means that the store is closing, which flushes too, or that the disk has failed, which has been told.
		_ = s.ask(func() error { return s.saveOrFail(nil, false) })
	case dutyTrim:
		s.trim(now)
	case dutyBookmark:
		s.sendBookmarks(now)
	}
}

// trim lets go of history that is too old, in memory and on disk, and arms the next time.
func (s *Store) trim(now time.Time) {
	again := s.opts.Memory.MaxAge + s.opts.Memory.MaxAge/4
	var next time.Time
	s.view.Lock()
	for _, t := range s.tables {
		t.log.trim(s.opts.Memory, now)
		if len(t.log.blocks) > 0 {
			next = now.Add(again)
		}
	}
	s.view.Unlock()
	if s.pages.trim(now) {
		next = now.Add(again)
	}
	err := s.ask(func() error {
		if err := s.trimIdle(now); err != nil {
			s.fail(err)
			return err
		}
		if e, ok := s.window.oldest(); ok && next.IsZero() {
			next = time.Unix(e.time, 0).Add(s.opts.Window.MaxAge + s.opts.Window.MaxAge/4 + 2*time.Second)
		}
		return nil
	})
	if err == nil && !next.IsZero() {
		s.clock.arm(dutyTrim, next)
	}
}
