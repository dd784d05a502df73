package client

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/kinds"
)

// InProcessCache is a Cache that keeps nothing: it reads the API server's store, so every write is seen as soon as it has returned.
func InProcessCache(p Pipeline) Cache { return inProcessCache{p} }

type inProcessCache struct{ p Pipeline }

func (c inProcessCache) Get(k *kinds.Kind, namespace, name string) (kinds.Object, bool) {
	return c.p.Peek(k, namespace, name)
}

func (c inProcessCache) List(k *kinds.Kind, namespace string, selector labels.Selector) []kinds.Object {
	return c.p.PeekList(k, namespace, selector)
}

func (c inProcessCache) Owned(k *kinds.Kind, namespace string, owner types.UID) []kinds.Object {
	return c.p.PeekOwned(k, namespace, owner)
}

func (c inProcessCache) ByField(k *kinds.Kind, namespace, field, value string) []kinds.Object {
	return c.p.PeekField(k, namespace, field, value)
}

func (c inProcessCache) Follow(ctx context.Context, k *kinds.Kind, namespace string, opts FollowOptions, handle func(Change), synced func()) error {
	f := follower{kind: k, known: map[types.NamespacedName]trace{}, handle: handle}
	for {
		f.begin()
		err := c.p.FollowObjects(ctx, k, namespace, opts.Labels, opts.Fields, func(old, obj kinds.Object) { f.change(Change{Old: old, New: obj}) }, func() {
			f.end()
			if synced != nil {
				synced()
				synced = nil
			}
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !isGap(err) {
			return err
		}
	}
}

// follower turns a sequence of (all there is, then changes), which may have to start again after a gap, into one sequence of changes. It remembers of
// each object just enough to say that it is gone.
type follower struct {
	kind    *kinds.Kind
	known   map[types.NamespacedName]trace
	round   uint32
	listing bool
	handle  func(Change)
}

// trace is what is left of an object for the one who must be told that it went during a gap. Its slices and maps are shared with the object.
type trace struct {
	round  uint32
	uid    types.UID
	labels map[string]string
	owners []metav1.OwnerReference
}

func (f *follower) begin() { f.round++; f.listing = true }

// end reports as deleted what was known and did not come again.
func (f *follower) end() {
	f.listing = false
	for name, t := range f.known {
		if t.round != f.round {
			delete(f.known, name)
			f.handle(Change{Old: f.ghost(name, t)})
		}
	}
}

func (f *follower) change(c Change) {
	obj := c.Object()
	name := types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
	if c.New == nil {
		delete(f.known, name)
		f.handle(c)
		return
	}
	if last, had := f.known[name]; had && f.listing && last.uid != obj.GetUID() {
		f.handle(Change{Old: f.ghost(name, last)})
	}
	f.known[name] = trace{round: f.round, uid: obj.GetUID(), labels: obj.GetLabels(), owners: obj.GetOwnerReferences()}
	f.handle(c)
}

// ghost is an object that went unseen: its metadata, and nothing else.
func (f *follower) ghost(name types.NamespacedName, t trace) kinds.Object {
	obj := f.kind.New()
	obj.SetName(name.Name)
	obj.SetNamespace(name.Namespace)
	obj.SetUID(t.uid)
	obj.SetLabels(t.labels)
	obj.SetOwnerReferences(t.owners)
	return obj
}
