package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tenet-run/tenet/store"
)

func testWatch(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	from := s.Revision()
	live := watch(t, s, store.WatchQuery{Prefix: "pods"})
	a, b := key("x", "a"), key("y", "b")
	commit(t, s, set(a, "1"))
	commit(t, s, set(a, "2"), set(b, "1"), set(store.Key{Prefix: "other", Name: "o"}, "1"))
	commit(t, s, store.Write{Key: a, Delete: true})
	commit(t, s, set(a, "3"))
	want := []string{"created x/a -->1", "modified x/a 1->2", "created y/b -->1", "deleted x/a 2->-", "created x/a -->3"}
	evs := next(t, live, 5)
	wantEvents(t, evs, want...)
	past := watch(t, s, store.WatchQuery{Prefix: "pods", From: from})
	wantEvents(t, next(t, past, 5), want...)
	for i := range evs { // from each revision all that came after it
		if i == len(evs)-1 {
			break
		}
		w := watch(t, s, store.WatchQuery{Prefix: "pods", From: evs[i].Revision})
		wantEvents(t, next(t, w, len(evs)-1-i), want[i+1:]...)
	}
	ns := watch(t, s, store.WatchQuery{Prefix: "pods", Namespace: "y", From: from})
	wantEvents(t, next(t, ns, 1), "created y/b -->1")

	_, err := s.Watch(store.WatchQuery{Prefix: "pods", From: s.Revision() + 1})
	wantErr(t, err, store.ErrFuture)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = live.Next(ctx)
	wantErr(t, err, context.DeadlineExceeded)
	commit(t, s, set(a, "4")) // and goes on after that
	wantEvents(t, next(t, live, 1), "modified x/a 3->4")
}

func testWatchSelectors(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	from := s.Revision()
	put := func(name, app, node string) {
		commit(t, s, store.Write{Key: key("x", name), Value: []byte(app + node), Header: store.Header{
			Labels: map[string]string{"app": app}, Fields: map[string]string{"spec.nodeName": node}}})
	}
	byLabel := &store.Selector{Labels: parse(t, "app=web")}
	byNode := &store.Selector{Fields: map[string]string{"spec.nodeName": "n1"}}
	byName := &store.Selector{Fields: map[string]string{"metadata.name": "b"}}
	queries := map[string]store.WatchQuery{
		"label":     {Selector: byLabel},
		"node":      {Selector: byNode},
		"name":      {Selector: byName},
		"name in x": {Selector: byName, Namespace: "x"},
		"elsewhere": {Namespace: "elsewhere"},
	}
	live := map[string]store.Watcher{}
	for n, q := range queries {
		q.Prefix = "pods"
		live[n] = watch(t, s, q)
	}
	put("a", "web", "")
	put("b", "db", "n2")
	put("a", "web", "n1")
	put("a", "db", "n1")
	put("b", "web", "n1")
	put("a", "db", "n2")
	commit(t, s, store.Write{Key: key("x", "b"), Delete: true})
	commit(t, s, set(key("elsewhere", "end"), ""))
	want := map[string][]string{
		"label":     {"created x/a -->web", "modified x/a web->webn1", "modified x/a webn1->dbn1", "modified x/b dbn2->webn1", "deleted x/b webn1->-"},
		"node":      {"modified x/a web->webn1", "modified x/a webn1->dbn1", "modified x/b dbn2->webn1", "modified x/a dbn1->dbn2", "deleted x/b webn1->-"},
		"name":      {"created x/b -->dbn2", "modified x/b dbn2->webn1", "deleted x/b webn1->-"},
		"name in x": {"created x/b -->dbn2", "modified x/b dbn2->webn1", "deleted x/b webn1->-"},
		"elsewhere": {"created elsewhere/end -->"},
	}
	for n, q := range queries {
		wantEvents(t, next(t, live[n], len(want[n])), want[n]...)
		q.Prefix, q.From = "pods", from
		wantEvents(t, next(t, watch(t, s, q), len(want[n])), want[n]...)
	}
}

func testWatchInside(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	recs := commit(t, s, set(key("x", "a"), "1"), set(key("x", "b"), "1"), set(key("x", "c"), "1"))
	w := watch(t, s, store.WatchQuery{Prefix: "pods", From: recs[0].Revision})
	wantEvents(t, next(t, w, 2), "created x/b -->1", "created x/c -->1")

	// The events of one commit come in one batch, however many there are before them.
	w = watch(t, s, store.WatchQuery{Prefix: "pods"})
	w2 := watch(t, s, store.WatchQuery{Prefix: "pods", Selector: &store.Selector{Not: map[string][]string{"metadata.name": {"none"}}}})
	const commits, each = 60, 37
	for i := range commits {
		var ws []store.Write
		for j := range each {
			ws = append(ws, set(key("x", fmt.Sprintf("%d-%d", i, j)), fmt.Sprint(i)))
		}
		commit(t, s, ws...)
	}
	for _, w := range []store.Watcher{w, w2} {
		for got := 0; got < commits*each; {
			evs, err := w.Next(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			got += len(evs)
			if got%each != 0 {
				t.Fatalf("a batch of %d events ends inside a commit", len(evs))
			}
		}
	}
}

func testBookmarks(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	w := watch(t, s, store.WatchQuery{Prefix: "pods", Bookmarks: 20 * time.Millisecond})
	commit(t, s, set(key("x", "a"), "1"))
	commit(t, s, set(store.Key{Prefix: "other", Name: "o"}, "1"))
	at := s.Revision()
	var last store.Revision
	seen := false
	for ctx := testContext(t); last < at; {
		select { // a reader may wait on Ready
		case <-w.Ready():
		case <-ctx.Done():
			t.Fatalf("no bookmark at %d", at)
		}
		evs, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range evs {
			if ev.Revision < last {
				t.Fatalf("revision went back from %d to %d", last, ev.Revision)
			}
			last = ev.Revision
			if ev.Type == store.Bookmark {
				if ev.Record != nil || ev.Prev != nil || !seen {
					t.Fatalf("bookmark %+v; the event before it was seen: %v", ev, seen)
				}
			} else {
				seen = true
			}
		}
	}
}

func testWatchEnds(t *testing.T, open func() store.Store) {
	s := open()
	w, err := s.Watch(store.WatchQuery{Prefix: "pods"})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	w.Close()
	_, err = w.Next(testContext(t))
	wantErr(t, err, store.ErrClosed)

	w, err = s.Watch(store.WatchQuery{Prefix: "pods"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := w.Next(testContext(t))
		ended <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, <-ended, store.ErrClosed)
	<-w.Ready()
	w.Close()
	_, err = s.Commit(testContext(t), set(key("x", "a"), "1"))
	wantErr(t, err, store.ErrClosed)
	_, err = s.Watch(store.WatchQuery{Prefix: "pods"})
	wantErr(t, err, store.ErrClosed)
	if err := s.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
}
