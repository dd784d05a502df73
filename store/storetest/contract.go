package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/store"
)

func testLife(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	if s.Revision() == 0 {
		t.Fatal("a fresh store is at revision 0; 0 means none")
	}
	k := key("default", "a")
	_, err := s.Get(k)
	wantErr(t, err, store.ErrNotFound)
	before := s.Revision()
	r1 := commit(t, s, set(k, "1"))[0]
	if r1.Revision <= before || r1.Created != r1.Revision || s.Revision() != r1.Revision {
		t.Fatalf("created at %d (created %d), store at %d, was at %d", r1.Revision, r1.Created, s.Revision(), before)
	}
	got, err := s.Get(k)
	if err != nil || string(got.Value) != "1" || got.Key != k {
		t.Fatalf("got %+v, %v", got, err)
	}
	r2 := commit(t, s, set(k, "2"))[0]
	if r2.Revision <= r1.Revision || r2.Created != r1.Created {
		t.Fatalf("updated at %d (created %d), created at %d", r2.Revision, r2.Created, r1.Revision)
	}
	if n := s.Count("pods"); n != 1 {
		t.Fatalf("count: got %d, want 1", n)
	}
	if p := s.Prefixes(); len(p) != 1 || p[0] != "pods" {
		t.Fatalf("prefixes: %v", p)
	}
	r3 := commit(t, s, store.Write{Key: k, Delete: true})[0]
	if r3.Revision <= r2.Revision || string(r3.Value) != "2" || r3.Created != r1.Created {
		t.Fatalf("the record of the deletion is %+v", r3)
	}
	_, err = s.Get(k)
	wantErr(t, err, store.ErrNotFound)
	if n, p := s.Count("pods"), s.Prefixes(); n != 0 || len(p) != 0 {
		t.Fatalf("count %d, prefixes %v after the deletion", n, p)
	}
	if r4 := commit(t, s, set(k, "4"))[0]; r4.Created != r4.Revision || r4.Revision <= r3.Revision {
		t.Fatalf("created again at %d, created %d", r4.Revision, r4.Created)
	}
}

func testPreconditions(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	k := key("default", "a")
	r := commit(t, s, set(k, "1"))[0]
	absent := store.Expect{Absent: true}
	at := s.Revision()
	for name, c := range map[string]struct {
		w    store.Write
		want bool // there is a current state
	}{
		"create what exists":      {store.Write{Key: k, Expect: absent}, true},
		"update at another":       {store.Write{Key: k, Expect: store.Expect{Revision: r.Revision + 1}}, true},
		"delete at another":       {store.Write{Key: k, Delete: true, Expect: store.Expect{Revision: r.Revision - 1}}, true},
		"update what is not":      {store.Write{Key: key("default", "b"), Expect: store.Expect{Revision: r.Revision}}, false},
		"delete what is not":      {store.Write{Key: key("default", "b"), Delete: true}, false},
		"delete what is not, at":  {store.Write{Key: key("default", "b"), Delete: true, Expect: store.Expect{Revision: 1}}, false},
		"delete what must not be": {store.Write{Key: k, Delete: true, Expect: absent}, true},
	} {
		_, err := s.Commit(testContext(t), set(key("default", "other"), "x"), c.w)
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) {
			t.Fatalf("%s: got %v, want a conflict", name, err)
		}
		if conflict.Index != 1 || conflict.Key != c.w.Key || (conflict.Current != nil) != c.want || c.want && conflict.Current != mustGet(t, s, k) {
			t.Fatalf("%s: got %+v", name, conflict)
		}
	}
	if s.Revision() != at {
		t.Fatalf("failed commits moved the revision from %d to %d", at, s.Revision())
	}
	_, err := s.Get(key("default", "other"))
	wantErr(t, err, store.ErrNotFound)
	commit(t, s, store.Write{Key: k, Value: []byte("2"), Expect: store.Expect{Revision: r.Revision}})
	commit(t, s, store.Write{Key: key("default", "b"), Expect: absent})
}

func mustGet(t testing.TB, s store.Store, k store.Key) *store.Record {
	t.Helper()
	r, err := s.Get(k)
	if err != nil {
		t.Fatalf("get %s: %v", k, err)
	}
	return r
}

func testAtomic(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	other := store.Key{Prefix: "configmaps", Namespace: "default", Name: "a"}
	recs := commit(t, s, set(key("default", "a"), "1"), set(other, "1"), set(key("default", "b"), "1"))
	for i, r := range recs {
		if r.Revision != recs[0].Revision+store.Revision(i) {
			t.Fatalf("write %d has revision %d, the first %d", i, r.Revision, recs[0].Revision)
		}
	}
	if _, err := s.Commit(testContext(t), set(other, "2"), set(other, "3")); err == nil {
		t.Fatal("a commit wrote one key twice")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Commit(ctx, set(other, "2"))
	wantErr(t, err, context.Canceled)
}

func testLimits(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	var ws []store.Write
	for i := range store.MaxWrites {
		ws = append(ws, set(key("default", fmt.Sprint(i)), "x"))
	}
	commit(t, s, ws...)
	_, err := s.Commit(testContext(t), append(ws, set(key("default", "more"), "x"))...)
	wantErr(t, err, store.ErrTooLarge)
	_, err = s.Commit(testContext(t), store.Write{Key: key("default", "big"), Value: make([]byte, store.MaxBytes+1)})
	wantErr(t, err, store.ErrTooLarge)
	commit(t, s, store.Write{Key: key("default", "big"), Value: make([]byte, store.MaxBytes-1000)})
}

func testPages(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	wantNames(t, list(t, s, store.ListQuery{}))
	for _, n := range []string{"b/1", "a/2", "a/10", "ab/1", "a/1", "c/1"} {
		ns, name, _ := cut(n)
		commit(t, s, set(key(ns, name), n))
	}
	commit(t, s, set(store.Key{Prefix: "podsx", Namespace: "a", Name: "x"}, "x"))
	all := []string{"a/1", "a/10", "a/2", "ab/1", "b/1", "c/1"}
	p := list(t, s, store.ListQuery{})
	wantNames(t, p, all...)
	if p.More || p.Revision != s.Revision() {
		t.Fatalf("more %v at %d, store at %d", p.More, p.Revision, s.Revision())
	}
	wantNames(t, list(t, s, store.ListQuery{Namespace: "a"}), "a/1", "a/10", "a/2")
	wantNames(t, list(t, s, store.ListQuery{Namespace: "zz"}))
	wantNames(t, list(t, s, store.ListQuery{Namespace: "b", After: &store.Key{Namespace: "a", Name: "2"}}), "b/1")
	wantNames(t, list(t, s, store.ListQuery{Namespace: "a", After: &store.Key{Namespace: "b", Name: "1"}}))

	// Pages of a consistent snapshot, whatever happens meanwhile.
	var got []string
	q := store.ListQuery{Limit: 2}
	for i := 0; ; i++ {
		p := list(t, s, q)
		got = append(got, names(p)...)
		if q.At != 0 && p.Revision != q.At {
			t.Fatalf("page at %d, asked for %d", p.Revision, q.At)
		}
		q.At = p.Revision
		if want := int64(len(all) - len(got)); p.Remaining != want || p.More != (want > 0) {
			t.Fatalf("page %d: remaining %d, more %v; want %d", i, p.Remaining, p.More, want)
		}
		if !p.More {
			break
		}
		q.After = &p.Records[len(p.Records)-1].Key
		commit(t, s, set(key("b", fmt.Sprintf("new-%d", i)), "x"))
		if i == 0 {
			commit(t, s, store.Write{Key: key("b", "1"), Delete: true}, set(key("c", "1"), "changed"))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(all) {
		t.Fatalf("paged: got %v, want %v", got, all)
	}
	_, err := s.List(store.ListQuery{Prefix: "pods", At: s.Revision() + 1})
	wantErr(t, err, store.ErrFuture)
}

func cut(n string) (ns, name string, ok bool) {
	for i := range n {
		if n[i] == '/' {
			return n[:i], n[i+1:], true
		}
	}
	return "", n, false
}

func parse(t testing.TB, s string) labels.Selector {
	t.Helper()
	sel, err := labels.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

func testSelectors(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	put := func(ns, name string, l map[string]string, node string, owners ...types.UID) {
		commit(t, s, store.Write{Key: key(ns, name), Header: store.Header{Labels: l, Fields: map[string]string{"spec.nodeName": node}, Owners: owners}})
	}
	web, db := map[string]string{"app": "web"}, map[string]string{"app": "db", "tier": "back"}
	put("a", "1", web, "n1", "u1")
	put("a", "2", db, "n1")
	put("b", "1", web, "n2", "u1", "u2")
	put("b", "2", nil, "")
	check := func(ns string, sel store.Selector, want ...string) {
		t.Helper()
		wantNames(t, list(t, s, store.ListQuery{Namespace: ns, Selector: &sel}), want...)
	}
	for range 2 { // the second time by the index that the first made
		check("", store.Selector{}, "a/1", "a/2", "b/1", "b/2")
		check("", store.Selector{Labels: parse(t, "app=web")}, "a/1", "b/1")
		check("a", store.Selector{Labels: parse(t, "app=web")}, "a/1")
		check("", store.Selector{Labels: parse(t, "app in (web,db)")}, "a/1", "a/2", "b/1")
		check("", store.Selector{Labels: parse(t, "app=db,tier!=front")}, "a/2")
		check("", store.Selector{Labels: parse(t, "app=web,tier=back")})
		check("", store.Selector{Labels: parse(t, "!app")}, "b/2")
		check("", store.Selector{Labels: parse(t, "app=none")})
		check("", store.Selector{Fields: map[string]string{"spec.nodeName": "n1"}}, "a/1", "a/2")
		check("", store.Selector{Fields: map[string]string{"spec.nodeName": ""}}, "b/2")
		check("", store.Selector{Not: map[string][]string{"spec.nodeName": {""}}}, "a/1", "a/2", "b/1")
		check("", store.Selector{Fields: map[string]string{"metadata.name": "1"}}, "a/1", "b/1")
		check("b", store.Selector{Fields: map[string]string{"metadata.name": "1"}}, "b/1")
		check("b", store.Selector{Fields: map[string]string{"metadata.name": "3"}})
		check("", store.Selector{Fields: map[string]string{"metadata.namespace": "a"}}, "a/1", "a/2")
		check("b", store.Selector{Fields: map[string]string{"metadata.namespace": "a"}})
		check("", store.Selector{Owner: "u1"}, "a/1", "b/1")
		check("", store.Selector{Owner: "u2", Labels: parse(t, "app=web")}, "b/1")
	}
	put("a", "1", db, "n2")                                       // leaves and enters
	commit(t, s, store.Write{Key: key("b", "1"), Delete: true})   // leaves all
	put("c", "1", map[string]string{"app": "web"}, "n9", "u1")    // enters
	check("", store.Selector{Labels: parse(t, "app=web")}, "c/1") //
	check("", store.Selector{Labels: parse(t, "app=db")}, "a/1", "a/2")
	check("", store.Selector{Owner: "u1"}, "c/1")
	check("", store.Selector{Owner: "u2"})
	check("", store.Selector{Fields: map[string]string{"spec.nodeName": "n2"}}, "a/1")

	p := list(t, s, store.ListQuery{Limit: 1, Selector: &store.Selector{Labels: parse(t, "app=db")}})
	wantNames(t, p, "a/1")
	if !p.More || p.Remaining != -1 {
		t.Fatalf("more %v, remaining %d", p.More, p.Remaining)
	}
	put("a", "2", nil, "")
	p = list(t, s, store.ListQuery{Limit: 1, At: p.Revision, After: &p.Records[0].Key, Selector: &store.Selector{Labels: parse(t, "app=db")}})
	wantNames(t, p, "a/2")
	if p.More {
		t.Fatal("more after the last")
	}
}

func testListAt(t *testing.T, open func() store.Store) {
	s := open()
	r := newRand(Seed(t), 0)
	want := map[store.Revision]string{s.Revision(): ""}
	state := func(q store.ListQuery) string {
		out := ""
		for _, rec := range list(t, s, q).Records {
			out += fmt.Sprintf("%s=%s@%d ", rec.Key, rec.Value, rec.Revision)
		}
		return out
	}
	for i := range 300 {
		k := key("a", fmt.Sprint(r.IntN(10)))
		if _, err := s.Get(k); err == nil && r.IntN(3) == 0 {
			commit(t, s, store.Write{Key: k, Delete: true})
		} else {
			commit(t, s, set(k, fmt.Sprint(i)), set(store.Key{Prefix: "x", Name: "x"}, "x"))
		}
		want[s.Revision()] = state(store.ListQuery{})
	}
	check := func() {
		t.Helper()
		for at, w := range want {
			if got := state(store.ListQuery{At: at}); got != w {
				t.Fatalf("at %d of %d:\ngot  %s\nwant %s", at, s.Revision(), got, w)
			}
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	check()
}

func testShared(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	w := watch(t, s, store.WatchQuery{Prefix: "pods"})
	w2 := watch(t, s, store.WatchQuery{Prefix: "pods", Selector: &store.Selector{Not: map[string][]string{"metadata.name": {"x"}}}})
	r1 := commit(t, s, set(key("a", "1"), "1"))[0]
	r2 := commit(t, s, set(key("a", "1"), "2"))[0]
	for _, w := range []store.Watcher{w, w2} {
		evs := next(t, w, 2)
		if evs[0].Record != r1 || evs[1].Prev != r1 || evs[1].Record != r2 {
			t.Fatal("events do not share the records that Commit returned")
		}
	}
	if mustGet(t, s, r2.Key) != r2 || list(t, s, store.ListQuery{}).Records[0] != r2 {
		t.Fatal("Get and List do not share the record that Commit returned")
	}
}

func testWait(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	at := s.Revision()
	if err := s.Wait(testContext(t), at); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	wantErr(t, s.Wait(ctx, at+5), store.ErrFuture)
	done := make(chan error)
	go func() { done <- s.Wait(testContext(t), at+2) }()
	commit(t, s, set(key("a", "1"), "1"))
	select {
	case err := <-done:
		t.Fatalf("returned before its time: %v", err)
	default:
	}
	commit(t, s, set(key("a", "1"), "2"))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func testUpdate(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	k := key("a", "counter")
	const writers, each = 8, 25
	errs := make(chan error, writers)
	for range writers {
		go func() {
			var err error
			for range each {
				_, err = store.Update(testContext(t), s, k, func(r *store.Record) (*store.Write, error) {
					var n int
					if r != nil {
						fmt.Sscan(string(r.Value), &n)
					}
					return &store.Write{Value: fmt.Append(nil, n+1)}, nil
				})
				if err != nil {
					break
				}
			}
			errs <- err
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if got := string(mustGet(t, s, k).Value); got != fmt.Sprint(writers*each) {
		t.Fatalf("counted to %s, want %d", got, writers*each)
	}
	before := s.Revision()
	r, err := store.Update(testContext(t), s, k, func(*store.Record) (*store.Write, error) { return nil, nil })
	if err != nil || r != mustGet(t, s, k) || s.Revision() != before {
		t.Fatalf("an update that changes nothing: %v, %v", r, err)
	}
	boom := errors.New("boom")
	_, err = store.Update(testContext(t), s, k, func(*store.Record) (*store.Write, error) { return nil, boom })
	wantErr(t, err, boom)
}

// testChanged: the number of a prefix moves with each of its changes before Commit returns, and not with those of others.
func testChanged(t *testing.T, open func() store.Store) {
	s := open()
	defer s.Close()
	pods, others := s.Changed("pods"), s.Changed("configmaps")
	if s.Changed("pods") != pods {
		t.Fatal("two numbers for one prefix")
	}
	key := store.Key{Prefix: "pods", Namespace: "a", Name: "x"}
	seen := map[uint64]bool{pods.Load(): true}
	still := others.Load()
	for i, w := range []store.Write{
		{Key: key, Value: []byte("1"), Expect: store.Expect{Absent: true}}, {Key: key, Value: []byte("2")}, {Key: key, Value: []byte("3"), Volatile: true}, {Key: key, Delete: true},
	} {
		if _, err := s.Commit(testContext(t), w); err != nil {
			t.Fatal(err)
		}
		if now := pods.Load(); seen[now] {
			t.Errorf("write %d: the number is %d again", i, now)
		} else {
			seen[now] = true
		}
	}
	if others.Load() != still {
		t.Error("the number of another prefix moved")
	}
	if got := s.Prefixes(); len(got) != 0 {
		t.Errorf("prefixes %v, and nothing is stored", got)
	}
}
