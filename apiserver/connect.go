package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/kinds"
)

// handler is what stands behind the call's subresource, if anything does.
func (c *call) handler() (connect.Handler, bool) {
	if c.sub == nil {
		return connect.Handler{}, false
	}
	h, ok := c.cfg.Connect[c.kind.Plural+"/"+c.sub.Name]
	return h, ok
}

// handled reports that the request is for a handler that takes the connection over.
func (x *exchange) handled() bool {
	h, ok := x.handler()
	if ok {
		return h.HTTP != nil
	}
	return x.sub.Connect && x.sub.Name != "eviction"
}

func (c *call) connectRequest(obj kinds.Object) *connect.Request {
	return &connect.Request{Kind: c.kind, Object: obj, Namespace: c.namespace, Name: c.name, Subresource: c.subresource, Path: c.path, User: c.user}
}

// connect hands the connection to a handler, when admission lets it pass.
func (x *exchange) connect() {
	x.metered = "connect"
	h, ok := x.handler()
	if !ok {
		x.fail(apiError(http.StatusNotImplemented, metav1.StatusReasonUnknown, fmt.Sprintf("%s/%s is not available on this server", x.kind.Plural, x.sub.Name)))
		return
	}
	if len(x.values()["dryRun"]) > 0 {
		x.fail(apierrors.NewBadRequest("dryRun is not supported"))
		return
	}
	name := x.name
	if x.sub.Name == "proxy" { // whose object may be named with a scheme and a port: "https:web:8443"
		if _, bare, _, ok := utilnet.SplitSchemeNamePort(name); ok {
			x.name = bare
		}
	}
	rec, err := x.record()
	if err != nil {
		x.fail(err)
		return
	}
	obj, err := x.decoded(rec)
	if err != nil {
		x.fail(err)
		return
	}
	if x.sub.Name != "log" { // which only reads
		a := x.admissionRequest(admission.Connect, nil, obj, false, nil)
		if x.sub.New != nil {
			a.In = connect.OptionsObject(x.sub.New(), x.values(), x.path)
		}
		defer a.Finish()
		if err := x.mutate(a); err != nil {
			x.fail(err)
			return
		}
		if err := x.allow(a); err != nil {
			x.fail(err)
			return
		}
	}
	x.observe(0, true)
	q := x.connectRequest(obj)
	q.Name, q.Options = name, x.values()
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	defer context.AfterFunc(x.stop, cancel)()
	h.HTTP(x.w, x.r.WithContext(ctx), q)
}

// decodeSub reads what is sent to a subresource of another type, or of the object's own.
func (c *call) decodeSub(p *payload) (runtime.Object, error) {
	if c.sub.New == nil {
		return c.decode(p)
	}
	in := c.sub.New()
	if err := c.decodeInto(p, c.sub.GVK, in); err != nil {
		return nil, err
	}
	return in, nil
}

// post creates through a subresource: an action (binding, eviction, token).
func (c *call) post(in runtime.Object, opts *metav1.CreateOptions) (result, error) {
	if errs := metav1validation.ValidateCreateOptions(opts); len(errs) > 0 {
		return result{}, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "CreateOptions"}, "", errs)
	}
	if m, ok := in.(metav1.Object); ok {
		if err := ensureNamespace(m, c.scope()); err != nil {
			return result{}, err
		}
		if m.GetName() == "" {
			m.SetName(c.name)
		}
		if m.GetName() != c.name {
			return result{}, apierrors.NewBadRequest("name in URL does not match name in " + c.sub.GVK.Kind + " object")
		}
	}
	dryRun := isDryRun(opts.DryRun)
	h, handled := c.handler()
	switch {
	case handled && h.Action != nil:
		rec, err := c.record()
		if err != nil {
			return result{}, err
		}
		obj, err := c.decoded(rec)
		if err != nil {
			return result{}, err
		}
		if err := c.admitAction(in, obj, dryRun, opts); err != nil {
			return result{}, err
		}
		q := c.connectRequest(obj)
		q.DryRun = dryRun
		out, err := h.Action(c.ctx, q, in)
		if err != nil {
			return result{}, err
		}
		return actionResult(out, c.sub.GVK), nil
	case c.sub.Name == "eviction":
		return c.evict(in, opts)
	case c.sub.Write != nil:
		return c.act(in, opts)
	}
	return result{}, apiError(http.StatusNotImplemented, metav1.StatusReasonUnknown, fmt.Sprintf("%s/%s is not available on this server", c.kind.Plural, c.sub.Name))
}

func actionResult(out runtime.Object, gvk schema.GroupVersionKind) result {
	if s, ok := out.(*metav1.Status); ok && s.Code == 0 {
		s.Code = http.StatusCreated
	}
	if out.GetObjectKind().GroupVersionKind().Empty() {
		out.GetObjectKind().SetGroupVersionKind(gvk)
	}
	return result{object: out, created: true}
}

func (c *call) admitAction(in runtime.Object, obj kinds.Object, dryRun bool, opts *metav1.CreateOptions) error {
	r := c.admissionRequest(admission.Create, nil, obj, dryRun, opts)
	r.In = in
	if err := c.mutate(r); err != nil {
		return err
	}
	return c.allow(r)
}

// act is an action that the kind carries out on the object itself (binding).
func (c *call) act(in runtime.Object, opts *metav1.CreateOptions) (result, error) {
	// Kinds read no clock: what an action writes down as its time (PodScheduled of a binding) is when it was sent, as upstream has it.
	if m, err := meta.Accessor(in); err == nil {
		m.SetCreationTimestamp(c.stamp())
	}
	admitted := false
	ch := change{dryRun: isDryRun(opts.DryRun), fixed: true, in: in, update: &metav1.UpdateOptions{DryRun: opts.DryRun}}
	ch.make = func(old kinds.Object) (kinds.Object, error) {
		if !admitted {
			if err := c.admitAction(in, old, ch.dryRun, opts); err != nil {
				return nil, err
			}
			admitted = true
		}
		return c.written(old, in)
	}
	if _, err := c.change(ch); err != nil {
		return result{}, err
	}
	return result{created: true, object: &metav1.Status{Status: metav1.StatusSuccess, Code: http.StatusCreated}}, nil
}

// updateView replaces a subresource's view of an object (scale).
func (c *call) updateView(in runtime.Object, opts *metav1.UpdateOptions) (result, error) {
	if errs := metav1validation.ValidateUpdateOptions(opts); len(errs) > 0 {
		return result{}, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "UpdateOptions"}, "", errs)
	}
	m, ok := in.(metav1.Object)
	if !ok {
		return result{}, errors.New("a view without metadata cannot be updated")
	}
	if err := ensureNamespace(m, c.scope()); err != nil {
		return result{}, err
	}
	if err := c.checkName(m); err != nil {
		return result{}, err
	}
	out, err := c.change(change{
		manager: c.fieldManager(opts.FieldManager), track: true, dryRun: isDryRun(opts.DryRun), update: opts, in: in,
		make: func(old kinds.Object) (kinds.Object, error) { return c.written(old, in) },
	})
	if err != nil {
		return result{}, err
	}
	if out.record != nil {
		return c.shown(out.record, false)
	}
	return c.shownObject(out.object)
}

// shownObject is the view of an object that was not stored (dry run).
func (c *call) shownObject(obj runtime.Object) (result, error) {
	o, ok := obj.(kinds.Object)
	if !ok || c.sub == nil || c.sub.Read == nil {
		return result{object: obj}, nil
	}
	if c.served.ToHub != nil {
		hub, err := c.served.ToHub(o)
		if err != nil {
			return result{}, err
		}
		o = hub
	}
	v, err := c.sub.Read(o)
	if err != nil {
		return result{}, err
	}
	v.GetObjectKind().SetGroupVersionKind(c.sub.GVK)
	return result{object: v}, nil
}
