package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/tenet-run/tenet/kinds"
)

// Remote is a Client that speaks HTTP to any Kubernetes API server, in protobuf. It has no rate limit of its own unless cfg sets one: the server has.
func Remote(cfg *rest.Config) (Client, error) {
	c := rest.CopyConfig(cfg)
	if c.QPS == 0 && c.RateLimiter == nil {
		c.QPS = -1
	}
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	h, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	r := &remote{cfg: c, rest: map[door]rest.Interface{}}
	r.dial = func(gv schema.GroupVersion, custom bool) (rest.Interface, error) {
		g := rest.CopyConfig(c)
		if custom {
			g = dynamic.ConfigFor(g) // objects of custom kinds have no protobuf form
		}
		g.GroupVersion = &gv
		g.APIPath = "/apis"
		if gv.Group == "" {
			g.APIPath = "/api"
		}
		return rest.RESTClientForConfigAndClient(g, h)
	}
	return r, nil
}

type remote struct {
	cfg  *rest.Config
	dial func(gv schema.GroupVersion, custom bool) (rest.Interface, error)
	mu   sync.Mutex
	rest map[door]rest.Interface
}

// optionsVersion is that of options in queries, whatever version the objects are in.
var optionsVersion = schema.GroupVersion{Version: "v1"}

// door is a group version, in the form that built-in or custom objects are sent in.
type door struct {
	schema.GroupVersion
	custom bool
}

// of returns the REST client of a kind's hub version; connections are shared by all.
func (c *remote) of(k *kinds.Kind) (rest.Interface, error) {
	at := door{k.Served[0].GroupVersion(), k.Custom()}
	if k.Hub != nil && k.Serves(k.Hub.GroupVersion()) != nil {
		at.GroupVersion = k.Hub.GroupVersion()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.rest[at]; r != nil {
		return r, nil
	}
	r, err := c.dial(at.GroupVersion, at.custom)
	if err != nil {
		return nil, fmt.Errorf("client: %s: %w", at.GroupVersion, err)
	}
	c.rest[at] = r
	return r, nil
}

// call is one request on its way: the parts that every verb shares.
func (c *remote) call(k *kinds.Kind, verb, namespace, name, subresource string, opts runtime.Object) (*rest.Request, error) {
	r, err := c.of(k)
	if err != nil {
		return nil, err
	}
	q := r.Verb(verb).NamespaceIfScoped(namespace, k.Namespaced && namespace != "").Resource(k.Plural)
	if name != "" {
		q = q.Name(name)
	}
	if subresource != "" {
		q = q.SubResource(subresource)
	}
	if opts != nil {
		q = q.SpecificallyVersionedParams(opts, scheme.ParameterCodec, optionsVersion)
	}
	return q, nil
}

// object sends a request whose answer is one object of the kind.
func object(ctx context.Context, k *kinds.Kind, q *rest.Request, err error) (kinds.Object, error) {
	if err != nil {
		return nil, err
	}
	out := k.New()
	if err := q.Do(ctx).Into(out); err != nil {
		return nil, err
	}
	return out, nil
}

func (c *remote) Get(ctx context.Context, k *kinds.Kind, namespace, name string) (kinds.Object, error) {
	q, err := c.call(k, "GET", namespace, name, "", nil)
	return object(ctx, k, q, err)
}

func (c *remote) List(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.ListOptions) (*List, error) {
	q, err := c.call(k, "GET", namespace, "", "", &opts)
	if err != nil {
		return nil, err
	}
	list := k.NewList()
	if err := q.Do(ctx).Into(list); err != nil {
		return nil, err
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return nil, err
	}
	out := &List{ResourceVersion: m.GetResourceVersion(), Continue: m.GetContinue()}
	err = meta.EachListItem(list, func(o runtime.Object) error {
		out.Items = append(out.Items, o.(kinds.Object))
		return nil
	})
	return out, err
}

func (c *remote) Watch(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.ListOptions) (watch.Interface, error) {
	opts.Watch = true
	q, err := c.call(k, "GET", namespace, "", "", &opts)
	if err != nil {
		return nil, err
	}
	if opts.TimeoutSeconds != nil {
		q = q.Timeout(time.Duration(*opts.TimeoutSeconds) * time.Second)
	}
	return q.Watch(ctx)
}

func (c *remote) Create(ctx context.Context, k *kinds.Kind, obj kinds.Object, opts metav1.CreateOptions) (kinds.Object, error) {
	q, err := c.call(k, "POST", obj.GetNamespace(), "", "", &opts)
	if err != nil {
		return nil, err
	}
	return object(ctx, k, q.Body(obj.(runtime.Object)), nil)
}

func (c *remote) Update(ctx context.Context, k *kinds.Kind, obj kinds.Object, subresource string, opts metav1.UpdateOptions) (kinds.Object, error) {
	q, err := c.call(k, "PUT", obj.GetNamespace(), obj.GetName(), subresource, &opts)
	if err != nil {
		return nil, err
	}
	return object(ctx, k, q.Body(obj.(runtime.Object)), nil)
}

func (c *remote) Patch(ctx context.Context, k *kinds.Kind, namespace, name string, pt types.PatchType, data []byte, subresource string, opts metav1.PatchOptions) (kinds.Object, error) {
	r, err := c.of(k)
	if err != nil {
		return nil, err
	}
	q := r.Patch(pt).NamespaceIfScoped(namespace, k.Namespaced && namespace != "").Resource(k.Plural).Name(name).SpecificallyVersionedParams(&opts, scheme.ParameterCodec, optionsVersion)
	if subresource != "" {
		q = q.SubResource(subresource)
	}
	return object(ctx, k, q.Body(data), nil)
}

func (c *remote) Delete(ctx context.Context, k *kinds.Kind, namespace, name string, opts metav1.DeleteOptions) error {
	q, err := c.call(k, "DELETE", namespace, name, "", nil)
	if err != nil {
		return err
	}
	return q.Body(&opts).Do(ctx).Error()
}

func (c *remote) DeleteCollection(ctx context.Context, k *kinds.Kind, namespace string, opts metav1.DeleteOptions, list metav1.ListOptions) error {
	q, err := c.call(k, "DELETE", namespace, "", "", &list)
	if err != nil {
		return err
	}
	return q.Body(&opts).Do(ctx).Error()
}

func (c *remote) Post(ctx context.Context, k *kinds.Kind, namespace, name, subresource string, in runtime.Object, opts metav1.CreateOptions) (runtime.Object, error) {
	q, err := c.call(k, "POST", namespace, name, subresource, &opts)
	if err != nil {
		return nil, err
	}
	return q.Body(in).Do(ctx).Get()
}
