package apiserver

import (
	"context"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/store"
)

// revisionPatience is how long a read waits for a revision that the store has not reached.
const revisionPatience = 3 * time.Second

func parseRevision(rv string) (store.Revision, error) {
	n, err := strconv.ParseUint(rv, 10, 64)
	if err != nil {
		return 0, err
	}
	return store.Revision(n), nil
}

// queryRevision reads a resourceVersion parameter: "" and "0" are 0.
func queryRevision(rv string) (store.Revision, error) {
	if rv == "" || rv == "0" {
		return 0, nil
	}
	n, err := parseRevision(rv)
	if err != nil {
		return 0, apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind("ListOptions").GroupKind(), "",
			field.ErrorList{field.Invalid(field.NewPath("resourceVersion"), rv, err.Error())})
	}
	return n, nil
}

// waitFor returns when the store has reached a revision, or with the error that says it is too far off.
func (c *call) waitFor(at store.Revision) error {
	if at <= c.cfg.Store.Revision() {
		return nil
	}
	timer := time.NewTimer(revisionPatience)
	defer timer.Stop()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	go func() { done <- c.cfg.Store.Wait(ctx, at) }()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
	case <-timer.C:
	}
	return tooLargeRevision(at, c.cfg.Store.Revision())
}

// get reads one object, or a view of it.
func (c *call) get(opts *metav1.GetOptions) (result, error) {
	at, err := queryRevision(opts.ResourceVersion)
	if err != nil {
		return result{}, err
	}
	if err := c.waitFor(at); err != nil {
		return result{}, err
	}
	rec, err := c.record()
	if err != nil {
		return result{}, err
	}
	return c.shown(rec, false)
}

// shown is a record as the call's door shows it: the object, or the subresource's view of it.
func (c *call) shown(rec *store.Record, created bool) (result, error) {
	if c.sub == nil || c.sub.Read == nil {
		return result{record: rec, created: created}, nil
	}
	obj, err := c.decoded(rec)
	if err != nil {
		return result{}, err
	}
	v, err := c.sub.Read(obj)
	if err != nil {
		return result{}, err
	}
	v.GetObjectKind().SetGroupVersionKind(c.sub.GVK)
	return result{object: v, created: created}, nil
}
