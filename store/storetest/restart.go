package storetest

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/store"
)

func reopen(t testing.TB, s store.Store, open func() store.Store) store.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return open()
}

func testRestart(t *testing.T, open func() store.Store) {
	s := open()
	h := store.Header{UID: "uid-1", Labels: map[string]string{"a": "b", "c": ""}, Owners: []types.UID{"o1", "o2"},
		Fields: map[string]string{"f": "g"}, Expires: time.Now().Add(time.Hour)}
	k := key("x", "a")
	commit(t, s, set(k, "1"))
	r := commit(t, s, store.Write{Key: k, Header: h, Value: []byte("two")})[0]
	commit(t, s, set(key("x", "gone"), "1"))
	commit(t, s, store.Write{Key: key("x", "gone"), Delete: true})
	at := s.Revision()
	for range 3 {
		s = reopen(t, s, open)
		if s.Revision() != at {
			t.Fatalf("at %d after a restart, want %d", s.Revision(), at)
		}
		got := mustGet(t, s, k)
		g := got.Header
		if string(got.Value) != "two" || got.Revision != r.Revision || got.Created != r.Created || got.Key != k || g.UID != h.UID ||
			!maps.Equal(g.Labels, h.Labels) || !maps.Equal(g.Fields, h.Fields) || len(g.Owners) != 2 || g.Owners[1] != "o2" || !g.Expires.Equal(h.Expires) {
			t.Fatalf("got %+v, want %+v", got, r)
		}
		_, err := s.Get(key("x", "gone"))
		wantErr(t, err, store.ErrNotFound)
	}
	if next := commit(t, s, set(k, "3"))[0]; next.Revision != at+1 {
		t.Fatalf("first write after a restart at %d has revision %d", at, next.Revision)
	}
	s.Close()
}

func testRestartWatch(t *testing.T, open func() store.Store) {
	s := open()
	from := s.Revision()
	var want []string
	for i := range 40 {
		k := key("x", fmt.Sprint(i%5))
		commit(t, s, set(key("y", "noise"), "x"), set(store.Key{Prefix: "other", Name: "noise"}, "x"))
		commit(t, s, set(k, fmt.Sprint(i)))
		if i%7 == 6 {
			commit(t, s, store.Write{Key: k, Delete: true})
		}
	}
	w := watch(t, s, store.WatchQuery{Prefix: "pods", Namespace: "x", From: from})
	evs := next(t, w, 45)
	for _, ev := range evs {
		want = append(want, show(ev))
	}
	s = reopen(t, s, open)
	defer s.Close()
	for i := 0; i < len(evs)-1; i += 4 {
		w := watch(t, s, store.WatchQuery{Prefix: "pods", Namespace: "x", From: evs[i].Revision})
		got := next(t, w, len(evs)-1-i)
		wantEvents(t, got, want[i+1:]...)
		for j := range got {
			if got[j].Revision != evs[i+1+j].Revision {
				t.Fatalf("event %d has revision %d, had %d", j, got[j].Revision, evs[i+1+j].Revision)
			}
		}
	}
	last := watch(t, s, store.WatchQuery{Prefix: "pods", Namespace: "x", From: evs[30].Revision})
	commit(t, s, set(key("x", "new"), "new"))
	got := next(t, last, len(evs)-31+1)
	wantEvents(t, got, append(want[31:], "created x/new -->new")...)
}

func testVolatile(t *testing.T, open func() store.Store) {
	s := open()
	k := store.Key{Prefix: "leases", Namespace: "x", Name: "node"}
	r := commit(t, s, store.Write{Key: k, Value: []byte("0"), Volatile: true})[0]
	w := watch(t, s, store.WatchQuery{Prefix: "leases", From: r.Revision})
	for i := 1; i <= 50; i++ {
		r = commit(t, s, store.Write{Key: k, Value: fmt.Append(nil, i), Volatile: true, Expect: store.Expect{Revision: r.Revision}})[0]
		if got := mustGet(t, s, k); got != r {
			t.Fatalf("got %s, want %s", value(got), value(r))
		}
	}
	next(t, w, 50)
	if diff, err := s.Check(testContext(t)); err != nil || len(diff) > 0 {
		t.Fatalf("check: %v, %v", diff, err)
	}
	r = commit(t, s, store.Write{Key: k, Value: []byte("last"), Volatile: true})[0]
	at := s.Revision()
	s = reopen(t, s, open)
	defer s.Close()
	if got := mustGet(t, s, k); string(got.Value) != "last" || got.Revision != r.Revision || s.Revision() < at {
		t.Fatalf("after a clean restart got %s at %d (store at %d), want the last at %d (store at %d)", value(got), got.Revision, s.Revision(), r.Revision, at)
	}
	commit(t, s, store.Write{Key: k, Delete: true, Volatile: true})
}

func testExpiry(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	w := watch(t, s, store.WatchQuery{Prefix: "events"})
	k := store.Key{Prefix: "events", Namespace: "x", Name: "e"}
	commit(t, s, store.Write{Key: k, Value: []byte("1"), Header: store.Header{Expires: time.Now().Add(10 * time.Millisecond)}})
	evs := next(t, w, 2)
	wantEvents(t, evs, "created x/e -->1", "deleted x/e 1->-")
	if evs[1].Revision <= evs[0].Revision {
		t.Fatal("the deletion has no revision of its own")
	}
	_, err := s.Get(k)
	wantErr(t, err, store.ErrNotFound)
}

func testCheck(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	for i := range 100 {
		commit(t, s, set(key("x", fmt.Sprint(i%60)), fmt.Sprint(i)))
	}
	for i := range 20 {
		commit(t, s, store.Write{Key: key("x", fmt.Sprint(i)), Delete: true})
	}
	diff, err := s.Check(testContext(t))
	if err != nil || len(diff) > 0 {
		t.Fatalf("check of a sound store: %v, %v", diff, errors.Join(err))
	}
}
