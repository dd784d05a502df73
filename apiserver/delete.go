package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// deletion is what one round of a delete decided: a write, or that there is nothing to do.
type deletion struct {
	write store.Write
	// none: the object is being deleted already and the request changes nothing.
	none bool
	// gone: the write removes the object; otherwise it marks it.
	gone bool
	// held: the object waits for finalizers already, and is what the answer shows.
	held bool
	// object is the state that the answer shows, private to the call.
	object kinds.Object
}

func validateDeleteOptions(opts *metav1.DeleteOptions) error {
	if errs := metav1validation.ValidateDeleteOptions(opts); len(errs) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "DeleteOptions"}, "", errs)
	}
	return nil
}

// delete asks for the end of an object: at once, or after grace and finalizers.
func (c *call) delete(opts *metav1.DeleteOptions) (result, error) {
	if err := validateDeleteOptions(opts); err != nil {
		return result{}, err
	}
	for {
		if err := c.ctx.Err(); err != nil {
			return result{}, err
		}
		rec, err := c.record()
		if err != nil {
			return result{}, err
		}
		d, err := c.planDelete(rec, opts, nil)
		if err != nil {
			return result{}, err
		}
		if d.none || isDryRun(opts.DryRun) {
			return c.deleted(d)
		}
		next, err := c.commit(d.write)
		var conflict *store.ConflictError
		if errors.As(err, &conflict) {
			continue
		}
		if err != nil {
			return result{}, err
		}
		if !d.gone {
			return result{record: next}, nil
		}
		return c.deleted(d)
	}
}

// deleted is the answer to a delete that left no record behind: the object as it was, or a Status, as the kind's clients expect.
func (c *call) deleted(d deletion) (result, error) {
	if !d.gone && !d.none || d.held || c.kind.ReturnDeleted {
		v, err := c.view(d.object)
		return result{object: v, deleted: d.gone}, err
	}
	return result{deleted: d.gone, object: &metav1.Status{Status: metav1.StatusSuccess, Details: &metav1.StatusDetails{
		Name: d.object.GetName(), Group: c.served.Group, Kind: c.kind.Plural, UID: d.object.GetUID(),
	}}}, nil
}

// planDelete decides what a delete does to one state of an object. Admission is asked. mark, which may be nil, changes an object that stays for a while.
func (c *call) planDelete(rec *store.Record, opts *metav1.DeleteOptions, mark func(obj kinds.Object)) (deletion, error) {
	shared, err := c.decoded(rec)
	if err != nil {
		return deletion{}, err
	}
	obj, err := c.own(rec)
	if err != nil {
		return deletion{}, err
	}
	if err := checkPreconditions(c.groupKind(), obj, opts.Preconditions); err != nil {
		return deletion{}, err
	}
	graceful, pending := c.grace(obj, opts)
	if pending {
		return deletion{none: true, object: obj}, nil
	}
	r := c.admissionRequest(admission.Delete, nil, shared, isDryRun(opts.DryRun), opts)
	r.Name = obj.GetName()
	r.Namespace = rec.Key.Namespace
	if err := c.mutate(r); err != nil {
		return deletion{}, err
	}
	if err := c.allow(r); err != nil {
		return deletion{}, err
	}
	obj.SetFinalizers(c.deletionFinalizers(obj, opts))
	waits := len(obj.GetFinalizers()) > 0 || c.kind.Finalizing != nil && c.kind.Finalizing(obj)
	expect := store.Expect{Revision: rec.Revision}
	seconds := obj.GetDeletionGracePeriodSeconds()
	if !waits && (!graceful || seconds == nil || *seconds == 0) {
		return deletion{write: store.Write{Key: rec.Key, Delete: true, Expect: expect}, gone: true, object: obj}, nil
	}
	if !graceful {
		// What waits only for finalizers has no grace left.
		if obj.GetDeletionTimestamp() == nil && obj.GetGeneration() > 0 && c.kind.Finalizing == nil {
			obj.SetGeneration(obj.GetGeneration() + 1)
		}
		now := metav1.NewTime(c.now().Truncate(time.Second))
		if t := obj.GetDeletionTimestamp(); t == nil || t.After(now.Time) {
			obj.SetDeletionTimestamp(&now)
		}
		if c.kind.Finalizing == nil || len(obj.GetFinalizers()) > 0 && !c.kind.Finalizing(obj) {
			zero := int64(0)
			obj.SetDeletionGracePeriodSeconds(&zero)
		}
	}
	if c.kind.OnDelete != nil {
		c.kind.OnDelete(obj)
	}
	if mark != nil {
		mark(obj)
	}
	obj.SetResourceVersion("")
	w, err := c.seal(obj)
	if err != nil {
		return deletion{}, err
	}
	setRevision(obj, rec.Revision)
	if same(rec, &w) {
		return deletion{none: true, held: true, object: obj}, nil
	}
	w.Expect = expect
	return deletion{write: w, object: obj}, nil
}

func checkPreconditions(gk schema.GroupKind, obj kinds.Object, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	gr := schema.GroupResource{Group: gk.Group, Resource: gk.Kind}
	if p.UID != nil && *p.UID != obj.GetUID() {
		return apierrors.NewConflict(gr, obj.GetName(), fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). "+
			"The object might have been deleted and then recreated", *p.UID, obj.GetUID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != obj.GetResourceVersion() {
		return apierrors.NewConflict(gr, obj.GetName(), fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). "+
			"The object might have been modified", *p.ResourceVersion, obj.GetResourceVersion()))
	}
	return nil
}

// grace sets deletionTimestamp and deletionGracePeriodSeconds when the deletion is graceful. pending: a graceful deletion is under way and this
// request does not shorten it.
func (c *call) grace(obj kinds.Object, opts *metav1.DeleteOptions) (graceful, pending bool) {
	if c.kind.Grace == nil {
		return false, false
	}
	requested := opts.GracePeriodSeconds
	if requested != nil && *requested < 0 {
		one := int64(1)
		requested = &one
	}
	now := c.now().Truncate(time.Second)
	if due := obj.GetDeletionTimestamp(); due != nil {
		had := obj.GetDeletionGracePeriodSeconds()
		if had == nil || *had == 0 {
			return false, false
		}
		if requested == nil || *requested >= *had {
			return false, true
		}
		period := *requested
		at := metav1.NewTime(due.Add(time.Duration(period-*had) * time.Second))
		if at.Time.Before(now) {
			at = metav1.NewTime(now)
			if period != 0 {
				period = 1 // grace was asked for and is over: as little as counts as grace
			}
		}
		obj.SetDeletionTimestamp(&at)
		obj.SetDeletionGracePeriodSeconds(&period)
		return true, false
	}
	seconds, graceful := c.kind.Grace(obj, requested)
	if !graceful {
		return false, false
	}
	at := metav1.NewTime(now.Add(time.Duration(seconds) * time.Second))
	obj.SetDeletionTimestamp(&at)
	obj.SetDeletionGracePeriodSeconds(&seconds)
	if obj.GetGeneration() > 0 {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
	return true, false
}

// deletionFinalizers are the finalizers with orphan and foregroundDeletion as the options (or the object, or the kind) want them.
func (c *call) deletionFinalizers(obj kinds.Object, opts *metav1.DeleteOptions) []string {
	have := obj.GetFinalizers()
	orphan := slices.Contains(have, metav1.FinalizerOrphanDependents)
	foreground := slices.Contains(have, metav1.FinalizerDeleteDependents)
	switch {
	case opts.OrphanDependents != nil: //nolint:staticcheck // clients still send it
		orphan, foreground = *opts.OrphanDependents, false
	case opts.PropagationPolicy != nil:
		orphan = *opts.PropagationPolicy == metav1.DeletePropagationOrphan
		foreground = *opts.PropagationPolicy == metav1.DeletePropagationForeground
	case !orphan && !foreground:
		orphan = c.kind.OrphanByDefault
	}
	var want []string
	for _, f := range have {
		if f != metav1.FinalizerOrphanDependents && f != metav1.FinalizerDeleteDependents {
			want = append(want, f)
		}
	}
	if orphan {
		want = append(want, metav1.FinalizerOrphanDependents)
	}
	if foreground {
		want = append(want, metav1.FinalizerDeleteDependents)
	}
	if len(want) == len(have) && !slices.ContainsFunc(want, func(f string) bool { return !slices.Contains(have, f) }) {
		return have
	}
	return want
}

// deleteCode is 202 for one old option, and 200 otherwise.
func deleteCode(r result, opts *metav1.DeleteOptions) int {
	if !r.deleted && opts.OrphanDependents != nil && !*opts.OrphanDependents { //nolint:staticcheck // clients still send it
		return http.StatusAccepted
	}
	return http.StatusOK
}
