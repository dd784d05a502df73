package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/kinds"
)

// Limits of an EventRecorder, as upstream's event correlator has them.
const (
	recorderQueue  = 1000             // events waiting to be written; more are dropped
	recorderMemory = 4096             // distinct events whose count is known
	recorderWindow = 10 * time.Minute // events that say the same within this time are one, counted
	sourceBurst    = 25               // events one source may write about one object at once
	sourceRefill   = 5 * time.Minute  // and then one each
)

// EventRecorder is the Recorder that writes core/v1 Events through a Client. Its zero value is not usable; see [NewRecorder].
type EventRecorder struct {
	client    Client
	kind      *kinds.Kind
	component string
	host      string
	log       *slog.Logger
	queue     chan *corev1.Event
	stamp     *atomic.Int64 // of the last event's name
}

// NewRecorder makes a recorder for a component ("kubelet", "deployment-controller") on a host ("" for none). event is the Event kind. Events are written
// while Run runs.
func NewRecorder(c Client, event *kinds.Kind, component, host string, log *slog.Logger) *EventRecorder {
	return &EventRecorder{client: c, kind: event, component: component, host: host, log: log, queue: make(chan *corev1.Event, recorderQueue), stamp: new(atomic.Int64)}
}

// For returns a recorder for another component over the same queue: Run of either writes the events of both.
func (r *EventRecorder) For(component string) *EventRecorder {
	c := *r
	c.component = component
	return &c
}

// Event implements Recorder.
func (r *EventRecorder) Event(k *kinds.Kind, about kinds.Object, eventType, reason, message string) {
	r.EventField(k, about, "", eventType, reason, message)
}

// EventField implements Recorder.
func (r *EventRecorder) EventField(k *kinds.Kind, about kinds.Object, fieldPath, eventType, reason, message string) {
	gv := k.Storage.GVK.GroupVersion()
	ref := corev1.ObjectReference{
		APIVersion: gv.String(), Kind: k.Kind, Namespace: about.GetNamespace(), Name: about.GetName(), UID: about.GetUID(),
		ResourceVersion: about.GetResourceVersion(), FieldPath: fieldPath,
	}
	r.Reference(ref, eventType, reason, message)
}

// Reference records an event about an object of which only a reference is at hand.
func (r *EventRecorder) Reference(ref corev1.ObjectReference, eventType, reason, message string) {
	now := metav1.Now()
	namespace := ref.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: fmt.Sprintf("%s.%x", ref.Name, r.unique(now.Time)), Namespace: namespace},
		InvolvedObject: ref, Reason: reason, Message: message, Type: eventType, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: r.component, Host: r.host}, ReportingController: r.component, ReportingInstance: r.host,
	}
	select {
	case r.queue <- e:
	default:
		r.log.Warn("event dropped: too many are waiting", "object", ref.Namespace+"/"+ref.Name, "reason", reason, "message", message)
	}
}

// unique is the time in nanoseconds, or a little later when that was used: two events never share a name.
func (r *EventRecorder) unique(now time.Time) int64 {
	for {
		last := r.stamp.Load()
		if next := max(now.UnixNano(), last+1); r.stamp.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Run writes what is recorded until ctx ends, and then what is still waiting, for at most a second.
func (r *EventRecorder) Run(ctx context.Context) {
	w := eventWriter{r: r, seen: map[string]*seenEvent{}, budget: map[string]*bucket{}}
	for {
		select {
		case e := <-r.queue:
			w.write(ctx, e)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			for last.Err() == nil {
				select {
				case e := <-r.queue:
					w.write(last, e)
				default:
					return
				}
			}
			return
		}
	}
}

// eventWriter is the state of Run: what was written lately, and how much each object may still have written about it.
type eventWriter struct {
	r      *EventRecorder
	seen   map[string]*seenEvent
	budget map[string]*bucket
}

type seenEvent struct {
	name  string
	count int32
	first metav1.Time
	last  time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

func (w *eventWriter) write(ctx context.Context, e *corev1.Event) {
	now := e.LastTimestamp.Time
	if !w.allow(e, now) {
		return
	}
	w.forget(now)
	key := eventKey(e)
	if s := w.seen[key]; s != nil && now.Sub(s.last) < recorderWindow {
		s.count++
		s.last = now
		patch := fmt.Sprintf(`{"count":%d,"lastTimestamp":%q}`, s.count, now.UTC().Format(time.RFC3339))
		_, err := w.r.client.Patch(ctx, w.r.kind, e.Namespace, s.name, types.MergePatchType, []byte(patch), "", metav1.PatchOptions{})
		if err == nil {
			return
		}
		if !apierrors.IsNotFound(err) {
			w.failed(ctx, e, err)
			return
		}
		e.Count, e.FirstTimestamp = s.count, s.first
	}
	if _, err := w.r.client.Create(ctx, w.r.kind, e, metav1.CreateOptions{}); err != nil {
		w.failed(ctx, e, err)
		return
	}
	w.seen[key] = &seenEvent{name: e.Name, count: e.Count, first: e.FirstTimestamp, last: now}
}

// failed logs what could not be written; an event about an object in a namespace that is going away is nobody's loss.
func (w *eventWriter) failed(ctx context.Context, e *corev1.Event, err error) {
	if ctx.Err() != nil || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return
	}
	w.r.log.Warn("event not written", "object", e.Namespace+"/"+e.InvolvedObject.Name, "reason", e.Reason, "error", err)
}

// allow is upstream's spam filter: a token bucket for each object.
func (w *eventWriter) allow(e *corev1.Event, now time.Time) bool {
	key := string(e.InvolvedObject.UID) + "/" + e.InvolvedObject.Kind + "/" + e.Namespace + "/" + e.InvolvedObject.Name
	b := w.budget[key]
	if b == nil {
		b = &bucket{tokens: sourceBurst, at: now}
		w.budget[key] = b
	}
	b.tokens = min(sourceBurst, b.tokens+float64(now.Sub(b.at))/float64(sourceRefill))
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// forget bounds the memory of the writer.
func (w *eventWriter) forget(now time.Time) {
	if len(w.seen) > recorderMemory {
		for k, s := range w.seen {
			if now.Sub(s.last) >= recorderWindow || len(w.seen) > recorderMemory {
				delete(w.seen, k)
			}
		}
	}
	if len(w.budget) > recorderMemory {
		for k, b := range w.budget {
			if now.Sub(b.at) >= sourceBurst*sourceRefill || len(w.budget) > recorderMemory {
				delete(w.budget, k)
			}
		}
	}
}

func eventKey(e *corev1.Event) string {
	h := sha256.New()
	o := e.InvolvedObject
	for _, s := range []string{o.Kind, o.Namespace, o.Name, string(o.UID), o.FieldPath, e.Type, e.Reason, e.Message} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
