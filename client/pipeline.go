package client

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/kinds"
)

// Pipeline is what an API server offers callers in its own process: the request pipeline as functions. *apiserver.Server has these methods; neither
// package imports the other. Objects that come out are shared, in the hub version; objects that go in are copied and normalised.
type Pipeline interface {
	GetObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name string) (kinds.Object, error)
	// ListObjects returns items, resourceVersion and continue token.
	ListObjects(ctx context.Context, who user.Info, k *kinds.Kind, namespace string, opts metav1.ListOptions) ([]kinds.Object, string, string, error)
	WatchObjects(ctx context.Context, who user.Info, k *kinds.Kind, namespace string, opts metav1.ListOptions) (watch.Interface, error)
	CreateObject(ctx context.Context, who user.Info, k *kinds.Kind, obj kinds.Object, opts metav1.CreateOptions) (kinds.Object, error)
	UpdateObject(ctx context.Context, who user.Info, k *kinds.Kind, obj kinds.Object, subresource string, opts metav1.UpdateOptions) (kinds.Object, error)
	PatchObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name string, pt types.PatchType, data []byte, subresource string, opts metav1.PatchOptions) (kinds.Object, error)
	DeleteObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name string, opts metav1.DeleteOptions) error
	DeleteObjects(ctx context.Context, who user.Info, k *kinds.Kind, namespace string, opts metav1.DeleteOptions, list metav1.ListOptions) error
	PostObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name, subresource string, in runtime.Object, opts metav1.CreateOptions) (runtime.Object, error)

	// Peek, PeekList, PeekOwned and PeekField read the newest state without authorization, straight from the store's memory, decoding at most once for all readers.
	Peek(k *kinds.Kind, namespace, name string) (kinds.Object, bool)
	PeekList(k *kinds.Kind, namespace string, selector labels.Selector) []kinds.Object
	PeekOwned(k *kinds.Kind, namespace string, owner types.UID) []kinds.Object
	PeekField(k *kinds.Kind, namespace, field, value string) []kinds.Object
	// FollowObjects calls handle(nil, obj) for each object there is, then synced, then handle(old, new) for each change (new nil: gone, or no longer selected).
	// It ends with ctx, with the server, or with an error when the reader fell so far behind that it must start again.
	FollowObjects(ctx context.Context, k *kinds.Kind, namespace string, selector labels.Selector, fields map[string]string, handle func(old, new kinds.Object), synced func()) error
}
