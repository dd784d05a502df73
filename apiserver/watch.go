package apiserver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/store"
)

// bookmarkEvery is how often a quiet watch that wants bookmarks gets one.
const bookmarkEvery = time.Minute

// change of an object as one watcher sees it: entering the selection is an addition, leaving it a deletion, which shows the object as it was, at
// the revision of the change.
type seen struct {
	event    watch.EventType // "" when the watcher does not see it
	record   *store.Record
	revision store.Revision // 0: the record's own
}

func see(sel *store.Selector, e *store.Event) seen {
	now := e.Record != nil && sel.Matches(e.Record)
	before := e.Prev != nil && sel.Matches(e.Prev)
	switch {
	case now && before:
		return seen{watch.Modified, e.Record, 0}
	case now:
		return seen{watch.Added, e.Record, 0}
	case before:
		return seen{watch.Deleted, e.Prev, e.Revision}
	}
	return seen{}
}

// stream is one watch: what there was at the start, then what happens.
type stream struct {
	*call
	query    *listQuery
	watcher  store.Watcher
	initial  []*store.Record
	revision store.Revision // of the initial records
	// endMark: a bookmark says where the initial objects end.
	endMark bool
	// gather: a write costs enough for a busy watch to wait for more to write (HTTP).
	gather bool
}

// watch begins a watch. Errors that a watcher must see inside the stream come as *streamError.
func (c *call) watch(opts *metav1.ListOptions) (*stream, error) {
	q, err := c.listQuery(opts, true)
	if err != nil {
		return nil, err
	}
	s := &stream{call: c, query: q}
	wq := store.WatchQuery{Prefix: c.kind.Storage.Prefix, Namespace: c.scope(), Selector: q.selector, From: q.revision}
	if opts.AllowWatchBookmarks {
		wq.Bookmarks = bookmarkEvery
	}
	initial := q.revision == 0
	if opts.SendInitialEvents != nil {
		initial = *opts.SendInitialEvents
		s.endMark = initial && opts.AllowWatchBookmarks
	}
	if err := c.waitFor(q.revision); err != nil {
		return nil, streamError{err}
	}
	for {
		if initial {
			page, err := c.cfg.Store.List(store.ListQuery{Prefix: wq.Prefix, Namespace: wq.Namespace, Selector: q.selector})
			if err != nil {
				return nil, err
			}
			s.initial, s.revision = page.Records, page.Revision
			wq.From = page.Revision
		}
		s.watcher, err = c.cfg.Store.Watch(wq)
		if errors.Is(err, store.ErrExpired) {
			if initial {
				continue // the list was outrun
			}
			return nil, streamError{expired(fmt.Sprintf("too old resource version: %d (%d)", q.revision, c.cfg.Store.Oldest()))}
		}
		return s, err
	}
}

// streamError is an error that a watcher reads as an ERROR event.
type streamError struct{ error }

func (e streamError) Unwrap() error { return e.error }

// timeout is how long a watch lasts.
func (s *stream) timeout() time.Duration {
	if t := s.query.TimeoutSeconds; t != nil && *t > 0 {
		return time.Duration(*t) * time.Second
	}
	// Spread over half an hour to an hour, so that watchers do not all come back at once.
	return 30*time.Minute + time.Duration(uint64(time.Now().UnixNano())%uint64(30*time.Minute))
}

// sink writes what a watcher sees. flush is called when nothing more is at hand.
type sink interface {
	object(seen) error
	bookmark(revision string, initialEnd bool) error
	failure(*metav1.Status) error
	flush() error
}

// run delivers until the context ends, the sink fails, or the watcher falls behind.
func (s *stream) run(ctx context.Context, out sink) error {
	defer s.watcher.Close()
	for i, rec := range s.initial {
		if err := out.object(seen{watch.Added, rec, 0}); err != nil {
			return err
		}
		s.initial[i] = nil
	}
	s.initial = nil
	if s.endMark {
		if err := out.bookmark(formatRevision(s.revision), true); err != nil {
			return err
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	var last time.Time // of a write
	next, stop, over := ctx, func() {}, false
	if s.kind.Custom() {
		next, stop = s.untilChanged(ctx)
	}
	defer func() { stop() }()
	for {
		events, err := s.watcher.Next(next)
		if err != nil && next.Err() != nil && ctx.Err() == nil {
			// The definition has changed, and everything from before was delivered; when it is gone, what came until then is still to be.
			if over {
				return errNotServed
			}
			if !s.follow() {
				over = true
				continue
			}
			stop()
			next, stop = s.untilChanged(ctx)
			continue
		}
		if err != nil {
			if errors.Is(err, store.ErrExpired) {
				gone := expired("too old resource version: the watcher fell too far behind")
				if err := out.failure(Status(gone)); err != nil {
					return err
				}
				return errors.Join(gone, out.flush())
			}
			return err
		}
		for i := range events {
			e := &events[i]
			if e.Type == store.Bookmark {
				if s.query.AllowWatchBookmarks {
					err = out.bookmark(formatRevision(e.Revision), false)
				}
			} else if v := see(s.query.selector, e); v.event != "" {
				err = out.object(v)
			}
			if err != nil {
				return err
			}
		}
		if err := out.flush(); err != nil {
			return err
		}
		if s.gather {
			now := time.Now()
			if p := s.pause(); now.Sub(last) < 2*p {
				select {
				case <-s.beat.after(p):
				case <-ctx.Done():
				}
			}
			last = now
		}
	}
}

var errNotServed = errors.New("the resource is no longer served")

// untilChanged is a context that ends when the definition of the stream's kind changes.
func (s *stream) untilChanged(ctx context.Context) (context.Context, func()) {
	next, cancel := context.WithCancel(ctx)
	stop := s.live.OnChange(s.kind.Storage.Prefix, cancel)
	if now := s.live.At(s.kind.Storage.Prefix); now != s.kind {
		cancel() // it changed before
	}
	return next, func() { stop(); cancel() }
}

// follow goes over to the changed definition. false: what is watched is no longer served.
func (s *stream) follow() bool {
	now := s.serving(s.group, s.version, s.plural)
	if now == nil {
		// In process, the hub version need not be among those served.
		k := s.live.At(s.kind.Storage.Prefix)
		if k == nil || k.Hub == nil || k.Hub.GroupVersion() != s.served.GroupVersion() {
			return false
		}
		now = &resource{kind: k, served: k.Hub, head: encode.NewHead(k, k.Hub)}
	}
	if now.kind.Storage.Prefix != s.kind.Storage.Prefix || now.kind.Namespaced != s.kind.Namespaced || now.kind.Kind != s.kind.Kind {
		return false
	}
	s.resource = now
	return true
}

// pause is how long a busy watch gathers before it writes again. Each write costs the same whether it carries one event or twenty, and with many watchers these costs
// are what a change is made of: so the pause grows with their number, and a watch that has been quiet is not delayed at all.
func (s *stream) pause() time.Duration {
	return min(time.Duration(s.watching.Load())*gatherPerWatch, gatherMost)
}

const (
	gatherPerWatch = 25 * time.Microsecond
	gatherMost     = 20 * time.Millisecond
)

func formatRevision(r store.Revision) string { return strconv.FormatUint(uint64(r), 10) }
