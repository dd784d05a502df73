package apiserver

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// These methods are client.Pipeline: the pipeline for callers in this process. They speak the hub version. Objects that go in are copied; what comes out is
// decoded from the stored bytes, shared and never changed.

// enter begins a call from this process.
func (s *Server) enter(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name, subresource, verb string) (*call, error) {
	c, err := s.begin(ctx, who, k, namespace, name, subresource)
	if err == nil {
		err = c.authorize(verb)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// enterList is enter for verbs that take selectors.
func (s *Server) enterList(ctx context.Context, who user.Info, k *kinds.Kind, namespace, verb string, opts *metav1.ListOptions) (*call, error) {
	c, err := s.begin(ctx, who, k, namespace, "", "")
	if err == nil {
		err = c.authorizeList(verb, opts.FieldSelector, opts.LabelSelector)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// begin makes a call of what is asked.
func (s *Server) begin(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name, subresource string) (*call, error) {
	c := &call{Server: s, ctx: ctx, user: who, agent: who.GetName(), warn: func(string) {}}
	if k.Custom() {
		// Callers may hold a kind whose definition has changed since.
		now := s.live.At(k.Storage.Prefix)
		if now == nil {
			return nil, apierrors.NewNotFound(k.GroupResource(), name)
		}
		k = now
	}
	hub := k.Hub
	for _, v := range k.Served {
		if hub == nil && v.ToHub == nil && v.FromHub == nil {
			hub = v
		}
	}
	if hub == nil {
		hub = k.Served[0]
	}
	c.target = target{
		resource: &resource{kind: k, served: hub}, isResource: true, group: hub.Group, version: hub.Version, plural: k.Plural,
		namespace: namespace, name: name, subresource: subresource,
	}
	if !k.Namespaced {
		c.namespace = ""
	}
	if known := s.fixed[resourceKey{hub.Group, hub.Version, k.Plural}]; known != nil && known.kind == k {
		c.resource = known
	} else {
		c.resource.head = encode.NewHead(k, hub)
	}
	if subresource != "" {
		if c.sub = k.SubresourceOf(hub, subresource); c.sub == nil {
			return nil, apierrors.NewNotFound(c.groupResource(), name+"/"+subresource)
		}
	}
	if c.target.name != "" && c.plural == "namespaces" {
		c.namespace = name
	}
	return c, nil
}

// hubOf is the object that a result stands for.
func (c *call) hubOf(out result) (kinds.Object, error) {
	if out.record != nil {
		return c.decoded(out.record)
	}
	obj, ok := out.object.(kinds.Object)
	if !ok {
		return nil, nil
	}
	obj.GetObjectKind().SetGroupVersionKind(c.kind.New().GetObjectKind().GroupVersionKind())
	return obj, nil
}

// GetObject implements client.Pipeline.
func (s *Server) GetObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name string) (kinds.Object, error) {
	c, err := s.enter(ctx, who, k, namespace, name, "", "get")
	if err != nil {
		return nil, err
	}
	rec, err := c.record()
	if err != nil {
		return nil, err
	}
	return c.decoded(rec)
}

// ListObjects implements client.Pipeline.
func (s *Server) ListObjects(ctx context.Context, who user.Info, k *kinds.Kind, namespace string, opts metav1.ListOptions) ([]kinds.Object, string, string, error) {
	c, err := s.enterList(ctx, who, k, namespace, "list", &opts)
	if err != nil {
		return nil, "", "", err
	}
	q, err := c.listQuery(&opts, false)
	if err != nil {
		return nil, "", "", err
	}
	records, meta, err := c.page(q)
	if err != nil {
		return nil, "", "", err
	}
	out := make([]kinds.Object, 0, len(records))
	for _, rec := range records {
		obj, err := c.decoded(rec)
		if err != nil {
			return nil, "", "", err
		}
		out = append(out, obj)
	}
	return out, meta.ResourceVersion, meta.Continue, nil
}

// CreateObject implements client.Pipeline.
func (s *Server) CreateObject(ctx context.Context, who user.Info, k *kinds.Kind, obj kinds.Object, opts metav1.CreateOptions) (kinds.Object, error) {
	c, err := s.enter(ctx, who, k, obj.GetNamespace(), "", "", "create")
	if err != nil {
		return nil, err
	}
	if k.Namespaced && c.namespace == "" {
		return nil, apierrors.NewBadRequest("an object of a namespaced kind needs a namespace")
	}
	own, err := c.copyIn(obj)
	if err != nil {
		return nil, err
	}
	out, err := c.create(own, &opts)
	if err != nil {
		return nil, err
	}
	return c.hubOf(out)
}

// copyIn makes a caller's object the pipeline's own, with defaults.
func (c *call) copyIn(obj kinds.Object) (kinds.Object, error) {
	return c.toHub(obj.DeepCopyObject().(kinds.Object))
}

// UpdateObject implements client.Pipeline.
func (s *Server) UpdateObject(ctx context.Context, who user.Info, k *kinds.Kind, obj kinds.Object, subresource string, opts metav1.UpdateOptions) (kinds.Object, error) {
	c, err := s.enter(ctx, who, k, obj.GetNamespace(), obj.GetName(), subresource, "update")
	if err != nil {
		return nil, err
	}
	out, err := c.update(func() (kinds.Object, error) { return c.copyIn(obj) }, &opts)
	if err != nil {
		return nil, err
	}
	return c.hubOf(out)
}

// PatchObject implements client.Pipeline.
func (s *Server) PatchObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name string, pt types.PatchType, data []byte, subresource string, opts metav1.PatchOptions) (kinds.Object, error) {
	c, err := s.enter(ctx, who, k, namespace, name, subresource, "patch")
	if err != nil {
		return nil, err
	}
	out, err := c.patch(pt, data, &opts)
	if err != nil {
		return nil, err
	}
	return c.hubOf(out)
}

// DeleteObject implements client.Pipeline.
func (s *Server) DeleteObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name string, opts metav1.DeleteOptions) error {
	c, err := s.enter(ctx, who, k, namespace, name, "", "delete")
	if err != nil {
		return err
	}
	_, err = c.delete(&opts)
	return err
}

// DeleteObjects implements client.Pipeline.
func (s *Server) DeleteObjects(ctx context.Context, who user.Info, k *kinds.Kind, namespace string, opts metav1.DeleteOptions, list metav1.ListOptions) error {
	c, err := s.enterList(ctx, who, k, namespace, "deletecollection", &list)
	if err != nil {
		return err
	}
	q, err := c.listQuery(&list, false)
	if err != nil {
		return err
	}
	_, _, err = c.deleteCollection(&opts, q)
	return err
}

// PostObject implements client.Pipeline.
func (s *Server) PostObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name, subresource string, in runtime.Object, opts metav1.CreateOptions) (runtime.Object, error) {
	c, err := s.enter(ctx, who, k, namespace, name, subresource, "create")
	if err != nil {
		return nil, err
	}
	out, err := c.post(in.DeepCopyObject(), &opts)
	if err != nil {
		return nil, err
	}
	return out.object, nil
}

// WatchObjects implements client.Pipeline.
func (s *Server) WatchObjects(ctx context.Context, who user.Info, k *kinds.Kind, namespace string, opts metav1.ListOptions) (watch.Interface, error) {
	c, err := s.enterList(ctx, who, k, namespace, "watch", &opts)
	if err != nil {
		return nil, err
	}
	st, err := c.watch(&opts)
	if err != nil {
		if inside, ok := err.(streamError); ok {
			err = inside.error
		}
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &objectWatch{call: c, ctx: ctx, cancel: cancel, out: make(chan watch.Event, 16)}
	release := context.AfterFunc(s.stop, cancel)
	go func() {
		defer close(w.out)
		defer release()
		defer cancel()
		limited := ctx
		if t := opts.TimeoutSeconds; t != nil && *t > 0 {
			var done context.CancelFunc
			limited, done = context.WithTimeout(ctx, st.timeout())
			defer done()
		}
		_ = st.run(limited, w)
	}()
	return w, nil
}

// objectWatch hands what a watcher sees on as objects.
type objectWatch struct {
	*call
	ctx    context.Context
	cancel context.CancelFunc
	out    chan watch.Event
}

func (w *objectWatch) ResultChan() <-chan watch.Event { return w.out }
func (w *objectWatch) Stop()                          { w.cancel() }

func (w *objectWatch) send(e watch.Event) error {
	select {
	case w.out <- e:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func (w *objectWatch) object(v seen) error {
	obj, err := w.decoded(v.record)
	if err != nil {
		return err
	}
	if v.revision != 0 {
		obj = shallow(obj)
		setRevision(obj, v.revision)
	}
	return w.send(watch.Event{Type: v.event, Object: obj})
}

func (w *objectWatch) bookmark(revision string, initialEnd bool) error {
	obj := w.kind.New()
	obj.SetResourceVersion(revision)
	if initialEnd {
		obj.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return w.send(watch.Event{Type: watch.Bookmark, Object: obj})
}

func (w *objectWatch) failure(status *metav1.Status) error {
	return w.send(watch.Event{Type: watch.Error, Object: status})
}

func (w *objectWatch) flush() error { return nil }

// FollowObjects implements client.Pipeline.
func (s *Server) FollowObjects(ctx context.Context, k *kinds.Kind, namespace string, selector labels.Selector, fields map[string]string,
	handle func(old, obj kinds.Object), synced func()) error {
	var sel *store.Selector
	if selector != nil && !selector.Empty() || len(fields) > 0 {
		sel = &store.Selector{Labels: selector, Fields: fields}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	page, err := s.cfg.Store.List(store.ListQuery{Prefix: k.Storage.Prefix, Namespace: namespace, Selector: sel})
	if err != nil {
		return err
	}
	w, err := s.cfg.Store.Watch(store.WatchQuery{Prefix: k.Storage.Prefix, Namespace: namespace, Selector: sel, From: page.Revision})
	if errors.Is(err, store.ErrExpired) {
		return expired("the first list was outrun")
	}
	if err != nil {
		return err
	}
	defer w.Close()
	for _, rec := range page.Records {
		obj, err := encode.Object(k, rec)
		if err != nil {
			return err
		}
		handle(nil, obj)
	}
	page = nil
	if synced != nil {
		synced()
	}
	for {
		events, err := w.Next(ctx)
		if errors.Is(err, store.ErrExpired) {
			return expired("the reader fell too far behind")
		}
		if err != nil {
			return err
		}
		for i := range events {
			e := &events[i]
			var old, obj kinds.Object
			if e.Prev != nil && sel.Matches(e.Prev) {
				if old, err = encode.Object(k, e.Prev); err != nil {
					return err
				}
			}
			if e.Record != nil && sel.Matches(e.Record) {
				if obj, err = encode.Object(k, e.Record); err != nil {
					return err
				}
			}
			if old != nil || obj != nil {
				handle(old, obj)
			}
		}
	}
}
