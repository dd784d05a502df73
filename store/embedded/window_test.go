package embedded

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/store"
)

func selectApp(t testing.TB, s string) *store.Selector {
	t.Helper()
	sel, err := labels.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return &store.Selector{Labels: sel}
}

// entriesOnDisk counts the entries of the log.
func entriesOnDisk(t *testing.T, s *Store) (n int) {
	t.Helper()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: logBegin, UpperBound: logEnd})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		n++
	}
	return n
}

// TestWindow: what is beyond the window goes from disk, the newest state of each key and the state before each change in the window stay.
func TestWindow(t *testing.T) {
	for name, w := range map[string]Window{"bytes": {MaxBytes: 5000}, "age": {MaxAge: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := vfs.NewMem()
				opts := func(o *Options) { o.Window = w }
				s := openMem(t, fs, opts)
				from := s.Revision()
				for i := range 1000 {
					put(t, s, store.Write{Key: pod(i % 10), Value: fmt.Appendf(nil, "%d 0 1", i)})
					time.Sleep(2 * time.Second)
				}
				if name == "age" {
					time.Sleep(5 * time.Minute) // idle trimming
				}
				if n := entriesOnDisk(t, s); n > 120 {
					t.Fatalf("%d entries on disk", n)
				}
				_, err := s.Watch(store.WatchQuery{Prefix: "pods", From: from})
				if !errors.Is(err, store.ErrExpired) {
					t.Fatalf("watch before the window: %v", err)
				}
				_, err = s.List(store.ListQuery{Prefix: "pods", At: s.Oldest() - 1})
				if !errors.Is(err, store.ErrExpired) {
					t.Fatalf("list before the window: %v", err)
				}
				put(t, s, store.Write{Key: pod(3), Value: []byte("new 0 1")})
				s.Close()
				s = openMem(t, fs, opts)
				defer s.Close()
				if err := verifyHistory(context.Background(), s, "pods"); err != nil {
					t.Fatal(err)
				}
				wa, err := s.Watch(store.WatchQuery{Prefix: "pods", From: s.Oldest()})
				if err != nil {
					t.Fatal(err)
				}
				evs, err := wa.Next(context.Background())
				if err != nil || evs[0].Prev == nil {
					t.Fatalf("the state before the oldest change in the window is gone: %v, %v", evs, err)
				}
				for i := range 10 {
					put(t, s, store.Write{Key: pod(i), Delete: true})
					time.Sleep(3 * time.Second)
				}
				if name == "age" {
					time.Sleep(5 * time.Minute)
					if n := entriesOnDisk(t, s); n != 0 {
						t.Fatalf("%d entries on disk of a store that is empty and idle", n)
					}
					put(t, s, store.Write{Key: pod(1)})
					if got := put(t, s, store.Write{Key: pod(2)})[0].Revision; got < 1013 {
						t.Fatalf("revision went back to %d", got)
					}
				}
			})
		})
	}
}

// TestSlowWatcher: a watcher that does not read holds nobody up, and is cut off when what it missed has left the window.
func TestSlowWatcher(t *testing.T) {
	s := openMem(t, vfs.NewMem(), func(o *Options) { o.Window.MaxBytes, o.Memory.MaxBytes = 20_000, 20_000 })
	defer s.Close()
	slow, err := s.Watch(store.WatchQuery{Prefix: "pods"})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := s.Watch(store.WatchQuery{Prefix: "pods", Namespace: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	fast, err := s.Watch(store.WatchQuery{Prefix: "pods"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		put(t, s, store.Write{Key: pod(1), Value: make([]byte, 1000)})
		if evs, err := fast.Next(context.Background()); err != nil || len(evs) != 1 {
			t.Fatalf("write %d: %d events, %v", i, len(evs), err)
		}
	}
	if _, err := slow.Next(context.Background()); !errors.Is(err, store.ErrExpired) {
		t.Fatalf("slow watcher: %v", err)
	}
	// One that had nothing to read was never slow.
	put(t, s, store.Write{Key: store.Key{Prefix: "pods", Namespace: "elsewhere", Name: "a"}})
	if evs, err := elsewhere.Next(context.Background()); err != nil || len(evs) != 1 {
		t.Fatalf("idle watcher: %v, %v", evs, err)
	}
}

// TestLostRenewals: after a crash that lost volatile writes, their revisions are neither handed out again nor served.
func TestLostRenewals(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := openMem(t, fs, nil)
	lease := store.Key{Prefix: "leases", Name: "a"}
	durable := put(t, s, store.Write{Key: lease, Value: []byte("durable")})[0]
	put(t, s, store.Write{Key: lease, Value: []byte("saved"), Volatile: true}) // the first one reserves, with an fsync
	var lost store.Revision
	for range 10 {
		lost = put(t, s, store.Write{Key: lease, Value: []byte("lost"), Volatile: true})[0].Revision
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	s.Close()
	for range 2 {
		s = openMem(t, after, nil)
		if s.Revision() < lost {
			t.Fatalf("at %d; %d was handed out", s.Revision(), lost)
		}
		if r, err := s.Get(lease); err != nil || string(r.Value) != "saved" || r.Revision <= durable.Revision {
			t.Fatalf("got %v, %v", r, err)
		}
		if _, err := s.Watch(store.WatchQuery{Prefix: "leases", From: lost}); !errors.Is(err, store.ErrExpired) {
			t.Fatalf("watch from a lost revision: %v", err)
		}
		if _, err := s.List(store.ListQuery{Prefix: "leases", At: lost}); !errors.Is(err, store.ErrExpired) {
			t.Fatalf("list at a lost revision: %v", err)
		}
		w, err := s.Watch(store.WatchQuery{Prefix: "leases", From: durable.Revision})
		if err != nil {
			t.Fatal(err)
		}
		if evs, err := w.Next(context.Background()); err != nil || len(evs) != 1 || string(evs[0].Record.Value) != "saved" {
			t.Fatalf("got %v, %v", evs, err)
		}
		s.Close()
	}
}

// TestVolatileReachesDisk within its interval, and renewals cost no write of their own before.
func TestVolatileReachesDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewCrashableMem()
		s := openMem(t, fs, nil)
		defer s.Close()
		lease := store.Key{Prefix: "leases", Name: "a"}
		put(t, s, store.Write{Key: lease, Value: []byte("0")})
		put(t, s, store.Write{Key: lease, Value: []byte("1"), Volatile: true})
		synctest.Wait()
		written := s.db.Metrics().WAL.BytesIn
		for range 59 {
			time.Sleep(10 * time.Second)
			put(t, s, store.Write{Key: lease, Value: []byte("2"), Volatile: true})
		}
		if now := s.db.Metrics().WAL.BytesIn; now != written {
			t.Fatalf("renewals wrote %d bytes", now-written)
		}
		time.Sleep(10 * time.Minute)
		crashed := openMem(t, fs.CrashClone(vfs.CrashCloneCfg{}), nil)
		defer crashed.Close()
		if r, err := crashed.Get(lease); err != nil || string(r.Value) != "2" {
			t.Fatalf("after 10 minutes the disk has %v, %v", r, err)
		}
	})
}
