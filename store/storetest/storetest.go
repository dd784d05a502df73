// Package storetest is the suite that every implementation of [store.Store] must pass: the contract, the guarantees of a watch, and concurrent use
// against simple models. Random tests log their seed; run one again with TENET_SEED.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tenet-run/tenet/store"
)

// Env makes a fresh place for a store and returns a function that opens it. What was closed can be opened again and holds what it held.
type Env func(t *testing.T) (open func() store.Store)

// Run runs the suite, apart from what is named in skip.
func Run(t *testing.T, env Env, skip ...string) {
	for _, c := range []struct {
		name string
		f    func(*testing.T, func() store.Store)
	}{
		{"LifeOfAnObject", testLife},
		{"Preconditions", testPreconditions},
		{"CommitIsAtomic", testAtomic},
		{"Limits", testLimits},
		{"ListOrderAndPages", testPages},
		{"ListSelectors", testSelectors},
		{"ListAtOlderRevision", testListAt},
		{"WatchGuarantees", testWatch},
		{"WatchSelectors", testWatchSelectors},
		{"WatchResumesInsideACommit", testWatchInside},
		{"WatchBookmarks", testBookmarks},
		{"WatchEnds", testWatchEnds},
		{"RecordsAreShared", testShared},
		{"Wait", testWait},
		{"Changed", testChanged},
		{"Restart", testRestart},
		{"RestartResumesWatch", testRestartWatch},
		{"Volatile", testVolatile},
		{"Expiry", testExpiry},
		{"Check", testCheck},
		{"Update", testUpdate},
		{"ConcurrentWritersAndWatchers", testModel},
		{"SelectorsAgainstScan", testIndexModel},
		{"Linearizable", testLinearizable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if slices.Contains(skip, c.name) {
				t.Skip("not for this configuration")
			}
			c.f(t, env(t))
		})
	}
}

// Seed returns the seed of a random test: TENET_SEED, or a new one. It is logged.
func Seed(t testing.TB) uint64 {
	seed := rand.Uint64()
	if v := os.Getenv("TENET_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("TENET_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("TENET_SEED=%d", seed)
	return seed
}

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func key(ns, name string) store.Key { return store.Key{Prefix: "pods", Namespace: ns, Name: name} }

func set(k store.Key, value string) store.Write { return store.Write{Key: k, Value: []byte(value)} }

func commit(t testing.TB, s store.Store, w ...store.Write) []*store.Record {
	t.Helper()
	recs, err := s.Commit(testContext(t), w...)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	if len(recs) != len(w) {
		t.Fatalf("commit of %d writes returned %d records", len(w), len(recs))
	}
	return recs
}

func watch(t testing.TB, s store.Store, q store.WatchQuery) store.Watcher {
	t.Helper()
	w, err := s.Watch(q)
	if err != nil {
		t.Fatalf("watch from %d: %v", q.From, err)
	}
	t.Cleanup(w.Close)
	return w
}

// next reads exactly n events, bookmarks aside.
func next(t testing.TB, w store.Watcher, n int) []store.Event {
	t.Helper()
	var out []store.Event
	ctx := testContext(t)
	for len(out) < n {
		evs, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(out), n, err)
		}
		for _, ev := range evs {
			if ev.Type != store.Bookmark {
				out = append(out, ev)
			}
		}
	}
	if len(out) != n {
		t.Fatalf("got %d events, want %d:\n%s", len(out), n, showEvents(out))
	}
	return out
}

// show is an event in a line: type, name, revision, value before and after.
func show(ev store.Event) string {
	types := [...]string{store.Created: "created", store.Modified: "modified", store.Deleted: "deleted", store.Bookmark: "bookmark"}
	if ev.Type == store.Bookmark {
		return fmt.Sprintf("bookmark @%d", ev.Revision)
	}
	r := ev.Record
	if r == nil {
		r = ev.Prev
	}
	return fmt.Sprintf("%s %s/%s %s->%s", types[ev.Type], r.Key.Namespace, r.Key.Name, value(ev.Prev), value(ev.Record))
}

func value(r *store.Record) string {
	if r == nil {
		return "-"
	}
	if len(r.Value) > 20 {
		return string(r.Value[:20]) + "..."
	}
	return string(r.Value)
}

func showEvents(evs []store.Event) string {
	var s string
	for _, ev := range evs {
		s += fmt.Sprintf("%d: %s\n", ev.Revision, show(ev))
	}
	return s
}

func wantEvents(t testing.TB, got []store.Event, want ...string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || show(got[i]) != want[i] {
			t.Fatalf("got:\n%swant:\n%q", showEvents(got), want)
		}
	}
}

func list(t testing.TB, s store.Store, q store.ListQuery) *store.Page {
	t.Helper()
	if q.Prefix == "" {
		q.Prefix = "pods"
	}
	p, err := s.List(q)
	if err != nil {
		t.Fatalf("list %+v: %v", q, err)
	}
	return p
}

// names lists what is in a page as "ns/name".
func names(p *store.Page) []string {
	out := []string{}
	for _, r := range p.Records {
		out = append(out, r.Key.Namespace+"/"+r.Key.Name)
	}
	return out
}

func wantNames(t testing.TB, p *store.Page, want ...string) {
	t.Helper()
	if got := names(p); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}
