// Package controllerstest runs controllers against a world in memory that can be made to fail: a client.Client and client.Cache with just enough of the API's
// behaviour for controllers (versions, preconditions, finalizers, graceful deletion, propagation), whose writes can be refused, carried out without an answer,
// or shown late. It is meant for testing/synctest, where its time is virtual.
package controllerstest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// World holds objects. Its zero value is not usable; see [NewWorld]. The faults are set before anything runs.
type World struct {
	// Before is asked before a write: an error refuses it.
	Before func(w Write) error
	// After is asked after a write: an error is what the writer gets instead of the answer.
	After func(w Write) error
	// Lag is how much later than the write itself a followed kind's cache shows a change.
	Lag time.Duration

	mu      sync.Mutex
	now     func() time.Time
	version uint64
	uids    map[string]int
	live    table
	shown   table // what caches show of the kinds that are followed
	follows map[*kinds.Kind]int
	log     []entry
	grew    chan struct{}
}

// Write is what a client asks for: "create", "update", "patch", "delete", "deletecollection".
type Write struct {
	Verb            string
	Kind            *kinds.Kind
	Namespace, Name string
	Subresource     string
}

func (w Write) String() string {
	s := w.Verb + " " + w.Kind.Plural
	if w.Subresource != "" {
		s += "/" + w.Subresource
	}
	if w.Namespace != "" {
		return s + " " + w.Namespace + "/" + w.Name
	}
	return s + " " + w.Name
}

type (
	id    struct{ namespace, name string }
	table map[*kinds.Kind]map[id]kinds.Object
	entry struct {
		kind   *kinds.Kind
		change client.Change
		at     time.Time
	}
)

// NewWorld makes an empty world. now is its clock.
func NewWorld(now func() time.Time) *World {
	return &World{now: now, uids: map[string]int{}, live: table{}, shown: table{}, follows: map[*kinds.Kind]int{}, grew: make(chan struct{})}
}

func (t table) set(k *kinds.Kind, at id, obj kinds.Object) {
	if t[k] == nil {
		t[k] = map[id]kinds.Object{}
	}
	if obj == nil {
		delete(t[k], at)
	} else {
		t[k][at] = obj
	}
}

func (t table) list(k *kinds.Kind, keep func(kinds.Object) bool) []kinds.Object {
	var objs []kinds.Object
	for _, obj := range t[k] {
		if keep(obj) {
			objs = append(objs, obj)
		}
	}
	slices.SortFunc(objs, func(a, b kinds.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return objs
}

// put stores a new state (nil: gone) and tells the followers.
func (w *World) put(k *kinds.Kind, old, obj kinds.Object) kinds.Object {
	at := id{}
	if old != nil {
		at = id{old.GetNamespace(), old.GetName()}
	} else {
		at = id{obj.GetNamespace(), obj.GetName()}
	}
	w.version++
	if obj != nil {
		obj = normal(k, obj)
		obj.SetResourceVersion(strconv.FormatUint(w.version, 10))
	}
	w.live.set(k, at, obj)
	w.log = append(w.log, entry{k, client.Change{Old: old, New: obj}, w.now()})
	close(w.grew)
	w.grew = make(chan struct{})
	return obj
}

// normal is the object as a reader of what was stored gets it: times in seconds, empty as nil.
func normal(k *kinds.Kind, obj kinds.Object) kinds.Object {
	data, err := json.Marshal(obj)
	if err != nil {
		panic(err)
	}
	out := k.New()
	if err := json.Unmarshal(data, out); err != nil {
		panic(err)
	}
	return out
}

func (w *World) find(k *kinds.Kind, namespace, name string) (kinds.Object, error) {
	obj := w.live[k][id{namespace, name}]
	if obj == nil {
		return nil, apierrors.NewNotFound(k.GroupResource(), name)
	}
	return obj, nil
}

func (w *World) create(k *kinds.Kind, in kinds.Object) (kinds.Object, error) {
	obj := in.DeepCopyObject().(kinds.Object)
	if ns, ok := w.live[core.Namespace][id{"", obj.GetNamespace()}]; ok && k.Namespaced && ns.GetDeletionTimestamp() != nil {
		err := apierrors.NewForbidden(k.GroupResource(), obj.GetName(), fmt.Errorf("unable to create new content in namespace %s because it is being terminated", obj.GetNamespace()))
		err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
		return nil, err
	}
	if w.live[k][id{obj.GetNamespace(), obj.GetName()}] != nil {
		return nil, apierrors.NewAlreadyExists(k.GroupResource(), obj.GetName())
	}
	if k.Served[0].Default != nil {
		k.Served[0].Default(obj)
	}
	w.uids[k.Plural+obj.GetName()]++
	obj.SetUID(types.UID(fmt.Sprintf("%s-%s-%d", k.Singular, obj.GetName(), w.uids[k.Plural+obj.GetName()])))
	obj.SetCreationTimestamp(metav1.NewTime(w.now().Truncate(time.Second)))
	if k.BeforeCreate != nil {
		k.BeforeCreate(obj)
	}
	if k.Canonicalize != nil {
		k.Canonicalize(obj)
	}
	return w.put(k, nil, obj), nil
}

func (w *World) update(k *kinds.Kind, in kinds.Object, subresource string) (kinds.Object, error) {
	old, err := w.find(k, in.GetNamespace(), in.GetName())
	if err != nil {
		return nil, err
	}
	if in.GetUID() != "" && in.GetUID() != old.GetUID() || in.GetResourceVersion() != "" && in.GetResourceVersion() != old.GetResourceVersion() {
		return nil, apierrors.NewConflict(k.GroupResource(), in.GetName(), errors.New("the object has been modified"))
	}
	return w.replace(k, old, in.DeepCopyObject().(kinds.Object), subresource)
}

func (w *World) replace(k *kinds.Kind, old, obj kinds.Object, subresource string) (kinds.Object, error) {
	if k.Served[0].Default != nil {
		k.Served[0].Default(obj)
	}
	if subresource == "" {
		if k.BeforeUpdate != nil {
			k.BeforeUpdate(obj, old)
		}
	} else {
		sub := k.Subresource(subresource)
		if sub == nil {
			return nil, apierrors.NewNotFound(k.GroupResource(), subresource)
		}
		sub.Before(obj, old)
	}
	obj.SetUID(old.GetUID())
	obj.SetCreationTimestamp(old.GetCreationTimestamp())
	obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	if w.finished(k, obj) {
		w.put(k, old, nil)
		return obj, nil
	}
	obj.SetResourceVersion(old.GetResourceVersion())
	if equal(obj, old) {
		return old, nil
	}
	return w.put(k, old, obj), nil
}

// finished reports that nothing holds back an object that is being deleted any more.
func (w *World) finished(k *kinds.Kind, obj kinds.Object) bool {
	grace := obj.GetDeletionGracePeriodSeconds()
	return obj.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) == 0 && (k.Finalizing == nil || !k.Finalizing(obj)) && (grace == nil || *grace == 0)
}

func (w *World) delete(k *kinds.Kind, namespace, name string, opts metav1.DeleteOptions) error {
	old, err := w.find(k, namespace, name)
	if err != nil {
		return err
	}
	if p := opts.Preconditions; p != nil && (p.UID != nil && *p.UID != old.GetUID() || p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion()) {
		return apierrors.NewConflict(k.GroupResource(), name, errors.New("precondition failed"))
	}
	obj := old.DeepCopyObject().(kinds.Object)
	if opts.PropagationPolicy != nil {
		finalizers := slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), func(f string) bool {
			return f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
		})
		switch *opts.PropagationPolicy {
		case metav1.DeletePropagationOrphan:
			finalizers = append(finalizers, metav1.FinalizerOrphanDependents)
		case metav1.DeletePropagationForeground:
			finalizers = append(finalizers, metav1.FinalizerDeleteDependents)
		}
		obj.SetFinalizers(finalizers)
	}
	seconds := int64(0)
	if k.Grace != nil {
		if s, graceful := k.Grace(obj, opts.GracePeriodSeconds); graceful {
			seconds = s
		}
	}
	if have := obj.GetDeletionGracePeriodSeconds(); have != nil {
		seconds = min(seconds, *have)
	}
	if obj.GetDeletionTimestamp() == nil || *obj.GetDeletionGracePeriodSeconds() != seconds {
		at := metav1.NewTime(w.now().Truncate(time.Second).Add(time.Duration(seconds) * time.Second))
		obj.SetDeletionTimestamp(&at)
		obj.SetDeletionGracePeriodSeconds(&seconds)
	}
	if k.OnDelete != nil {
		k.OnDelete(obj)
	}
	if w.finished(k, obj) {
		w.put(k, old, nil)
	} else if !equal(obj, old) {
		w.put(k, old, obj)
	}
	return nil
}

// Cache implements client.Cache.
type cache struct{ w *World }

// Cache reads the world.
func (w *World) Cache() client.Cache { return cache{w} }

// view is what caches show of a kind: all there is, or with a Lag, and for kinds that are followed, what has been shown.
func (w *World) view(k *kinds.Kind) table {
	if w.Lag > 0 && w.follows[k] > 0 {
		return w.shown
	}
	return w.live
}

func (c cache) Get(k *kinds.Kind, namespace, name string) (kinds.Object, bool) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	obj := c.w.view(k)[k][id{namespace, name}]
	return obj, obj != nil
}

func (c cache) List(k *kinds.Kind, namespace string, selector labels.Selector) []kinds.Object {
	return c.list(k, namespace, func(obj kinds.Object) bool { return selector == nil || selector.Matches(labels.Set(obj.GetLabels())) })
}

func (c cache) Owned(k *kinds.Kind, namespace string, owner types.UID) []kinds.Object {
	return c.list(k, namespace, func(obj kinds.Object) bool {
		return slices.ContainsFunc(obj.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.UID == owner })
	})
}

func (c cache) ByField(k *kinds.Kind, namespace, field, value string) []kinds.Object {
	if !slices.Contains(k.Indexed, field) {
		panic(field + " of " + k.Kind + " is not indexed")
	}
	return c.list(k, namespace, func(obj kinds.Object) bool { return k.Fields[field](obj) == value })
}

func (c cache) list(k *kinds.Kind, namespace string, keep func(kinds.Object) bool) []kinds.Object {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.w.view(k).list(k, func(obj kinds.Object) bool { return (namespace == "" || obj.GetNamespace() == namespace) && keep(obj) })
}

func (c cache) Follow(ctx context.Context, k *kinds.Kind, namespace string, _ client.FollowOptions, handle func(client.Change), synced func()) error {
	w := c.w
	w.mu.Lock()
	w.follows[k]++
	objs := w.live.list(k, func(obj kinds.Object) bool { return namespace == "" || obj.GetNamespace() == namespace })
	w.shown[k] = nil
	for _, obj := range objs {
		w.shown.set(k, id{obj.GetNamespace(), obj.GetName()}, obj)
	}
	next := len(w.log)
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.follows[k]--; w.mu.Unlock() }()
	for _, obj := range objs {
		handle(client.Change{New: obj})
	}
	if synced != nil {
		synced()
	}
	for {
		w.mu.Lock()
		var e *entry
		for ; next < len(w.log) && e == nil; next++ {
			if w.log[next].kind == k {
				e = &w.log[next]
			}
		}
		grew := w.grew
		w.mu.Unlock()
		if e == nil {
			select {
			case <-grew:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if wait := time.Until(e.at.Add(w.Lag)); w.Lag > 0 && wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return ctx.Err()
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.mu.Lock()
		obj := e.change.Object()
		w.shown.set(k, id{obj.GetNamespace(), obj.GetName()}, e.change.New)
		w.mu.Unlock()
		handle(e.change)
	}
}

// Surplus is how many active pods of the owner of a pod there are beyond the owner's replicas, for use in Before and After.
func (w *World) Surplus(pods, owners *kinds.Kind, namespace, pod string, active func(kinds.Object) bool, replicas func(kinds.Object) int) int {
	obj := w.live[pods][id{namespace, pod}]
	if obj == nil {
		return 0
	}
	ref := metav1.GetControllerOfNoCopy(obj)
	if ref == nil {
		return 0
	}
	owner := w.live[owners][id{namespace, ref.Name}]
	if owner == nil {
		return 0
	}
	have := w.live.list(pods, func(o kinds.Object) bool { return metav1.IsControlledBy(o, owner) && active(o) })
	return len(have) - replicas(owner)
}
