package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tenet-run/tenet/store"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openMem(t testing.TB, fs vfs.FS, change func(*Options)) *Store {
	t.Helper()
	o := Options{Dir: "data/store", FS: fs, Logger: quiet()}
	if change != nil {
		change(&o)
	}
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func pod(i int) store.Key {
	return store.Key{Prefix: "pods", Namespace: fmt.Sprintf("ns-%d", i%3), Name: fmt.Sprintf("pod-%05d", i)}
}

func put(t testing.TB, s store.Store, w ...store.Write) []*store.Record {
	t.Helper()
	recs, err := s.Commit(context.Background(), w...)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return recs
}

// TestBubble proves that the store lives in a synctest bubble: time passes when all is idle, and no goroutine is left after Close.
func TestBubble(t *testing.T) {
	for range 2 { // Pebble pools objects across stores; none may be bound to the first bubble
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			fs := vfs.NewMem()
			s := openMem(t, fs, nil)
			w, err := s.Watch(store.WatchQuery{Prefix: "pods", Bookmarks: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, store.Write{Key: pod(1), Value: []byte("a")})
			evs, err := w.Next(ctx)
			if err != nil || len(evs) != 1 || evs[0].Type != store.Created {
				t.Fatalf("got %v, %v; want one Created", evs, err)
			}
			begin := time.Now()
			time.Sleep(24 * time.Hour)
			if d := time.Since(begin); d != 24*time.Hour {
				t.Fatalf("a day took %v", d)
			}
			put(t, s, store.Write{Key: store.Key{Prefix: "leases", Name: "a"}, Value: []byte("a")})
			evs, err = w.Next(ctx)
			if err != nil || len(evs) != 1 || evs[0].Type != store.Bookmark || evs[0].Revision != s.Revision() {
				t.Fatalf("got %v, %v; want a bookmark", evs, err)
			}
			// An hour of renewals, many commits at once.
			rec, _ := s.Get(store.Key{Prefix: "leases", Name: "a"})
			for i := range 360 {
				rec = put(t, s, store.Write{Key: rec.Key, Value: []byte{byte(i)}, Volatile: true, Expect: store.Expect{Revision: rec.Revision}})[0]
				time.Sleep(10 * time.Second)
			}
			for i := range 20_000 { // through flushes and compactions
				if i%100 == 0 {
					var ws []store.Write
					for j := range 100 {
						ws = append(ws, store.Write{Key: pod(i + j), Value: make([]byte, 1000)})
					}
					put(t, s, ws...)
				}
			}
			w.Close()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openMem(t, fs, nil)
			if got := s.Count("pods"); got != 20_000 {
				t.Fatalf("got %d pods after reopening", got)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	s := openMem(t, vfs.NewMem(), nil) // and outside of any
	put(t, s, store.Write{Key: pod(1), Value: []byte("a")})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		s := openMem(t, fs, nil)
		for i := range 250 {
			put(t, s, store.Write{Key: pod(i), Value: []byte("a"), Header: store.Header{Expires: time.Now().Add(time.Hour)}})
		}
		put(t, s, store.Write{Key: pod(1), Value: []byte("b"), Header: store.Header{Expires: time.Now().Add(2 * time.Hour)}})
		put(t, s, store.Write{Key: pod(2), Value: []byte("b")})
		time.Sleep(30 * time.Minute)
		s.Close()
		s = openMem(t, fs, nil)
		defer s.Close()
		w, err := s.Watch(store.WatchQuery{Prefix: "pods"})
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Count("pods"); n != 250 {
			t.Fatalf("got %d before the time has come", n)
		}
		time.Sleep(30*time.Minute + time.Second)
		synctest.Wait()
		if n := s.Count("pods"); n != 2 {
			t.Fatalf("got %d objects an hour later, want 2", n)
		}
		seen := 0
		for seen < 248 {
			evs, err := w.Next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range evs {
				if ev.Type != store.Deleted || ev.Prev == nil {
					t.Fatalf("got %+v, want Deleted", ev)
				}
				seen++
			}
		}
		time.Sleep(2 * time.Hour)
		if _, err := s.Get(pod(1)); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("got %v", err)
		}
	})
}
