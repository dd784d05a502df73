package client

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/kinds"
)

// InProcess is a Client that calls the pipeline as a function, as the given user.
func InProcess(p Pipeline, who user.Info) Client { return inProcess{p, who} }

type inProcess struct {
	p   Pipeline
	who user.Info
}

func (c inProcess) Get(ctx context.Context, k *kinds.Kind, namespace, name string) (kinds.Object, error) {
	return c.p.GetObject(ctx, c.who, k, namespace, name)
}

func (c inProcess) List(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.ListOptions) (*List, error) {
	items, rv, next, err := c.p.ListObjects(ctx, c.who, k, namespace, opts)
	if err != nil {
		return nil, err
	}
	return &List{Items: items, ResourceVersion: rv, Continue: next}, nil
}

func (c inProcess) Watch(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.ListOptions) (watch.Interface, error) {
	return c.p.WatchObjects(ctx, c.who, k, namespace, opts)
}

func (c inProcess) Create(ctx context.Context, k *kinds.Kind, obj kinds.Object, opts metav1.CreateOptions) (kinds.Object, error) {
	return c.p.CreateObject(ctx, c.who, k, obj, opts)
}

func (c inProcess) Update(ctx context.Context, k *kinds.Kind, obj kinds.Object, subresource string, opts metav1.UpdateOptions) (kinds.Object, error) {
	return c.p.UpdateObject(ctx, c.who, k, obj, subresource, opts)
}

func (c inProcess) Patch(ctx context.Context, k *kinds.Kind, namespace, name string, pt types.PatchType, data []byte, subresource string, opts metav1.PatchOptions) (kinds.Object, error) {
	return c.p.PatchObject(ctx, c.who, k, namespace, name, pt, data, subresource, opts)
}

func (c inProcess) Delete(ctx context.Context, k *kinds.Kind, namespace, name string, opts metav1.DeleteOptions) error {
	return c.p.DeleteObject(ctx, c.who, k, namespace, name, opts)
}

func (c inProcess) DeleteCollection(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.DeleteOptions, list metav1.ListOptions) error {
	return c.p.DeleteObjects(ctx, c.who, k, namespace, opts, list)
}

func (c inProcess) Post(ctx context.Context, k *kinds.Kind, namespace, name, subresource string, in runtime.Object, opts metav1.CreateOptions) (runtime.Object, error) {
	return c.p.PostObject(ctx, c.who, k, namespace, name, subresource, in, opts)
}
