package logs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const sample = `2026-01-02T03:04:05.000000001Z stdout F one
2026-01-02T03:04:06.000000001Z stderr F oops
2026-01-02T03:04:07.000000001Z stdout P two-
2026-01-02T03:04:07.000000002Z stdout F and-a-half
not a log line
2026-01-02T03:04:08.000000001Z stdout F three
`

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReadNarrows(t *testing.T) {
	with := func(f func(*Options)) Options { o := All; f(&o); return o }
	for name, c := range map[string]struct {
		o         Options
		out, errs string
	}{
		"all":        {All, "one\ntwo-and-a-half\nthree\n", "oops\n"},
		"tail":       {with(func(o *Options) { o.Tail = 1 }), "three\n", ""},
		"tail zero":  {with(func(o *Options) { o.Tail = 0 }), "", ""},
		"tail many":  {with(func(o *Options) { o.Tail = 99 }), "one\ntwo-and-a-half\nthree\n", "oops\n"},
		"since":      {with(func(o *Options) { o.Since = time.Date(2026, 1, 2, 3, 4, 8, 0, time.UTC) }), "three\n", ""},
		"limit":      {with(func(o *Options) { o.Limit = 6 }), "one\n", "oo"},
		"timestamps": {with(func(o *Options) { o.Timestamps = true; o.Tail = 4 }), "2026-01-02T03:04:07.000000001Z two-and-a-half\n2026-01-02T03:04:08.000000001Z three\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if err := Read(context.Background(), write(t, sample), c.o, nil, &out, &errs); err != nil {
				t.Fatal(err)
			}
			if out.String() != c.out || errs.String() != c.errs {
				t.Errorf("got stdout %q stderr %q\nwant stdout %q stderr %q", out.String(), errs.String(), c.out, c.errs)
			}
		})
	}
	if err := Read(context.Background(), filepath.Join(t.TempDir(), "none"), All, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "failed to open log file") {
		t.Errorf("missing file: %v", err)
	}
}

type syncBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		select {
		case s.more <- struct{}{}:
		default:
		}
	}()
	return s.b.Write(p)
}

func (s *syncBuffer) lines() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), "\n")
}

// A follower sees each of 2000 lines once and in order while the file is rotated under it many times.
func TestFollowAcrossRotation(t *testing.T) {
	p := write(t, "")
	f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	reopen := func() (err error) {
		f.Close()
		f, err = os.OpenFile(p, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		return err
	}
	out := &syncBuffer{more: make(chan struct{}, 1)}
	ended := make(chan struct{})
	done := make(chan error, 1)
	o := All
	o.Follow = true
	go func() { done <- Read(context.Background(), p, o, ended, out, out) }()
	const n = 2000
	var want strings.Builder
	rotations := 0
	for i := range n {
		fmt.Fprintf(f, "2026-01-02T03:04:05.000000001Z stdout F line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
		if i%100 != 99 {
			continue
		}
		for out.lines() < i+1 { // two rotations between two reads would lose lines, to any reader by name
			select {
			case <-out.more:
			case <-time.After(10 * time.Second):
				t.Fatalf("the follower stands at %d of %d", out.lines(), i+1)
			}
		}
		ok, err := Rotate(p, 10, 3, time.Unix(int64(i), 0), reopen)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			rotations++
		}
	}
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := out.b.String(); got != want.String() {
		t.Errorf("got %d lines, want %d, rotations %d", out.lines(), n, rotations)
	}
	if rotations < 10 {
		t.Errorf("only %d rotations", rotations)
	}
	names, _ := filepath.Glob(p + "*")
	if len(names) > 3 {
		t.Errorf("kept %v, want at most 3", names)
	}
}

func TestRotateGoesBackWhenReopenFails(t *testing.T) {
	p := write(t, sample)
	if _, err := Rotate(p, 1, 5, time.Unix(0, 0), func() error { return os.ErrPermission }); err == nil {
		t.Fatal("no error")
	}
	if b, err := os.ReadFile(p); err != nil || string(b) != sample {
		t.Errorf("the log is gone: %v", err)
	}
}

func TestLast(t *testing.T) {
	if got := Last(write(t, sample), 2, 8); got != "three\n" {
		t.Errorf("got %q", got)
	}
}
