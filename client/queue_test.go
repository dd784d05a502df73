package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func take(t *testing.T, q *Queue[string], want string) {
	t.Helper()
	got, err := q.Get(t.Context())
	if err != nil || got != want {
		t.Fatalf("Get: got %q, %v; want %q", got, err, want)
	}
}

func TestQueueHandsAKeyToOneWorkerAtATime(t *testing.T) {
	q := NewQueue[string](Backoff{})
	q.Add("a")
	q.Add("a")
	q.Add("b")
	if q.Len() != 2 {
		t.Fatalf("Len: got %d, want 2", q.Len())
	}
	take(t, q, "a")
	q.Add("a") // while at work
	take(t, q, "b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if key, err := q.Get(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Get while a is at work: got %q, %v; want nothing", key, err)
	}
	q.Done("a")
	take(t, q, "a")
	q.Done("a")
	q.Done("b")
	if q.Len() != 0 {
		t.Fatalf("Len: got %d, want 0", q.Len())
	}
}

func TestQueueDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue[string](Backoff{First: time.Second, Max: 5 * time.Second})
		start := time.Now()
		q.AddAfter("late", time.Hour)
		q.AddAfter("late", 2*time.Hour) // the earliest counts
		q.AddAfter("soon", time.Minute)
		take(t, q, "soon")
		if d := time.Since(start); d != time.Minute {
			t.Errorf("soon came after %v, want 1m", d)
		}
		q.Done("soon")
		take(t, q, "late")
		if d := time.Since(start); d != time.Hour {
			t.Errorf("late came after %v, want 1h", d)
		}
		q.Done("late")

		var waits []time.Duration
		for range 4 {
			waits = append(waits, q.Retry("x"))
			take(t, q, "x")
			q.Done("x")
		}
		if waits[0] != time.Second || waits[1] != 2*time.Second || waits[2] != 4*time.Second || waits[3] != 5*time.Second {
			t.Errorf("backoff: got %v, want 1s 2s 4s 5s", waits)
		}
		q.Forget("x")
		if d := q.Retry("x"); d != time.Second {
			t.Errorf("backoff after Forget: got %v, want 1s", d)
		}
		q.Add("x") // being handed out drops what was scheduled for later
		take(t, q, "x")
		q.Done("x")
		time.Sleep(time.Hour)
		if q.Len() != 0 {
			t.Errorf("a delayed key came although it was handed out meanwhile")
		}
		q.Close()
	})
}

func TestQueueCloseEndsEveryGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue[int](Backoff{})
		errs := make(chan error, 3)
		for range 3 {
			go func() { _, err := q.Get(t.Context()); errs <- err }()
		}
		synctest.Wait()
		q.AddAfter(1, time.Second)
		q.Close()
		for range 3 {
			if err := <-errs; !errors.Is(err, ErrQueueClosed) {
				t.Errorf("Get: got %v, want ErrQueueClosed", err)
			}
		}
	})
}

func TestQueueKeepsOrderOverManyKeys(t *testing.T) {
	q := NewQueue[int](Backoff{})
	for i := range 5000 {
		q.Add(i)
	}
	for i := range 5000 {
		if got, err := q.Get(t.Context()); err != nil || got != i {
			t.Fatalf("Get: got %d, %v; want %d", got, err, i)
		}
		q.Done(i)
	}
}
