// Package client is how every part of Tenet talks to the API: one interface, [Client], with two implementations that pass the same suite.
// [InProcess] calls the API server's pipeline as a function (no HTTP, no encoding, the same checks); [Remote] speaks HTTP.
//
// # Objects are shared
//
// Every object that comes out of a Client or a [Cache] is shared with other readers and immutable: DeepCopy it before changing it. Objects that go
// in are copied before the call returns; the caller keeps them.
//
// # What a reader may rely on
//
// In process, a Cache shows a write as soon as it has returned, to everybody. Remotely it may lag behind: plans stay right by deterministic names and by
// preconditions (resourceVersion, UID), never by waiting for a cache.
//
// Errors are API errors (k8s.io/apimachinery/pkg/api/errors) with the status that an HTTP client would see.
package client

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tenet-run/tenet/kinds"
)

// Client reads and writes objects of any kind, in the kind's hub version. An empty namespace means all namespaces, or a cluster-scoped kind.
type Client interface {
	Get(ctx context.Context, k *kinds.Kind, namespace, name string) (kinds.Object, error)
	List(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.ListOptions) (*List, error)
	// Watch delivers kinds.Object values of the hub type; Error events carry a *metav1.Status, bookmarks an object with only a resourceVersion.
	Watch(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.ListOptions) (watch.Interface, error)
	// Create takes the namespace from the object.
	Create(ctx context.Context, k *kinds.Kind, obj kinds.Object, opts metav1.CreateOptions) (kinds.Object, error)
	// Update replaces the object, or through a subresource ("status") the part of it that the subresource may write.
	Update(ctx context.Context, k *kinds.Kind, obj kinds.Object, subresource string, opts metav1.UpdateOptions) (kinds.Object, error)
	Patch(ctx context.Context, k *kinds.Kind, namespace, name string, pt types.PatchType, data []byte, subresource string, opts metav1.PatchOptions) (kinds.Object, error)
	Delete(ctx context.Context, k *kinds.Kind, namespace, name string, opts metav1.DeleteOptions) error
	DeleteCollection(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.DeleteOptions, list metav1.ListOptions) error
	// Post creates through a subresource that is an action: "binding", "eviction", "token". It returns what the server answered.
	Post(ctx context.Context, k *kinds.Kind, namespace, name, subresource string, in runtime.Object, opts metav1.CreateOptions) (runtime.Object, error)
}

// List is the answer to a list. Items is the caller's; the objects are shared.
type List struct {
	Items           []kinds.Object
	ResourceVersion string
	Continue        string
}

// Cache reads without a round trip. A Cache has synced when it is handed out, for the kinds it was made for.
type Cache interface {
	// Get returns the object, or false.
	Get(k *kinds.Kind, namespace, name string) (kinds.Object, bool)
	// List returns objects in the order of namespace and name. A nil selector selects all.
	List(k *kinds.Kind, namespace string, selector labels.Selector) []kinds.Object
	// Owned returns the objects that name the UID in their ownerReferences.
	Owned(k *kinds.Kind, namespace string, owner types.UID) []kinds.Object
	// ByField returns the objects whose selectable field has the value ("spec.nodeName" of pods). The field must be among Kind.Indexed.
	ByField(k *kinds.Kind, namespace, field, value string) []kinds.Object
	// Follow calls handle for every object there is (as Added), then for every change, one after the other, until ctx ends. It blocks.
	// It survives lost connections and expired revisions by itself: what was there before such a gap may be handed on as added once more, and what went
	// meanwhile is handed on as deleted, with an Old that has only name, namespace, UID, labels and ownerReferences. Decide from state, not from the change.
	// synced is called once, when all that was there at the start has been handled; may be nil.
	Follow(ctx context.Context, k *kinds.Kind, namespace string, opts FollowOptions, handle func(Change), synced func()) error
}

// FollowOptions narrow what is followed. An object that leaves the selection is handed on as deleted.
type FollowOptions struct {
	Labels labels.Selector
	Fields map[string]string
}

// Change is one change of one object. Old is nil when it was added, New when it was deleted; neither is nil when it changed.
type Change struct {
	Old, New kinds.Object
}

// Object is the newest state that the change knows: New, or Old for a deletion.
func (c Change) Object() kinds.Object {
	if c.New != nil {
		return c.New
	}
	return c.Old
}

// As asserts the type of a result: pod, err := client.As[*corev1.Pod](c.Get(ctx, core.Pod, ns, name)).
func As[T kinds.Object](obj kinds.Object, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	t, ok := obj.(T)
	if !ok {
		return t, fmt.Errorf("client: got %T, want %T", obj, t)
	}
	return t, nil
}

// All asserts the type of every item.
func All[T kinds.Object](objs []kinds.Object) []T {
	out := make([]T, len(objs))
	for i, o := range objs {
		out[i] = o.(T)
	}
	return out
}

// Found asserts the type of what a Cache found: pod, ok := client.Found[*corev1.Pod](cache.Get(core.Pod, ns, name)).
func Found[T kinds.Object](obj kinds.Object, ok bool) (T, bool) {
	if !ok {
		var none T
		return none, false
	}
	t, ok := obj.(T)
	return t, ok
}
