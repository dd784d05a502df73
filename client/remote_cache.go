package client

import (
	"context"
	"errors"
	"log/slog"
	"sort"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tenet-run/tenet/kinds"
)

// RemoteCache is a Cache over any Client: one list and one watch for each kind it was made for, shared by all who read or follow.
type RemoteCache struct {
	client Client
	log    *slog.Logger
	tables map[*kinds.Kind]*remoteTable
}

// NewRemoteCache lists the kinds and follows them until ctx ends; it returns when all have been listed.
func NewRemoteCache(ctx context.Context, c Client, log *slog.Logger, of ...*kinds.Kind) (*RemoteCache, error) {
	r := &RemoteCache{client: c, log: log, tables: map[*kinds.Kind]*remoteTable{}}
	var ready []chan struct{}
	for _, k := range of {
		t := &remoteTable{kind: k, objects: map[types.NamespacedName]kinds.Object{}, owned: map[types.UID]map[types.NamespacedName]struct{}{}}
		r.tables[k] = t
		done := make(chan struct{})
		ready = append(ready, done)
		go r.reflect(ctx, t, done)
	}
	for _, done := range ready {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return r, nil
}

// remoteTable holds the objects of one kind.
type remoteTable struct {
	kind      *kinds.Kind
	mu        sync.RWMutex
	objects   map[types.NamespacedName]kinds.Object
	owned     map[types.UID]map[types.NamespacedName]struct{}
	followers map[*remoteFollower]struct{}
}

// remoteFollower has a queue of its own, so that a slow one delays nobody.
type remoteFollower struct {
	mu      sync.Mutex
	pending []Change
	wake    chan struct{}
}

func (f *remoteFollower) push(c Change) {
	f.mu.Lock()
	f.pending = append(f.pending, c)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// set stores an object (nil: removes it) and tells the followers.
func (t *remoteTable) set(name types.NamespacedName, obj kinds.Object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.objects[name]
	if old == nil && obj == nil || old != nil && obj != nil && old.GetResourceVersion() == obj.GetResourceVersion() && old.GetUID() == obj.GetUID() {
		return
	}
	if old != nil {
		for _, o := range old.GetOwnerReferences() {
			delete(t.owned[o.UID], name)
			if len(t.owned[o.UID]) == 0 {
				delete(t.owned, o.UID)
			}
		}
	}
	if obj == nil {
		delete(t.objects, name)
	} else {
		t.objects[name] = obj
		for _, o := range obj.GetOwnerReferences() {
			if t.owned[o.UID] == nil {
				t.owned[o.UID] = map[types.NamespacedName]struct{}{}
			}
			t.owned[o.UID][name] = struct{}{}
		}
	}
	for f := range t.followers {
		if old != nil && obj != nil && old.GetUID() != obj.GetUID() {
			f.push(Change{Old: old})
			f.push(Change{New: obj})
			continue
		}
		f.push(Change{Old: old, New: obj})
	}
}

func nameOf(o kinds.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// reflect keeps one table true until ctx ends: list, then watch from there, and again after a gap, with backoff.
func (r *RemoteCache) reflect(ctx context.Context, t *remoteTable, synced chan struct{}) {
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 8, Cap: 30 * time.Second}
	delay := backoff
	rv := ""
	for ctx.Err() == nil {
		var err error
		if rv == "" {
			rv, err = r.list(ctx, t)
			if err == nil {
				delay = backoff
				if synced != nil {
					close(synced)
					synced = nil
				}
			}
		}
		if err == nil {
			if rv, err = r.watch(ctx, t, rv); err == nil {
				delay = backoff // servers end watches in order every now and then
			}
		}
		if err != nil {
			if isGap(err) {
				rv = ""
				continue
			}
			if ctx.Err() == nil {
				r.log.Warn("watch interrupted", "kind", t.kind.Kind, "error", err)
			}
		}
		timer := time.NewTimer(delay.Step())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (r *RemoteCache) list(ctx context.Context, t *remoteTable) (string, error) {
	seen := map[types.NamespacedName]struct{}{}
	opts := metav1.ListOptions{Limit: 1000}
	for {
		page, err := r.client.List(ctx, t.kind, "", opts)
		if err != nil {
			return "", err
		}
		for _, o := range page.Items {
			seen[nameOf(o)] = struct{}{}
			t.set(nameOf(o), o)
		}
		if page.Continue == "" {
			t.mu.RLock()
			var gone []types.NamespacedName
			for name := range t.objects {
				if _, ok := seen[name]; !ok {
					gone = append(gone, name)
				}
			}
			t.mu.RUnlock()
			for _, name := range gone {
				t.set(name, nil)
			}
			return page.ResourceVersion, nil
		}
		opts.Continue = page.Continue
	}
}

// watch follows from a revision and returns the last one seen; a nil error means that the server ended the watch in order.
func (r *RemoteCache) watch(ctx context.Context, t *remoteTable, rv string) (string, error) {
	w, err := r.client.Watch(ctx, t.kind, "", metav1.ListOptions{ResourceVersion: rv, AllowWatchBookmarks: true})
	if err != nil {
		return rv, err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return rv, ctx.Err()
		case e, open := <-w.ResultChan():
			if !open {
				return rv, nil
			}
			if e.Type == watch.Error {
				return rv, apierrors.FromObject(e.Object)
			}
			m, err := meta.Accessor(e.Object)
			if err != nil {
				return rv, err
			}
			rv = m.GetResourceVersion()
			switch e.Type {
			case watch.Added, watch.Modified:
				o, ok := e.Object.(kinds.Object)
				if !ok {
					return rv, errors.New("client: watch delivered something that is no object")
				}
				t.set(nameOf(o), o)
			case watch.Deleted:
				t.set(types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}, nil)
			}
		}
	}
}

// Get implements Cache.
func (r *RemoteCache) Get(k *kinds.Kind, namespace, name string) (kinds.Object, bool) {
	t := r.tables[k]
	t.mu.RLock()
	defer t.mu.RUnlock()
	o, ok := t.objects[types.NamespacedName{Namespace: namespace, Name: name}]
	return o, ok
}

// pick returns, in order, the objects of a namespace that pass.
func (t *remoteTable) pick(namespace string, pass func(kinds.Object) bool) []kinds.Object {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []kinds.Object
	for name, o := range t.objects {
		if (namespace == "" || name.Namespace == namespace) && pass(o) {
			out = append(out, o)
		}
	}
	sortObjects(out)
	return out
}

func sortObjects(objs []kinds.Object) {
	sort.Slice(objs, func(i, j int) bool {
		a, b := objs[i], objs[j]
		if a.GetNamespace() != b.GetNamespace() {
			return a.GetNamespace() < b.GetNamespace()
		}
		return a.GetName() < b.GetName()
	})
}

// List implements Cache.
func (r *RemoteCache) List(k *kinds.Kind, namespace string, selector labels.Selector) []kinds.Object {
	return r.tables[k].pick(namespace, func(o kinds.Object) bool { return selector == nil || selector.Matches(labels.Set(o.GetLabels())) })
}

// Owned implements Cache.
func (r *RemoteCache) Owned(k *kinds.Kind, namespace string, owner types.UID) []kinds.Object {
	t := r.tables[k]
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []kinds.Object
	for name := range t.owned[owner] {
		if namespace == "" || name.Namespace == namespace {
			out = append(out, t.objects[name])
		}
	}
	sortObjects(out)
	return out
}

// ByField implements Cache. It looks at every object of the kind.
func (r *RemoteCache) ByField(k *kinds.Kind, namespace, field, value string) []kinds.Object {
	get := k.Fields[field]
	return r.tables[k].pick(namespace, func(o kinds.Object) bool { return get != nil && get(o) == value })
}

// Follow implements Cache.
func (r *RemoteCache) Follow(ctx context.Context, k *kinds.Kind, namespace string, opts FollowOptions, handle func(Change), synced func()) error {
	t := r.tables[k]
	f := &remoteFollower{wake: make(chan struct{}, 1)}
	pass := func(o kinds.Object) bool {
		if o == nil || namespace != "" && o.GetNamespace() != namespace || opts.Labels != nil && !opts.Labels.Matches(labels.Set(o.GetLabels())) {
			return false
		}
		for field, want := range opts.Fields {
			if fieldOf(k, o, field) != want {
				return false
			}
		}
		return true
	}
	t.mu.Lock()
	if t.followers == nil {
		t.followers = map[*remoteFollower]struct{}{}
	}
	t.followers[f] = struct{}{}
	var start []kinds.Object
	for _, o := range t.objects {
		start = append(start, o)
	}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.followers, f)
		t.mu.Unlock()
	}()
	sortObjects(start)
	for _, o := range start {
		if pass(o) {
			handle(Change{New: o})
		}
	}
	if synced != nil {
		synced()
	}
	for {
		f.mu.Lock()
		batch := f.pending
		f.pending = nil
		f.mu.Unlock()
		for _, c := range batch {
			if !pass(c.Old) {
				c.Old = nil
			}
			if !pass(c.New) {
				c.New = nil
			}
			if c.Old != nil || c.New != nil {
				handle(c)
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func fieldOf(k *kinds.Kind, o kinds.Object, field string) string {
	switch field {
	case "metadata.name":
		return o.GetName()
	case "metadata.namespace":
		return o.GetNamespace()
	}
	if get := k.Fields[field]; get != nil {
		return get(o)
	}
	return ""
}
