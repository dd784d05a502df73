// Package logs reads and rotates the log files that a container runtime writes in CRI's format: "time stream flag text" a line.
//
// A reader sees every line once, also while the file is being rotated under it. It waits for changes by inotify; nothing is polled.
package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Options narrow what is read.
type Options struct {
	Follow     bool
	Tail       int64 // last lines only; negative: all
	Since      time.Time
	Timestamps bool
	Limit      int64 // bytes; negative: all
}

// All reads everything there is.
var All = Options{Tail: -1, Limit: -1}

var errLimit = errors.New("limit reached")

// Read copies a container's log to stdout and stderr; either may be nil. With Follow it goes on until ended is closed (the container has
// stopped) and all was read, or ctx ends.
func Read(ctx context.Context, path string, o Options, ended <-chan struct{}, stdout, stderr io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("failed to open log file %q: %w", path, err)
	}
	defer func() { f.Close() }()
	var watcher *fsnotify.Watcher
	if o.Follow {
		if watcher, err = fsnotify.NewWatcher(); err != nil {
			return fmt.Errorf("watch log: %w", err)
		}
		defer watcher.Close()
		// The directory: rotation renames the file away and makes a new one.
		if err := watcher.Add(filepath.Dir(path)); err != nil {
			return fmt.Errorf("watch log: %w", err)
		}
	}
	if o.Tail >= 0 {
		at, err := tail(f, o.Tail)
		if err != nil {
			return err
		}
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return err
		}
	}
	w := &writer{o: o, left: o.Limit, out: map[string]io.Writer{"stdout": stdout, "stderr": stderr}, open: map[string]bool{}}
	if o.Follow {
		w.flush() // an answer can begin: what is logged from now on will be seen
	}
	r := bufio.NewReaderSize(f, 32<<10)
	var line []byte // a line that is not complete yet
	stopped := false
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			if err := w.line(line); err != nil {
				if errors.Is(err, errLimit) {
					return nil
				}
				return err
			}
			line = line[:0]
			continue
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("read log: %w", err)
		}
		if !o.Follow || ctx.Err() != nil {
			return nil
		}
		w.flush()
		if next := successor(f, path); next != nil {
			if rest, err := r.Peek(1); err == nil && len(rest) > 0 {
				next.Close() // something was written just before the rename
				continue
			}
			f.Close()
			f = next
			r.Reset(f)
			line = line[:0]
			continue
		}
		if stopped {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			stopped, ended = true, nil // once more to the end
		case _, ok := <-watcher.Events:
			if !ok {
				return nil
			}
		case err, ok := <-watcher.Errors:
			if !ok || !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
		}
	}
}

// successor opens the file that path names now, if that is not f any more.
func successor(f *os.File, path string) *os.File {
	was, err := f.Stat()
	if err != nil {
		return nil
	}
	is, err := os.Stat(path)
	if err != nil || os.SameFile(was, is) {
		return nil
	}
	next, err := os.Open(path)
	if err != nil {
		return nil
	}
	return next
}

type writer struct {
	o    Options
	left int64
	out  map[string]io.Writer
	open map[string]bool // streams in the middle of a line
	skip map[string]bool
}

type flusher interface{ Flush() }

func (w *writer) flush() {
	for _, o := range w.out {
		if f, ok := o.(flusher); ok && o != nil {
			f.Flush()
		}
	}
}

// line writes one line of the file. Lines that are not in CRI's format are left out.
func (w *writer) line(b []byte) error {
	at, rest, ok1 := bytes.Cut(b, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	flags, text, ok3 := bytes.Cut(rest, []byte{' '})
	if !ok1 || !ok2 || !ok3 {
		return nil
	}
	partial := len(flags) > 0 && flags[0] == 'P'
	if partial {
		text = bytes.TrimSuffix(text, []byte{'\n'})
	}
	name := string(stream)
	out, known := w.out[name]
	if !known || out == nil {
		return nil
	}
	if !w.o.Since.IsZero() {
		t, err := time.Parse(time.RFC3339Nano, string(at))
		if err != nil || t.Before(w.o.Since) {
			return nil
		}
	}
	if w.o.Timestamps && !w.open[name] {
		text = append(append(append(make([]byte, 0, len(at)+1+len(text)), at...), ' '), text...)
	}
	w.open[name] = partial
	if w.left >= 0 && int64(len(text)) > w.left {
		text = text[:w.left]
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	if w.left >= 0 {
		if w.left -= int64(len(text)); w.left <= 0 {
			return errLimit
		}
	}
	return nil
}

// tail is the offset at which the last n lines begin.
func tail(f *os.File, n int64) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	end := info.Size()
	if n == 0 {
		return end, nil
	}
	buf := make([]byte, 4096)
	var seen int64
	for end > 0 {
		size := min(end, int64(len(buf)))
		if _, err := f.ReadAt(buf[:size], end-size); err != nil {
			return 0, err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || end-size+i == info.Size()-1 {
				continue
			}
			if seen++; seen == n {
				return end - size + i + 1, nil
			}
		}
		end -= size
	}
	return 0, nil
}

// Last is the text of the last lines of a log, of both streams, at most so many bytes: what a container said before it died.
func Last(path string, lines, size int64) string {
	var b bytes.Buffer
	o := All
	o.Tail = lines
	if err := Read(context.Background(), path, o, nil, &b, &b); err != nil {
		return fmt.Sprintf("Error on reading termination message from logs: %v", err)
	}
	out := b.Bytes()
	if int64(len(out)) > size {
		out = out[int64(len(out))-size:]
	}
	return string(out)
}
