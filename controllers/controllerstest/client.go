package controllerstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/watch"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

type worldClient struct {
	w      *World
	faulty bool
}

// Client writes to the world, subject to its faults.
func (w *World) Client() client.Client { return worldClient{w, true} }

// User is a client that no fault hits: the test itself, and the kubelets it plays.
func (w *World) User() client.Client { return worldClient{w, false} }

// do makes one write, with the faults around it.
func (c worldClient) do(ctx context.Context, write Write, f func() (kinds.Object, error)) (kinds.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.faulty && c.w.Before != nil {
		if err := c.w.Before(write); err != nil {
			return nil, err
		}
	}
	obj, err := f()
	if c.faulty && err == nil && c.w.After != nil {
		if lost := c.w.After(write); lost != nil {
			return nil, lost
		}
	}
	return obj, err
}

func (c worldClient) Get(ctx context.Context, k *kinds.Kind, namespace, name string) (kinds.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.w.find(k, namespace, name)
}

func (c worldClient) List(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.ListOptions) (*client.List, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	items := c.w.live.list(k, func(obj kinds.Object) bool { return namespace == "" || obj.GetNamespace() == namespace })
	return &client.List{Items: items, ResourceVersion: fmt.Sprint(c.w.version)}, nil
}

func (c worldClient) Watch(context.Context, *kinds.Kind, string, metav1.ListOptions) (watch.Interface, error) {
	return nil, errors.New("controllerstest: follow the cache instead")
}

func (c worldClient) Create(ctx context.Context, k *kinds.Kind, obj kinds.Object, _ metav1.CreateOptions) (kinds.Object, error) {
	return c.do(ctx, Write{"create", k, obj.GetNamespace(), obj.GetName(), ""}, func() (kinds.Object, error) { return c.w.create(k, obj) })
}

func (c worldClient) Update(ctx context.Context, k *kinds.Kind, obj kinds.Object, sub string, _ metav1.UpdateOptions) (kinds.Object, error) {
	return c.do(ctx, Write{"update", k, obj.GetNamespace(), obj.GetName(), sub}, func() (kinds.Object, error) { return c.w.update(k, obj, sub) })
}

func (c worldClient) Patch(ctx context.Context, k *kinds.Kind, namespace, name string, pt types.PatchType, data []byte, sub string, _ metav1.PatchOptions) (kinds.Object, error) {
	return c.do(ctx, Write{"patch", k, namespace, name, sub}, func() (kinds.Object, error) {
		old, err := c.w.find(k, namespace, name)
		if err != nil {
			return nil, err
		}
		obj, err := patched(k, old, pt, data)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if obj.GetUID() != old.GetUID() || obj.GetResourceVersion() != old.GetResourceVersion() {
			return nil, apierrors.NewConflict(k.GroupResource(), name, errors.New("the object has been modified"))
		}
		return c.w.replace(k, old, obj, sub)
	})
}

func patched(k *kinds.Kind, old kinds.Object, pt types.PatchType, data []byte) (kinds.Object, error) {
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	var after []byte
	switch pt {
	case types.MergePatchType:
		after, err = jsonpatch.MergePatch(before, data)
	case types.StrategicMergePatchType:
		after, err = strategicpatch.StrategicMergePatch(before, data, k.New())
	default:
		err = fmt.Errorf("controllerstest: no %s", pt)
	}
	if err != nil {
		return nil, err
	}
	obj := k.New()
	return obj, json.Unmarshal(after, obj)
}

func (c worldClient) Delete(ctx context.Context, k *kinds.Kind, namespace, name string, opts metav1.DeleteOptions) error {
	_, err := c.do(ctx, Write{"delete", k, namespace, name, ""}, func() (kinds.Object, error) { return nil, c.w.delete(k, namespace, name, opts) })
	return err
}

func (c worldClient) DeleteCollection(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.DeleteOptions, _ metav1.ListOptions) error {
	_, err := c.do(ctx, Write{"deletecollection", k, namespace, "", ""}, func() (kinds.Object, error) {
		for _, obj := range c.w.live.list(k, func(obj kinds.Object) bool { return obj.GetNamespace() == namespace }) {
			if err := c.w.delete(k, namespace, obj.GetName(), opts); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	return err
}

// Post knows one action: binding a pod to a node.
func (c worldClient) Post(ctx context.Context, k *kinds.Kind, namespace, name, sub string, in runtime.Object, _ metav1.CreateOptions) (runtime.Object, error) {
	b, ok := in.(*corev1.Binding)
	if !ok || k != core.Pod || sub != "binding" {
		return nil, apierrors.NewNotFound(k.GroupResource(), sub)
	}
	_, err := c.do(ctx, Write{"create", k, namespace, name, sub}, func() (kinds.Object, error) {
		old, err := c.w.find(k, namespace, name)
		if err != nil {
			return nil, err
		}
		pod := old.DeepCopyObject().(*corev1.Pod)
		pod.Spec.NodeName = b.Target.Name
		return c.w.put(k, old, pod), nil
	})
	return &metav1.Status{Status: metav1.StatusSuccess}, err
}

// equal compares two states as the API would store them.
func equal(a, b kinds.Object) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
