package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tenet-run/tenet/store"
	"github.com/tenet-run/tenet/store/storetest"
)

// ledger is what writers were told, and what they tried.
type ledger struct {
	mu      sync.Mutex
	acked   map[store.Key]ack // the newest acknowledged state of a key that is not volatile
	highest store.Revision    // ever handed out
}

type ack struct {
	rev     store.Revision
	value   string
	deleted bool
}

func newLedger() *ledger { return &ledger{acked: map[store.Key]ack{}} }

func (l *ledger) copy() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger()
	c.highest = l.highest
	for k, a := range l.acked {
		c.acked[k] = a
	}
	return c
}

func (l *ledger) add(ws []store.Write, recs []*store.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range recs {
		l.highest = max(l.highest, r.Revision)
		if !ws[i].Volatile && r.Revision > l.acked[r.Key].rev {
			l.acked[r.Key] = ack{r.Revision, string(r.Value), ws[i].Delete}
		}
	}
}

// write lets n writers make commits until they have made enough, or the store refuses.
func write(s *Store, l *ledger, seed uint64, id string, writers, commits int) {
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for n := range commits {
				var ws []store.Write
				if r.IntN(6) == 0 {
					k := store.Key{Prefix: "leases", Name: fmt.Sprint(i)}
					ws = []store.Write{{Key: k, Value: fmt.Appendf(nil, "%s-%d-%d 0 1", id, i, n), Volatile: true}}
				} else {
					size := 1 + r.IntN(4)
					if r.IntN(4) == 0 {
						ws = []store.Write{{Key: store.Key{Prefix: "pods", Namespace: "x", Name: fmt.Sprint(r.IntN(10))}, Delete: true}}
						size = 0
					}
					for j, k := range r.Perm(10)[:size] {
						w := store.Write{Key: store.Key{Prefix: "pods", Namespace: "x", Name: fmt.Sprint(k)}}
						w.Value = fmt.Appendf(nil, "%s-%d-%d %d %d %s", id, i, n, j, size, strings.Repeat("x", r.IntN(2000)))
						ws = append(ws, w)
					}
				}
				recs, err := s.Commit(context.Background(), ws...)
				var conflict *store.ConflictError
				if errors.As(err, &conflict) {
					continue // a deletion of nothing
				}
				if err != nil {
					return
				}
				l.add(ws, recs)
			}
		})
	}
	wg.Wait()
}

// verify opens what a crash has left and compares it with what had been acknowledged before the crash.
func verify(s *Store, l *ledger) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if s.Revision() < l.highest {
		return fmt.Errorf("revision went back to %d; %d was handed out", s.Revision(), l.highest)
	}
	for k, a := range l.acked {
		cur, err := s.Get(k)
		switch {
		case a.deleted && err != nil: // as acknowledged, or deleted again
		case err != nil: // deleted later, by a commit whose acknowledgement was on its way?
			if w := s.deletedAfter(ctx, k, a.rev); w != nil {
				return fmt.Errorf("%s at %d was acknowledged and is lost: %w", k, a.rev, w)
			}
		case cur.Revision < a.rev, cur.Revision == a.rev && string(cur.Value) != a.value:
			return fmt.Errorf("%s at %d was acknowledged; found %d", k, a.rev, cur.Revision)
		}
	}
	for _, prefix := range []string{"pods", "leases"} {
		if err := verifyHistory(ctx, s, prefix); err != nil {
			return fmt.Errorf("%s: %w", prefix, err)
		}
	}
	diff, err := s.Check(ctx)
	if err != nil || len(diff) > 0 {
		return fmt.Errorf("check: %v, %v", diff, err)
	}
	return nil
}

// deletedAfter looks for the deletion of a key after a revision, as far as the window reaches.
func (s *Store) deletedAfter(ctx context.Context, k store.Key, after store.Revision) error {
	if after < s.Oldest() {
		return nil // cannot be told
	}
	w, err := s.Watch(store.WatchQuery{Prefix: k.Prefix, From: after})
	if err != nil {
		return err
	}
	defer w.Close()
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	for {
		evs, err := w.Next(ctx)
		if err != nil {
			return err
		}
		for _, ev := range evs {
			if ev.Type == store.Deleted && ev.Prev.Key == k {
				return nil
			}
		}
	}
}

// verifyHistory follows the whole window: it must lead from the oldest list to the newest one, and hold only whole commits.
func verifyHistory(ctx context.Context, s *Store, prefix string) error {
	oldest := s.Oldest()
	begin, err := s.List(store.ListQuery{Prefix: prefix, At: oldest})
	if err != nil {
		return err
	}
	now, err := s.List(store.ListQuery{Prefix: prefix})
	if err != nil {
		return err
	}
	var until store.Revision
	for _, r := range now.Records {
		until = max(until, r.Revision)
	}
	w, err := s.Watch(store.WatchQuery{Prefix: prefix, From: oldest})
	if err != nil {
		return err
	}
	defer w.Close()
	commits := map[string]*struct{ seen, size int }{}
	rep := storetest.NewReplica(begin)
	rep.At = oldest
	whole := func(ev store.Event) {
		if ev.Record == nil {
			return
		}
		var id string
		var j, size int
		fmt.Sscan(string(ev.Record.Value), &id, &j, &size)
		if ev.Revision-store.Revision(j) <= oldest {
			return // its beginning has left the window
		}
		if commits[id] == nil {
			commits[id] = &struct{ seen, size int }{size: size}
		}
		commits[id].seen++
	}
	if err := rep.Follow(ctx, w, until, whole); err != nil {
		return err
	}
	// Deletions may follow the newest object.
	rest, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_ = rep.Follow(rest, w, s.Revision()+1, whole)
	for id, c := range commits {
		if c.seen != c.size {
			return fmt.Errorf("commit %s: %d of %d writes are there", id, c.seen, c.size)
		}
	}
	return rep.Equals(now)
}

// TestPowerLoss crashes a store at more than a thousand points: before a write or a sync of any of its files. What was not synced is lost, or not, block
// by block. Some of what is opened again crashes again at once.
func TestPowerLoss(t *testing.T) {
	points := 1000
	if testing.Short() {
		points = 100
	}
	seed := storetest.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	begin := time.Now()
	for done, round := 0, 0; done < points; round++ {
		crashes := crashRun(t, vfs.NewCrashableMem(), newLedger(), r, seed+uint64(round), fmt.Sprint("r", round), 8, 30)
		for i, c := range crashes {
			again := i%5 == 0
			n, err := recovered(t, c, r, seed+uint64(round), again)
			if err != nil {
				t.Fatalf("TENET_SEED=%d, crash %d (run %d, point %d): %v", seed, done, round, i, err)
			}
			done += n
		}
		if len(crashes) == 0 {
			t.Fatal("no crash in a run")
		}
	}
	t.Logf("%d crash points in %v", points, time.Since(begin).Round(time.Millisecond))
}

type crash struct {
	fs     *vfs.MemFS
	ledger *ledger
	opts   func(*Options)
}

// crashRun runs writers on a file system and takes copies of it as crashes would leave it.
func crashRun(t *testing.T, mem *vfs.MemFS, l *ledger, r *rand.Rand, seed uint64, id string, writers, commits int) []crash {
	var mu sync.Mutex
	var out []crash
	small := r.IntN(2) == 0
	opts := func(o *Options) {
		o.memTable = 32 << 10
		if small {
			o.Window.MaxBytes = 30 << 10
			o.Memory.MaxBytes = 10 << 10
		}
	}
	rate := 4 + r.IntN(30)
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if len(out) < 20 && r.IntN(rate) == 0 {
			c := crash{ledger: l.copy(), opts: opts} // first: what is acknowledged by now must be in the copy
			c.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 0, 30, 70, 100}[r.IntN(5)], RNG: rand.New(rand.NewPCG(seed, uint64(len(out))))})
			out = append(out, c)
		}
		return nil
	})
	s := openMem(t, errorfs.Wrap(mem, inject), opts)
	write(s, l, seed, id, writers, commits)
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	return out
}

// recovered opens what a crash left and verifies it; again: lets it crash once more while it works.
func recovered(t *testing.T, c crash, r *rand.Rand, seed uint64, again bool) (points int, err error) {
	points = 1
	if again {
		for _, c2 := range crashRun(t, c.fs.CrashClone(vfs.CrashCloneCfg{}), c.ledger.copy(), r, seed, "again", 3, 5) {
			n, err := recovered(t, c2, r, seed, false)
			if err != nil {
				return 0, fmt.Errorf("second crash: %w", err)
			}
			points += n
		}
	}
	s, err := Open(context.Background(), Options{Dir: "data/store", FS: c.fs, Logger: quiet(), Window: window(c.opts)})
	if err != nil {
		return 0, fmt.Errorf("open: %w", err)
	}
	err = verify(s, c.ledger)
	if err == nil {
		var recs []*store.Record
		if recs, err = s.Commit(context.Background(), store.Write{Key: pod(0)}); err == nil && recs[0].Revision <= c.ledger.highest {
			err = fmt.Errorf("a new write has revision %d; %d was handed out before the crash", recs[0].Revision, c.ledger.highest)
		}
	}
	return points, errors.Join(err, s.Close())
}

func window(f func(*Options)) Window {
	var o Options
	f(&o)
	return o.Window
}
