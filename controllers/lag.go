package controllers

import (
	"context"
	"errors"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/kinds"
)

// sight is a write that the cache did not show when it had returned. In process there are none. Remotely, a key is not planned before the cache shows what
// the key's last plan wrote: upstream's expectations, for every controller and every write.
type sight struct {
	kind            *kinds.Kind
	namespace, name string
	uid             types.UID
	version         uint64 // of the write; 0: a deletion
	// unknown: the answer was lost, or says that the object is there already. Whether there is something to be seen is asked first.
	unknown bool
	at      time.Time
}

const (
	lagFirst  = 10 * time.Millisecond // first look after a write that was not seen; then twice as long each time
	lagMax    = time.Second
	lagAsk    = 100 * time.Millisecond // after this the server is asked, for the object may have come and gone unseen
	lagGiveUp = 5 * time.Minute        // upstream's timeout for expectations
)

func (x *execution) wrote(k *kinds.Kind, obj kinds.Object) {
	if obj == nil || obj.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) == 0 { // the latter may be gone with this write
		return
	}
	version, err := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	if err != nil {
		return
	}
	x.expect(sight{kind: k, namespace: obj.GetNamespace(), name: obj.GetName(), uid: obj.GetUID(), version: version})
}

func (x *execution) deleted(w Delete) {
	x.expect(sight{kind: w.Kind, namespace: w.Namespace, name: w.Name, uid: w.UID})
}

// doubtful keeps in mind a create (uid "") or a deletion that may have been carried out although it failed.
func (x *execution) doubtful(err error, k *kinds.Kind, namespace, name string, uid types.UID) {
	var status apierrors.APIStatus
	if errors.As(err, &status) && !apierrors.IsAlreadyExists(err) && status.Status().Code >= 400 && status.Status().Code < 500 {
		return // refused
	}
	x.expect(sight{kind: k, namespace: namespace, name: name, uid: uid, unknown: true})
}

func (x *execution) expect(s sight) {
	if !s.unknown && x.r.e.seen(s) || !x.r.e.follows(s.kind) {
		return
	}
	s.at = time.Now()
	x.mu.Lock()
	x.unseen = append(x.unseen, s)
	x.mu.Unlock()
}

// seen reports whether the cache shows a write, or something that came after it.
func (e *engine) seen(s sight) bool {
	obj, ok := e.deps.Cache.Get(s.kind, s.namespace, s.name)
	if s.version == 0 {
		return !ok || obj.GetUID() != s.uid || obj.GetDeletionTimestamp() != nil
	}
	if !ok {
		return false
	}
	version, err := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	return err != nil || version >= s.version
}

// lag is how long to wait before the key can be planned; 0: no more.
func (r *runner) lag(ctx context.Context, key Key) time.Duration {
	r.mu.Lock()
	left := r.unseen[key]
	r.mu.Unlock()
	if len(left) == 0 {
		return 0
	}
	var still []sight
	var wait time.Duration
	for _, s := range left {
		age := time.Since(s.at)
		if s.unknown && !r.ask(ctx, &s) {
			continue
		}
		if !s.unknown && r.e.seen(s) || !r.e.follows(s.kind) || age > lagGiveUp || age > lagAsk && r.cameAndWent(ctx, s) {
			continue
		}
		still = append(still, s)
		wait = max(wait, min(max(age, lagFirst), lagMax))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	keep(r.unseen, key, still, len(still) > 0)
	return wait
}

// ask finds out whether a write whose answer was lost has been carried out, and so has to show; false: it has not.
func (r *runner) ask(ctx context.Context, s *sight) bool {
	obj, err := r.e.deps.Client.Get(ctx, s.kind, s.namespace, s.name)
	switch {
	case err != nil:
		// Nothing there: a deletion has to show, a create was not made. Any other failure: asked again.
		s.unknown = !apierrors.IsNotFound(err)
		return s.unknown || s.uid != ""
	case s.uid != "": // a deletion
		s.unknown = false
		return obj.GetUID() != s.uid || obj.GetDeletionTimestamp() != nil
	}
	version, err := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	s.unknown, s.uid, s.version = false, obj.GetUID(), version
	return err == nil
}

func (r *runner) cameAndWent(ctx context.Context, s sight) bool {
	obj, err := r.e.deps.Client.Get(ctx, s.kind, s.namespace, s.name)
	return apierrors.IsNotFound(err) || err == nil && obj.GetUID() != s.uid
}
