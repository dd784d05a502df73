package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/store"
)

// Replica is a simple model of a prefix, fed by the events of a watch. It checks that they are ordered, unique, and follow from each other.
type Replica struct {
	State map[store.Key]*store.Record
	At    store.Revision
	// Renewal tells which states volatile writes made; nil: there are none. Where one was superseded before it was durable, history may go from
	// the state before it to the one after it: this replica may know it and the event's Prev not, or the other way round.
	Renewal func(*store.Record) bool
}

// NewReplica begins with what a list returned.
func NewReplica(p *store.Page) *Replica {
	r := &Replica{State: map[store.Key]*store.Record{}, At: p.Revision}
	for _, rec := range p.Records {
		r.State[rec.Key] = rec
	}
	return r
}

// Apply takes one event.
func (r *Replica) Apply(ev store.Event) error {
	if ev.Type == store.Bookmark {
		if ev.Revision < r.At {
			return fmt.Errorf("bookmark at %d after %d", ev.Revision, r.At)
		}
		r.At = ev.Revision
		return nil
	}
	if ev.Revision <= r.At {
		return fmt.Errorf("%s at %d after %d", show(ev), ev.Revision, r.At)
	}
	r.At = ev.Revision
	rec := ev.Record
	if rec == nil {
		rec = ev.Prev
	}
	if rec == nil {
		return fmt.Errorf("event at %d has no record", ev.Revision)
	}
	have := r.State[rec.Key]
	same := (have == nil) == (ev.Prev == nil)
	if same && have != nil && (have.Revision != ev.Prev.Revision || string(have.Value) != string(ev.Prev.Value)) {
		same = r.Renewal != nil && (r.Renewal(have) || r.Renewal(ev.Prev))
	}
	if !same {
		return fmt.Errorf("%s at %d does not follow from %s", show(ev), ev.Revision, value(have))
	}
	want := store.Modified
	switch {
	case ev.Record == nil:
		want = store.Deleted
	case ev.Prev == nil:
		want = store.Created
	}
	if ev.Type != want {
		return fmt.Errorf("%s at %d should be of type %d", show(ev), ev.Revision, want)
	}
	if ev.Record == nil {
		delete(r.State, rec.Key)
		return nil
	}
	if rec.Revision != ev.Revision || ev.Prev != nil && rec.Created != ev.Prev.Created || ev.Prev == nil && rec.Created != rec.Revision {
		return fmt.Errorf("%s at %d has a record of %d, created at %d", show(ev), ev.Revision, rec.Revision, rec.Created)
	}
	r.State[rec.Key] = rec
	return nil
}

// Equals compares the replica with a list.
func (r *Replica) Equals(p *store.Page) error {
	if len(p.Records) != len(r.State) {
		return fmt.Errorf("a list has %d objects, the watch made %d", len(p.Records), len(r.State))
	}
	for _, rec := range p.Records {
		have := r.State[rec.Key]
		if have == nil || have.Revision != rec.Revision || string(have.Value) != string(rec.Value) {
			return fmt.Errorf("%s: list has %s at %d, the watch made %s", rec.Key, value(rec), rec.Revision, value(have))
		}
	}
	return nil
}

// Follow feeds a replica from a watch until it has reached a revision.
func (r *Replica) Follow(ctx context.Context, w store.Watcher, until store.Revision, each func(store.Event)) error {
	for r.At < until {
		evs, err := w.Next(ctx)
		if err != nil {
			return fmt.Errorf("at %d of %d: %w", r.At, until, err)
		}
		for _, ev := range evs {
			if err := r.Apply(ev); err != nil {
				return err
			}
			if each != nil {
				each(ev)
			}
		}
	}
	return nil
}

// testModel lets writers and watchers loose on a few keys. What the watchers see must be exactly what the writers were told.
func testModel(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	seed := Seed(t)
	ctx := testContext(t)
	const writers, commits, keys = 8, 150, 12
	var mu sync.Mutex
	acked := map[store.Revision]store.Write{}
	begin := list(t, s, store.ListQuery{})
	replica := func() *Replica {
		r := NewReplica(begin)
		r.Renewal = func(rec *store.Record) bool { return strings.HasSuffix(string(rec.Value), " renewed") }
		return r
	}

	var watchers, wg sync.WaitGroup
	fail := make(chan error, writers+8)
	end := key("x", "end") // the last write; a watcher that has seen it is done
	for i := range 4 {     // watchers that begin again from a revision in the middle, now and then
		watchers.Go(func() {
			r := newRand(seed, 100+uint64(i))
			rep := replica()
			for {
				w, err := s.Watch(store.WatchQuery{Prefix: "pods", From: rep.At, Bookmarks: 10 * time.Millisecond})
				if err != nil {
					fail <- err
					return
				}
				for range 1 + r.IntN(100) {
					evs, err := w.Next(ctx)
					if err != nil {
						fail <- err
						return
					}
					done := false
					for _, ev := range evs {
						if err := rep.Apply(ev); err != nil {
							fail <- fmt.Errorf("watcher %d: %w", i, err)
							return
						}
						done = done || ev.Record != nil && ev.Record.Key == end
					}
					if done {
						w.Close()
						if err := rep.Equals(list(t, s, store.ListQuery{})); err != nil {
							fail <- fmt.Errorf("watcher %d: %w", i, err)
						}
						return
					}
				}
				w.Close()
			}
		})
	}
	for i := range writers {
		wg.Go(func() {
			r := newRand(seed, uint64(i))
			for n := range commits {
				var ws []store.Write
				for _, k := range r.Perm(keys)[:1+r.IntN(3)] {
					w := store.Write{Key: key("x", fmt.Sprint(k)), Value: fmt.Appendf(nil, "%d-%d", i, n), Delete: r.IntN(4) == 0}
					if cur, err := s.Get(w.Key); err != nil {
						w.Expect.Absent, w.Delete = true, false
					} else if w.Delete || r.IntN(4) > 0 {
						w.Expect.Revision = cur.Revision
						if w.Volatile = !w.Delete && r.IntN(10) == 0; w.Volatile {
							w.Value = append(w.Value, " renewed"...)
						}
					}
					ws = append(ws, w)
				}
				recs, err := s.Commit(ctx, ws...)
				var conflict *store.ConflictError
				if errors.As(err, &conflict) {
					continue
				}
				if err != nil {
					fail <- err
					return
				}
				mu.Lock()
				for j, rec := range recs {
					acked[rec.Revision] = ws[j]
				}
				mu.Unlock()
				if cur, err := s.Get(ws[0].Key); err == nil && cur.Revision < recs[0].Revision {
					fail <- fmt.Errorf("a writer does not see its own write of %s at %d", ws[0].Key, recs[0].Revision)
					return
				}
			}
		})
	}
	wg.Wait()
	commit(t, s, set(end, "end"))
	acked[s.Revision()] = set(end, "end")
	watchers.Wait()
	select {
	case err := <-fail:
		t.Fatal(err)
	default:
	}

	rep := replica()
	err := rep.Follow(ctx, watch(t, s, store.WatchQuery{Prefix: "pods", From: begin.Revision}), s.Revision(), func(ev store.Event) {
		w, ok := acked[ev.Revision]
		delete(acked, ev.Revision)
		rec := ev.Record
		if rec == nil {
			rec = ev.Prev
		}
		if !ok || w.Key != rec.Key || w.Delete != (ev.Record == nil) || !w.Delete && string(w.Value) != string(rec.Value) {
			t.Errorf("revision %d: watch has %q, the writer was told %+v", ev.Revision, show(ev), w)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for rev, w := range acked {
		if !w.Volatile { // a superseded renewal may be left out of history
			t.Errorf("the watch has nothing at revision %d, the writer was told %+v", rev, w)
		}
	}
	s = reopen(t, s, open)
	if err := rep.Equals(list(t, s, store.ListQuery{})); err != nil {
		t.Fatalf("after a restart: %v", err)
	}
	s.Close()
}

// testIndexModel compares lists by selector with a scan, while objects come, go and change.
func testIndexModel(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	r := newRand(Seed(t), 0)
	one := func(prefix string, n int) string { return fmt.Sprint(prefix, r.IntN(n)) }
	for i := range 1500 {
		k := key(one("ns", 3), one("p", 60))
		if _, err := s.Get(k); err == nil && r.IntN(3) == 0 {
			commit(t, s, store.Write{Key: k, Delete: true})
		} else {
			h := store.Header{Labels: map[string]string{"app": one("a", 5)}, Fields: map[string]string{"node": one("n", 4)}}
			for range r.IntN(3) {
				h.Owners = append(h.Owners, types.UID(one("u", 6)))
			}
			if r.IntN(2) == 0 {
				h.Labels["tier"] = one("t", 2)
			}
			commit(t, s, store.Write{Key: k, Header: h})
		}
		if i%5 != 0 {
			continue
		}
		q := store.ListQuery{Selector: &store.Selector{}, Limit: r.IntN(8)}
		if r.IntN(2) == 0 {
			q.Namespace = one("ns", 3)
		}
		if r.IntN(2) == 0 {
			q.Selector.Labels = parse(t, []string{"app=" + one("a", 6), "tier=t1,app!=a1", "app=" + one("a", 5) + ",tier=t0", "tier"}[r.IntN(4)])
		}
		if r.IntN(3) == 0 {
			q.Selector.Fields = map[string]string{"node": one("n", 4)}
		}
		if r.IntN(3) == 0 {
			q.Selector.Owner = types.UID(one("u", 6))
		}
		if r.IntN(3) == 0 {
			q.After = &store.Key{Namespace: one("ns", 3), Name: one("p", 60)}
		}
		var want []string
		more := false
		for _, rec := range list(t, s, store.ListQuery{}).Records {
			after := q.After == nil || rec.Key.Namespace > q.After.Namespace || rec.Key.Namespace == q.After.Namespace && rec.Key.Name > q.After.Name
			if !after || q.Namespace != "" && rec.Key.Namespace != q.Namespace || !q.Selector.Matches(rec) {
				continue
			}
			if q.Limit > 0 && len(want) == q.Limit {
				more = true
				break
			}
			want = append(want, rec.Key.Namespace+"/"+rec.Key.Name)
		}
		p := list(t, s, q)
		if fmt.Sprint(names(p)) != fmt.Sprint(want) || p.More != more {
			t.Fatalf("step %d, %+v %+v:\ngot  %v, more %v\nwant %v, more %v", i, q, *q.Selector, names(p), p.More, want, more)
		}
	}
}

type regOp struct {
	kind string // get, create, update, delete
	key  string
	at   store.Revision // precondition
}

type regState struct {
	rev store.Revision // 0: absent
}

type regResult struct {
	ok  bool
	rev store.Revision // found or written; for a conflict: what is there
}

// testLinearizable checks a history of reads and conditional writes with porcupine: the state of a key is its revision.
func testLinearizable(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	seed := Seed(t)
	ctx := testContext(t)
	const clients, ops, keys = 6, 120, 3
	begin := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			r := newRand(seed, uint64(c))
			known := map[string]store.Revision{}
			for range ops {
				op := regOp{kind: []string{"get", "create", "update", "delete"}[r.IntN(4)], key: fmt.Sprint(r.IntN(keys))}
				op.at = known[op.key]
				if op.at == 0 && (op.kind == "update" || op.kind == "delete") {
					op.kind = "create"
				}
				var res regResult
				call := time.Since(begin).Nanoseconds()
				if op.kind == "get" {
					if rec, err := s.Get(key("x", op.key)); err == nil {
						res = regResult{true, rec.Revision}
					}
				} else {
					w := store.Write{Key: key("x", op.key), Expect: store.Expect{Revision: op.at}, Delete: op.kind == "delete"}
					if op.kind == "create" {
						w.Expect = store.Expect{Absent: true}
					}
					recs, err := s.Commit(ctx, w)
					var conflict *store.ConflictError
					switch {
					case err == nil:
						res = regResult{true, recs[0].Revision}
					case errors.As(err, &conflict):
						if conflict.Current != nil {
							res.rev = conflict.Current.Revision
						}
					default:
						t.Errorf("commit: %v", err)
						return
					}
				}
				end := time.Since(begin).Nanoseconds()
				known[op.key] = res.rev
				if op.kind == "delete" && res.ok {
					known[op.key] = 0
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: c, Input: op, Output: res, Call: call, Return: end})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got := porcupine.CheckOperationsTimeout(registers, history, 20*time.Second); got != porcupine.Ok {
		t.Fatalf("the history of %d operations is not linearizable: %v", len(history), got)
	}
}

var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, op := range history {
			k := op.Input.(regOp).key
			by[k] = append(by[k], op)
		}
		var out [][]porcupine.Operation
		for _, ops := range by {
			out = append(out, ops)
		}
		return out
	},
	Init: func() any { return regState{} },
	Step: func(state, input, output any) (bool, any) {
		st, op, res := state.(regState), input.(regOp), output.(regResult)
		holds := false
		switch op.kind {
		case "get":
			return res.rev == st.rev, st
		case "create":
			holds = st.rev == 0
		default:
			holds = st.rev == op.at
		}
		if holds != res.ok {
			return false, st
		}
		if !holds {
			return res.rev == st.rev, st
		}
		if op.kind == "delete" {
			return true, regState{}
		}
		return res.rev > st.rev, regState{res.rev}
	},
}
