package embedded

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tenet-run/tenet/internal/invariants"
	"github.com/tenet-run/tenet/store"
)

func TestLockedDirectoryNamesItsOwner(t *testing.T) {
	for name, o := range map[string]Options{
		"disk":   {Dir: filepath.Join(t.TempDir(), "a", "b")},
		"memory": {Dir: "data", FS: vfs.NewMem()},
	} {
		o.Logger = quiet()
		s, err := Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(context.Background(), o)
		var locked *LockedError
		if !errors.Is(err, ErrLocked) || !errors.As(err, &locked) || locked.PID != os.Getpid() {
			t.Fatalf("%s: second open: %v", name, err)
		}
		if !strings.HasPrefix(err.Error(), "data dir "+o.Dir+" is locked by another tenet (pid ") {
			t.Fatalf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(context.Background(), o); err != nil {
			t.Fatalf("%s: open after close: %v", name, err)
		}
		s.Close()
	}
}

func TestLockedByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), killDirEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); out.Close(); cmd.Wait() }()
	if _, err := out.Read(make([]byte, 1)); err != nil { // it is ready
		t.Fatal(err)
	}
	_, err = Open(context.Background(), Options{Dir: dir, Logger: quiet()})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Fatalf("got %v, want locked by pid %d", err, cmd.Process.Pid)
	}
}

func TestNoPermission(t *testing.T) {
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpMkdirAll {
			return &os.PathError{Op: "mkdir", Path: op.Path, Err: syscall.EACCES}
		}
		return nil
	}))
	_, err := Open(context.Background(), Options{Dir: "data", FS: fs, Logger: quiet()})
	var disk *store.DiskError
	if !errors.As(err, &disk) || !errors.Is(err, syscall.EACCES) || errors.Is(err, ErrLocked) {
		t.Fatalf("got %v", err)
	}
}

// TestFullDisk lets the disk fill up, or its syncs fail, at various writes: every waiting and later commit gets a DiskError soon, nothing of them is
// visible, reads go on, and when there is space again a new open finds all that was acknowledged.
func TestFullDisk(t *testing.T) {
	for _, kind := range []string{"write", "sync", "flush"} {
		t.Run(kind, func(t *testing.T) {
			var full atomic.Bool
			mem := vfs.NewMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if !full.Load() {
					return nil
				}
				switch {
				case kind == "sync" && op.Kind == errorfs.OpFileSync, kind == "sync" && op.Kind == errorfs.OpFileSyncData,
					kind == "write" && op.Kind == errorfs.OpFileWrite,
					kind == "flush" && op.Kind == errorfs.OpCreate:
					return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
				}
				return nil
			}))
			s := openMem(t, fs, func(o *Options) { o.memTable = 256 << 10 })
			l := newLedger()
			write(s, l, 1, "before", 4, 10)
			at := s.Revision()
			full.Store(true)
			done := make(chan struct{})
			go func() { write(s, l, 2, "after", 8, 2000); close(done) }()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("writers hang on a full disk")
			}
			_, err := s.Commit(context.Background(), store.Write{Key: pod(1)})
			var disk *store.DiskError
			if !errors.As(err, &disk) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("commit on a full disk: %v", err)
			}
			if kind != "flush" && s.Revision() != at {
				t.Fatalf("revision moved from %d to %d on a full disk", at, s.Revision())
			}
			if _, err := s.Get(pod(1)); !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("a failed write is visible: %v", err)
			}
			if _, err := s.List(store.ListQuery{Prefix: "pods"}); err != nil {
				t.Fatalf("reads do not go on: %v", err)
			}
			full.Store(false)
			if err := s.Close(); !errors.As(err, &disk) {
				t.Fatalf("close: got %v, want the failure", err)
			}
			s = openMem(t, mem, nil)
			defer s.Close()
			if err := verify(s, l); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCheckRepairsMemory(t *testing.T) {
	if invariants.Enabled {
		t.Skip("breaks an invariant on purpose")
	}
	s := openMem(t, vfs.NewMem(), nil)
	defer s.Close()
	for i := range 50 {
		put(t, s, store.Write{Key: pod(i), Value: []byte("right"), Header: store.Header{Labels: map[string]string{"app": "a"}}})
	}
	app, err := s.List(store.ListQuery{Prefix: "pods", Selector: selectApp(t, "app=a")})
	if err != nil || len(app.Records) != 50 {
		t.Fatal(len(app.Records), err)
	}
	w, err := s.Watch(store.WatchQuery{Prefix: "pods"})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := s.Get(pod(7))
	r.Value[0] ^= 1 // somebody changed a shared record
	s.view.Lock()
	lost := s.tables["pods"].get(pod(8).Namespace, pod(8).Name)
	s.tables["pods"].set(lost, nil)
	s.view.Unlock()
	diff, err := s.Check(context.Background())
	if err != nil || len(diff) != 2 {
		t.Fatalf("got %q, %v; want two differences", diff, err)
	}
	for _, i := range []int{7, 8} {
		if r, err := s.Get(pod(i)); err != nil || string(r.Value) != "right" {
			t.Fatalf("%d was not repaired: %v", i, err)
		}
	}
	if app, _ := s.List(store.ListQuery{Prefix: "pods", Selector: selectApp(t, "app=a")}); len(app.Records) != 50 {
		t.Fatalf("index has %d after the repair", len(app.Records))
	}
	if _, err := w.Next(context.Background()); !errors.Is(err, store.ErrExpired) {
		t.Fatalf("watch of a repaired prefix: %v", err)
	}
	if diff, err := s.Check(context.Background()); err != nil || len(diff) != 0 {
		t.Fatalf("second check: %q, %v", diff, err)
	}
}
