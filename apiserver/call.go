package apiserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// call is one request on its way through the pipeline, over HTTP or from this process.
type call struct {
	*Server
	target
	ctx   context.Context
	user  user.Info
	agent string // User-Agent: whom managedFields name when the client does not say
	warn  func(text string)
	url   string // path, for authorization

	attributes authorizer.AttributesRecord // what was asked of the authorizer last
}

// result is what a request ended with: a stored object, or anything else.
type result struct {
	record  *store.Record
	source  kinds.Object   // what record was made of, when it is at hand; belongs to the call
	object  runtime.Object // in the version to be sent, when record is nil
	created bool
	deleted bool
}

// authorize asks whether the user may do verb on the call's target.
func (c *call) authorize(verb string) error {
	if c.cfg.Authorizer == nil {
		return nil
	}
	a := &c.attributes
	a.User, a.Verb, a.Namespace, a.APIGroup, a.APIVersion, a.Resource = c.user, verb, c.namespace, c.group, c.version, c.plural
	a.Subresource, a.Name, a.ResourceRequest, a.Path = c.subresource, c.name, true, c.url
	return c.Server.authorize(c.ctx, a)
}

// authorizeList is authorize for verbs that take selectors, which are part of what is asked. A list of one name is authorized by that name.
func (c *call) authorizeList(verb, fieldSelector, labelSelector string) error {
	a := &c.attributes
	name := c.name
	if fieldSelector != "" {
		sel, err := fields.ParseSelector(fieldSelector)
		if a.FieldSelectorParsingErr = err; err == nil {
			a.FieldSelectorRequirements = sel.Requirements()
			if exact, ok := sel.RequiresExactMatch("metadata.name"); ok && name == "" && verb != "deletecollection" && len(path.IsValidPathSegmentName(exact)) == 0 {
				c.name = exact
			}
		}
	}
	if labelSelector != "" {
		sel, err := labels.Parse(labelSelector)
		if a.LabelSelectorParsingErr = err; err == nil {
			a.LabelSelectorRequirements, _ = sel.Requirements()
		}
	}
	err := c.authorize(verb)
	c.name = name
	a.FieldSelectorRequirements, a.FieldSelectorParsingErr, a.LabelSelectorRequirements, a.LabelSelectorParsingErr = nil, nil, nil, nil
	return err
}

func (s *Server) authorize(ctx context.Context, a *authorizer.AttributesRecord) error {
	if s.cfg.Authorizer == nil {
		return nil
	}
	decision, reason, err := s.cfg.Authorizer.Authorize(ctx, a)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	return forbidden(a, reason)
}

func (c *call) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: c.served.Group, Resource: c.kind.Plural}
}

func (c *call) groupKind() schema.GroupKind {
	return schema.GroupKind{Group: c.served.Group, Kind: c.kind.Kind}
}

func (c *call) gvk() schema.GroupVersionKind { return c.served.GroupVersion().WithKind(c.kind.Kind) }

func (c *call) key() store.Key { return keyOf(c.kind, c.namespace, c.name) }

// scope is the namespace that an object must be in: none for what is cluster-scoped.
func (c *call) scope() string {
	if !c.kind.Namespaced {
		return ""
	}
	return c.namespace
}

func (c *call) notFound() error { return apierrors.NewNotFound(c.groupResource(), c.name) }

// record reads the newest state of the call's object.
func (c *call) record() (*store.Record, error) {
	r, err := c.cfg.Store.Get(c.key())
	if errors.Is(err, store.ErrNotFound) {
		return nil, c.notFound()
	}
	return r, err
}

// fieldManager is the name under which a write is tracked.
func (c *call) fieldManager(asked string) string {
	if asked != "" {
		return asked
	}
	name, _, _ := strings.Cut(c.agent, "/")
	var b strings.Builder
	for _, r := range name {
		if !unicode.IsPrint(r) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > metav1validation.FieldManagerMaxLength {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

func isDryRun(d []string) bool { return len(d) > 0 }

// ensureNamespace makes an object live in the request's namespace, or says that it cannot.
func ensureNamespace(obj metav1.Object, want string) error {
	switch have := obj.GetNamespace(); {
	case have == want:
	case have == "" || want == "":
		obj.SetNamespace(want)
	default:
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

// checkName compares the object's name with the URL's.
func (c *call) checkName(obj metav1.Object) error {
	if obj.GetName() == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: name must be provided", c.name))
	}
	if obj.GetName() != c.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), c.name))
	}
	if c.scope() != "" && obj.GetNamespace() != "" && obj.GetNamespace() != c.namespace {
		return apierrors.NewBadRequest(fmt.Sprintf("the namespace of the object (%s) does not match the namespace on the request (%s)", obj.GetNamespace(), c.namespace))
	}
	return nil
}

// admissionRequest is the call as plugins see it.
func (c *call) admissionRequest(op admission.Operation, obj, old kinds.Object, dryRun bool, options runtime.Object) *admission.Request {
	name := c.name
	if name == "" && obj != nil {
		name = obj.GetName()
	}
	return &admission.Request{
		Operation: op, Kind: c.kind, Served: c.served, Subresource: c.subresource, Namespace: c.namespace, Name: name,
		Object: obj, Old: old, User: c.user, DryRun: dryRun, Options: options, Warn: c.warn,
	}
}

func (c *call) mutate(r *admission.Request) error {
	for i, p := range c.cfg.Admission {
		m, ok := p.(admission.Mutator)
		if !ok {
			continue
		}
		if err := m.Mutate(c.ctx, r); err != nil {
			return c.refused(r, err)
		}
		if !r.Reinvoked() {
			continue
		}
		r.Again = true
		for _, p := range c.cfg.Admission[:i+1] {
			if m, ok := p.(admission.Mutator); ok {
				if err := m.Mutate(c.ctx, r); err != nil {
					return c.refused(r, err)
				}
			}
		}
	}
	return nil
}

func (c *call) allow(r *admission.Request) error {
	for _, p := range c.cfg.Admission {
		if v, ok := p.(admission.Validator); ok {
			if err := v.Validate(c.ctx, r); err != nil {
				return c.refused(r, err)
			}
		}
	}
	return nil
}

// complete runs what comes after all checks, just before the write.
func (c *call) complete(r *admission.Request) error {
	for _, p := range c.cfg.Admission {
		if f, ok := p.(admission.Completer); ok {
			if err := f.Complete(c.ctx, r); err != nil {
				return c.refused(r, err)
			}
		}
	}
	return nil
}

// refused makes an API error of what an admission plugin said.
func (c *call) refused(r *admission.Request, err error) error {
	if _, ok := err.(apierrors.APIStatus); ok {
		return err
	}
	return apierrors.NewForbidden(c.groupResource(), r.Name, err)
}

// invalid is nil when there is nothing wrong.
func (c *call) invalid(name string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(c.groupKind(), name, errs)
}

func (c *call) warnings(obj, old kinds.Object) {
	of := c.kind.Warnings
	if c.sub != nil && c.sub.New == nil {
		of = c.sub.Warnings
	}
	if of == nil {
		return
	}
	for _, w := range of(obj, old) {
		c.warn(w)
	}
}

// decoded is a record's object, shared.
func (c *call) decoded(r *store.Record) (kinds.Object, error) { return encode.Object(c.kind, r) }

// own is a record's object for the caller to change.
func (c *call) own(r *store.Record) (kinds.Object, error) { return encode.Fresh(c.kind, r) }

// view gives a hub object in the version the client speaks, with its type header: for what is not sent from the store's records.
func (c *call) view(obj kinds.Object) (runtime.Object, error) {
	v, err := encode.Convert(c.served, obj)
	if err != nil {
		return nil, err
	}
	if v == obj && obj != nil {
		v = obj.DeepCopyObject().(kinds.Object)
	}
	v.GetObjectKind().SetGroupVersionKind(c.gvk())
	return v, nil
}
