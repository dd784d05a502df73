package cri

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func enter(t *testing.T, g *gate, u urgency) (leave func()) {
	t.Helper()
	leave, err := g.enter(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return leave
}

func TestGateLetsPodsThatHaveBegunGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{free: 1, patience: time.Minute}
		leave := enter(t, g, later)
		order := make(chan string, 3)
		for _, w := range []struct {
			name string
			u    urgency
		}{{"second sandbox", later}, {"third sandbox", later}, {"container", next}} {
			go func() {
				leave, err := g.enter(t.Context(), w.u)
				if err != nil {
					t.Error(err)
					return
				}
				order <- w.name
				time.Sleep(time.Second)
				leave()
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Fatal("two are in a gate for one")
		}
		leave()
		leave() // once more does nothing
		for i, want := range []string{"container", "second sandbox", "third sandbox"} {
			if got := <-order; got != want {
				t.Errorf("number %d through the gate: got %s, want %s", i+1, got, want)
			}
		}
		time.Sleep(2 * time.Second)
		if g.free != 1 {
			t.Errorf("places in the end: got %d, want 1", g.free)
		}
	})
}

func TestGateDoesNotCountWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{free: 1, patience: time.Second}
		hung := enter(t, g, later)
		began := time.Now()
		other := enter(t, g, later)
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("waited %s for a place, want %s", waited, g.patience)
		}
		hung()
		other()
		if g.free != 1 {
			t.Errorf("places in the end: got %d, want 1", g.free)
		}
	})
}

func TestGateForgetsWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{free: 1, patience: time.Minute}
		leave := enter(t, g, later)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.enter(ctx, next); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		leave()
		enter(t, g, later)()
		if g.free != 1 || len(g.waiting[next]) != 0 {
			t.Errorf("in the end %d places and %d waiting, want 1 and 0", g.free, len(g.waiting[next]))
		}
	})
}
