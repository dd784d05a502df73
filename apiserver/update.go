package apiserver

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	kmeta "github.com/tenet-run/tenet/kinds/meta"
	"github.com/tenet-run/tenet/store"
)

// staleMessage is what a writer reads who changed something that was changed meanwhile.
const staleMessage = "the object has been modified; please apply your changes to the latest version and try again"

// change is one read-modify-write. It is tried again when somebody else writes in between.
type change struct {
	// make gives the new hub object, private to the call, from the current one (shared; nil when there is none). It is called again on a retry.
	make func(old kinds.Object) (kinds.Object, error)
	// in is what was sent to a view of another type, for admission.
	in runtime.Object
	// manager tracks the change under this name, when track is set; apply does so itself.
	manager string
	track   bool
	// allowCreate: an object that does not exist is created.
	allowCreate bool
	// uid is a precondition; "" is none.
	uid    types.UID
	dryRun bool
	// update and create are the options that admission sees.
	update *metav1.UpdateOptions
	create *metav1.CreateOptions
	// fixed skips the kind's preparation of updates: the change was made by the server itself (binding).
	fixed bool
}

// update replaces an object. decode gives a fresh copy of what was sent each time.
func (c *call) update(decode func() (kinds.Object, error), opts *metav1.UpdateOptions) (result, error) {
	if errs := metav1validation.ValidateUpdateOptions(opts); len(errs) > 0 {
		return result{}, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "UpdateOptions"}, "", errs)
	}
	obj, err := decode()
	if err != nil {
		return result{}, err
	}
	ch := change{
		manager: c.fieldManager(opts.FieldManager), track: true, allowCreate: c.kind.CreateOnUpdate && c.sub == nil, uid: obj.GetUID(),
		dryRun: isDryRun(opts.DryRun), update: opts,
		create: &metav1.CreateOptions{DryRun: opts.DryRun, FieldManager: opts.FieldManager, FieldValidation: opts.FieldValidation},
	}
	ch.make = func(kinds.Object) (kinds.Object, error) {
		next := obj
		if next == nil {
			if next, err = decode(); err != nil {
				return nil, err
			}
		}
		obj = nil // the next try decodes again
		if err := ensureNamespace(next, c.scope()); err != nil {
			return nil, err
		}
		if err := c.checkName(next); err != nil {
			return nil, err
		}
		c.dedupOwners(next, duplicateOwners)
		return next, nil
	}
	return c.change(ch)
}

func (c *call) stale() error {
	return apierrors.NewConflict(c.groupResource(), c.name, errors.New(staleMessage))
}

// change runs a read-modify-write until it wins.
func (c *call) change(ch change) (result, error) {
	for {
		if err := c.ctx.Err(); err != nil {
			return result{}, err
		}
		out, again, err := c.tryChange(&ch)
		if !again {
			return out, err
		}
	}
}

// tryChange is one round. again: somebody else wrote in between.
func (c *call) tryChange(ch *change) (out result, again bool, err error) {
	rec, err := c.cfg.Store.Get(c.key())
	if errors.Is(err, store.ErrNotFound) {
		if !ch.allowCreate {
			return out, false, c.notFound()
		}
		return c.createOnChange(ch)
	}
	if err != nil {
		return out, false, err
	}
	old, err := c.decoded(rec)
	if err != nil {
		return out, false, err
	}
	if ch.uid != "" && ch.uid != old.GetUID() {
		return out, false, apierrors.NewConflict(c.groupResource(), c.name, fmt.Errorf(
			"StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: %s, UID in object meta: %s",
			c.key(), ch.uid, old.GetUID()))
	}
	obj, err := ch.make(old)
	if err != nil {
		return out, false, err
	}
	switch rv := obj.GetResourceVersion(); {
	case rv == old.GetResourceVersion():
	case rv != "" && rv != "0":
		if _, err := parseRevision(rv); err != nil {
			return out, false, c.invalid(c.name, field.ErrorList{field.Invalid(field.NewPath("metadata", "resourceVersion"), rv, err.Error())})
		}
		return out, false, c.stale()
	case !c.kind.UnconditionalUpdate:
		return out, false, c.invalid(c.name, field.ErrorList{field.Invalid(field.NewPath("metadata", "resourceVersion"), uint64(0), "must be specified for an update")})
	}
	if ch.track {
		if err := c.trackUpdate(old, obj, ch.manager); err != nil {
			return out, false, err
		}
	}
	r := c.admissionRequest(admission.Update, obj, old, ch.dryRun, ch.update)
	defer r.Finish()
	r.In = ch.in
	if err := c.mutate(r); err != nil {
		return out, false, err
	}
	obj = r.Object
	c.dedupOwners(obj, duplicateOwnersAfterAdmission)
	if err := c.prepareChange(obj, old, ch.fixed); err != nil {
		return out, false, err
	}
	r.Object = obj
	if err := c.allow(r); err != nil {
		return out, false, err
	}
	if err := c.complete(r); err != nil {
		return out, false, err
	}
	if c.emptied(obj, old) {
		return c.deleteOnChange(ch, rec, obj)
	}
	obj.SetResourceVersion("")
	w, err := c.seal(obj)
	if err != nil {
		return out, false, err
	}
	if !same(rec, &w) && obj.GetManagedFields() != nil && sameButTimes(obj.GetManagedFields(), old.GetManagedFields()) {
		// A change of nothing but times is no change.
		moved := obj.GetManagedFields()
		obj.SetManagedFields(old.GetManagedFields())
		quiet, err := c.seal(obj)
		if err != nil {
			return out, false, err
		}
		if same(rec, &quiet) {
			w = quiet
		} else {
			obj.SetManagedFields(moved)
		}
	}
	switch {
	case same(rec, &w):
		return result{record: rec}, false, nil
	case ch.dryRun:
		if _, err := r.Further(c.ctx); err != nil {
			return out, false, c.refused(r, err)
		}
		setRevision(obj, rec.Revision)
		v, err := c.view(obj)
		return result{object: v}, false, err
	}
	w.Expect.Revision = rec.Revision
	w.Volatile = c.sub == nil && c.kind.Volatile != nil && c.kind.Volatile(obj, old)
	next, err := c.commitWith(r, w)
	var tooBig errObjectTooLarge
	if errors.As(err, &tooBig) && obj.GetManagedFields() != nil && ch.track {
		obj.SetManagedFields(nil)
		if w, err = c.seal(obj); err != nil {
			return out, false, err
		}
		w.Expect.Revision = rec.Revision
		next, err = c.commitWith(r, w)
	}
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return out, true, nil
	}
	if err != nil {
		return out, false, err
	}
	return result{record: next, source: obj}, false, nil
}

// prepareChange keeps what may not change, counts the generation, validates and canonicalizes.
func (c *call) prepareChange(obj, old kinds.Object, fixed bool) error {
	if err := ensureNamespace(obj, c.scope()); err != nil {
		return err
	}
	obj.SetGeneration(old.GetGeneration())
	view := c.sub != nil && c.sub.New == nil
	switch {
	case fixed:
	case view:
		obj.SetOwnerReferences(old.GetOwnerReferences())
		if old.GetDeletionTimestamp() == nil {
			obj.SetDeletionTimestamp(nil)
			obj.SetDeletionGracePeriodSeconds(nil)
		}
		if c.sub.Before != nil {
			c.sub.Before(obj, old)
		}
	default:
		c.kind.PrepareUpdate(c.served, obj, old)
	}
	if c.kind.Stamp != nil {
		c.kind.Stamp(obj, old, c.stamp())
	}
	if obj.GetUID() == "" {
		obj.SetUID(old.GetUID())
	}
	if t := old.GetCreationTimestamp(); !t.IsZero() {
		obj.SetCreationTimestamp(t)
	}
	if t := old.GetDeletionTimestamp(); t != nil {
		obj.SetDeletionTimestamp(t)
	}
	if obj.GetDeletionGracePeriodSeconds() == nil {
		obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	}
	// Validation of metadata wants the revision that the change is made from.
	obj.SetResourceVersion(old.GetResourceVersion())
	errs := kmeta.ValidateUpdate(obj, old)
	switch {
	case c.sub == nil || c.sub.New != nil && !fixed:
		errs = append(errs, c.kind.ValidateChange(c.served, obj, old)...)
		if c.sub != nil && c.sub.Validate != nil {
			errs = append(errs, c.sub.Validate(obj, old)...)
		}
	case c.sub.Validate != nil:
		errs = append(errs, c.sub.Validate(obj, old)...)
	}
	if err := c.invalid(c.name, errs); err != nil {
		return err
	}
	if !fixed {
		c.warnings(obj, old)
	}
	if c.kind.Canonicalize != nil {
		c.kind.Canonicalize(obj)
	}
	return nil
}

// createOnChange creates what a change found missing.
func (c *call) createOnChange(ch *change) (out result, again bool, err error) {
	if ch.uid != "" {
		return out, false, apierrors.NewConflict(c.groupResource(), c.name, fmt.Errorf(
			"StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: %s, UID in object meta: ",
			c.key(), ch.uid))
	}
	obj, err := ch.make(nil)
	if err != nil {
		return out, false, err
	}
	if obj.GetUID() != "" {
		return out, false, apierrors.NewConflict(c.groupResource(), c.name, fmt.Errorf(
			"uid mismatch: the provided object specified uid %s, and no existing object was found", obj.GetUID()))
	}
	if err := c.authorize("create"); err != nil {
		return out, false, err
	}
	if rv := obj.GetResourceVersion(); rv != "" && rv != "0" {
		return out, false, c.stale()
	}
	wipeSystemFields(obj)
	if ch.track {
		if err := c.trackUpdate(nil, obj, ch.manager); err != nil {
			return out, false, err
		}
	}
	r := c.admissionRequest(admission.Create, obj, nil, ch.dryRun, ch.create)
	defer r.Finish()
	if err := c.mutate(r); err != nil {
		return out, false, err
	}
	obj = r.Object
	c.dedupOwners(obj, duplicateOwnersAfterAdmission)
	out, err = c.finishCreate(obj, r)
	if apierrors.IsAlreadyExists(err) && !ch.dryRun {
		return out, true, nil
	}
	return out, false, err
}

// emptied reports that a change took away the last thing that a deletion waited for.
func (c *call) emptied(obj, old kinds.Object) bool {
	if len(obj.GetFinalizers()) > 0 || old.GetDeletionTimestamp() == nil {
		return false
	}
	if g := old.GetDeletionGracePeriodSeconds(); g != nil && *g != 0 {
		return false
	}
	return c.kind.Finalizing == nil || !c.kind.Finalizing(obj)
}

func (c *call) deleteOnChange(ch *change, rec *store.Record, obj kinds.Object) (out result, again bool, err error) {
	setRevision(obj, rec.Revision)
	v, err := c.view(obj)
	if err != nil || ch.dryRun {
		return result{object: v, deleted: true}, false, err
	}
	_, err = c.commit(store.Write{Key: rec.Key, Delete: true, Expect: store.Expect{Revision: rec.Revision}})
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return out, true, nil
	}
	return result{object: v, deleted: true}, false, err
}
