package apiserver

import (
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	kmeta "github.com/tenet-run/tenet/kinds/meta"
	"github.com/tenet-run/tenet/store"
)

// A generated name is the prefix, cut to fit into 63 characters, and 5 random letters and digits. A collision is tried again.
const (
	generatedSuffix  = 5
	generatedLength  = 63
	generatedRetries = 8
)

func generateName(prefix string) string {
	if len(prefix) > generatedLength-generatedSuffix {
		prefix = prefix[:generatedLength-generatedSuffix]
	}
	return prefix + rand.String(generatedSuffix)
}

func newUID() types.UID { return uuid.NewUUID() }

var errRevisionOnCreate = errors.New("resourceVersion should not be set on objects to be created")

// create stores a new object. obj is a hub object with defaults and belongs to the call.
func (c *call) create(obj kinds.Object, opts *metav1.CreateOptions) (result, error) {
	if errs := metav1validation.ValidateCreateOptions(opts); len(errs) > 0 {
		return result{}, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "CreateOptions"}, "", errs)
	}
	wipeSystemFields(obj)
	if err := ensureNamespace(obj, c.scope()); err != nil {
		return result{}, err
	}
	c.dedupOwners(obj, duplicateOwners)
	if err := c.trackUpdate(nil, obj, c.fieldManager(opts.FieldManager)); err != nil {
		return result{}, err
	}
	r := c.admissionRequest(admission.Create, obj, nil, isDryRun(opts.DryRun), opts)
	defer r.Finish()
	if c.kind.Storage.Prefix == "namespaces" && r.Namespace == "" {
		r.Namespace = obj.GetName() // a namespace is in its own scope
	}
	if err := c.mutate(r); err != nil {
		return result{}, err
	}
	obj = r.Object
	if !c.kind.Stored() {
		return c.answer(r)
	}
	c.dedupOwners(obj, duplicateOwnersAfterAdmission)
	return c.finishCreate(obj, r)
}

// answer is the create of a question: the kind's handler answers it, and nothing is stored.
func (c *call) answer(r *admission.Request) (result, error) {
	if to := c.kind.ActsOn; to != nil {
		inner, err := c.begin(c.ctx, c.user, to.Kind, c.namespace, r.Object.GetName(), to.Subresource)
		if err != nil {
			return result{}, err
		}
		inner.warn = c.warn
		return inner.post(r.Object, r.Options.(*metav1.CreateOptions)) // who may create this may do that
	}
	h, ok := c.cfg.Connect[c.kind.GroupResource().String()]
	if !ok || h.Action == nil {
		return result{}, apiError(http.StatusNotImplemented, metav1.StatusReasonUnknown, c.kind.Plural+" is not available on this server")
	}
	if err := c.invalid("", c.kind.ValidateCreate(c.served, r.Object)); err != nil {
		return result{}, err
	}
	if err := c.allow(r); err != nil {
		return result{}, err
	}
	q := c.connectRequest(nil)
	q.DryRun = r.DryRun
	out, err := h.Action(c.ctx, q, r.Object)
	if err != nil {
		return result{}, err
	}
	out.GetObjectKind().SetGroupVersionKind(c.gvk())
	return result{object: out, created: true}, nil
}

// finishCreate is what comes after mutation, for a create by whatever verb.
func (c *call) finishCreate(obj kinds.Object, r *admission.Request) (result, error) {
	generated := obj.GetName() == "" && obj.GetGenerateName() != ""
	if err := c.ready(obj, r); err != nil {
		return result{}, err
	}
	for try := 0; ; try++ {
		out, err := c.insert(obj, r)
		if err == nil || !generated || !apierrors.IsAlreadyExists(err) {
			return out, err
		}
		if try == generatedRetries-1 {
			return result{}, apierrors.NewGenerateNameConflict(c.groupResource(), obj.GetName(), 1)
		}
		obj.SetName(generateName(obj.GetGenerateName()))
		if c.kind.Canonicalize != nil {
			c.kind.Canonicalize(obj)
		}
	}
}

// ready makes an object what will be stored, or says why it will not.
func (c *call) ready(obj kinds.Object, r *admission.Request) error {
	generated := obj.GetName() == "" && obj.GetGenerateName() != ""
	c.fillSystemFields(obj)
	if generated {
		obj.SetName(generateName(obj.GetGenerateName()))
	}
	if err := ensureNamespace(obj, c.scope()); err != nil {
		return err
	}
	c.kind.PrepareCreate(c.served, obj)
	if c.kind.Stamp != nil {
		c.kind.Stamp(obj, nil, c.stamp())
	}
	if c.kind.Requested != nil {
		c.kind.Requested(obj, kinds.Requester{Name: c.user.GetName(), UID: c.user.GetUID(), Groups: c.user.GetGroups(), Extra: c.user.GetExtra()})
	}
	errs := kmeta.ValidateCreate(obj, c.kind)
	errs = append(errs, c.kind.ValidateCreate(c.served, obj)...)
	if err := c.invalid(obj.GetName(), errs); err != nil {
		return err
	}
	c.warnings(obj, nil)
	if c.kind.Canonicalize != nil {
		c.kind.Canonicalize(obj)
	}
	r.Object = obj
	r.Name = obj.GetName()
	if err := c.allow(r); err != nil {
		return err
	}
	if obj.GetResourceVersion() != "" && obj.GetResourceVersion() != "0" {
		return errRevisionOnCreate
	}
	obj.SetResourceVersion("")
	return c.complete(r)
}

func (c *call) insert(obj kinds.Object, r *admission.Request) (result, error) {
	w, err := c.seal(obj)
	if err != nil {
		return result{}, err
	}
	w.Expect.Absent = true
	if r.DryRun {
		if _, err := r.Further(c.ctx); err != nil {
			return result{}, c.refused(r, err)
		}
		if _, err := c.cfg.Store.Get(w.Key); err == nil {
			return result{}, apierrors.NewAlreadyExists(c.groupResource(), obj.GetName())
		}
		v, err := c.view(obj)
		return result{object: v, created: true}, err
	}
	rec, err := c.commitWith(r, w)
	var tooBig errObjectTooLarge
	if errors.As(err, &tooBig) && obj.GetManagedFields() != nil {
		// The fields' managers are the first thing to go.
		obj.SetManagedFields(nil)
		return c.insert(obj, r)
	}
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return result{}, apierrors.NewAlreadyExists(c.groupResource(), obj.GetName())
	}
	return result{record: rec, source: obj, created: true}, err
}
