package linear

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// event is what a watch said.
type event struct {
	revision    uint64
	kind        watch.EventType
	name, value string
}

// reference is the sequence of events that every watcher must see. Who comes first writes it down.
type reference struct {
	mu     sync.Mutex
	events []event
	seen   int // by all watchers
}

// is compares the n-th event of a watcher.
func (r *reference) is(n int, e event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen++
	if n < len(r.events) {
		if r.events[n] != e {
			return fmt.Errorf("event %d is %+v, another watcher saw %+v", n, e, r.events[n])
		}
		return nil
	}
	if n > 0 && e.revision <= r.events[n-1].revision {
		return fmt.Errorf("event %d is %+v after revision %d", n, e, r.events[n-1].revision)
	}
	r.events = append(r.events, e)
	return nil
}

func (r *reference) count() (events, seen int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events), r.seen
}

func revisionOf(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) }

// watcher follows the kind from before its first object.
type watcher struct {
	api  dynamic.ResourceInterface
	ref  *reference
	n    int    // events seen
	at   uint64 // revision up to which everything was seen
	cuts int    // how often the stream ended

	placed atomic.Bool     // it has listed, and sees all that comes
	over   <-chan struct{} // closed when stop may say yes: the last event may have been seen before
}

// run watches until stop says that all there is was seen, or ctx ends. The kind may not be there yet, and the server may be away.
func (w *watcher) run(ctx context.Context, stop func(at uint64) bool) error {
	for ctx.Err() == nil && !stop(w.at) {
		if w.at == 0 {
			list, err := w.api.List(ctx, metav1.ListOptions{Limit: 1})
			if err != nil || len(list.Items) > 0 { // not there yet, or too late to see the first
				if err == nil {
					return fmt.Errorf("a watcher came too late")
				}
				pause(ctx, retry)
				continue
			}
			if w.at, err = revisionOf(list.GetResourceVersion()); err != nil {
				return err
			}
			w.placed.Store(true)
		}
		if err := w.follow(ctx, stop); err != nil {
			return err
		}
		w.cuts++
	}
	return nil
}

// follow reads one stream. nil: it ended, and may be resumed.
func (w *watcher) follow(ctx context.Context, stop func(at uint64) bool) error {
	stream, err := w.api.Watch(ctx, metav1.ListOptions{ResourceVersion: strconv.FormatUint(w.at, 10), AllowWatchBookmarks: true})
	if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
		return fmt.Errorf("at %d: %w", w.at, err)
	}
	if err != nil {
		pause(ctx, retry)
		return nil
	}
	defer stream.Stop()
	over := w.over
	for {
		var e watch.Event
		var open bool
		select {
		case e, open = <-stream.ResultChan():
		case <-over:
			if stop(w.at) {
				return nil
			}
			over = nil
			continue
		case <-ctx.Done():
			return nil
		}
		if !open {
			return nil
		}
		if e.Type == watch.Error {
			err := apierrors.FromObject(e.Object)
			if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
				return fmt.Errorf("at %d: %w", w.at, err)
			}
			return nil // the connection broke inside an event
		}
		o, ok := e.Object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("an event about %T", e.Object)
		}
		revision, err := revisionOf(o.GetResourceVersion())
		if err != nil {
			return err
		}
		if e.Type == watch.Bookmark {
			if revision < w.at {
				return fmt.Errorf("bookmark at %d after %d", revision, w.at)
			}
		} else {
			if revision <= w.at {
				return fmt.Errorf("%s %s at %d after %d", e.Type, o.GetName(), revision, w.at)
			}
			if err := w.ref.is(w.n, event{revision, e.Type, o.GetName(), valueOf(o)}); err != nil {
				return err
			}
			w.n++
		}
		w.at = revision
		if stop(w.at) {
			return nil
		}
	}
}

func valueOf(o *unstructured.Unstructured) string {
	v, _, _ := unstructured.NestedString(o.Object, "value")
	return v
}
