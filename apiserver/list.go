package apiserver

import (
	"errors"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	internalvalidation "k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/store"
)

// listQuery is what a list or a watch asks for, checked.
type listQuery struct {
	*metav1.ListOptions
	selector *store.Selector
	revision store.Revision // of ResourceVersion; 0 for "" and "0"
}

// listQuery checks options. watch tells which rules hold.
func (c *call) listQuery(opts *metav1.ListOptions, watch bool) (*listQuery, error) {
	check := internalversion.ListOptions{
		Watch: watch, ResourceVersion: opts.ResourceVersion, ResourceVersionMatch: opts.ResourceVersionMatch, Limit: opts.Limit,
		Continue: opts.Continue, SendInitialEvents: opts.SendInitialEvents, AllowWatchBookmarks: opts.AllowWatchBookmarks,
	}
	if errs := internalvalidation.ValidateListOptions(&check, true); len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "", errs)
	}
	sel, err := selector(c.kind, c.served, opts.LabelSelector, opts.FieldSelector, c.name)
	if err != nil {
		return nil, err
	}
	rv, err := queryRevision(opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	return &listQuery{opts, sel, rv}, nil
}

// page reads the records that a list selects.
func (c *call) page(q *listQuery) ([]*store.Record, metav1.ListMeta, error) {
	sq := store.ListQuery{Prefix: c.kind.Storage.Prefix, Namespace: c.scope(), Selector: q.selector, Limit: int(q.Limit)}
	var meta metav1.ListMeta
	if q.Continue != "" {
		if q.ResourceVersion != "" && q.ResourceVersion != "0" {
			return nil, meta, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		after, rv, err := decodeContinue(q.Continue, sq.Prefix, sq.Namespace, c.kind.Namespaced)
		if err != nil {
			return nil, meta, err
		}
		sq.After = after
		if rv > 0 {
			sq.At = store.Revision(rv)
			if c.tokens.expired(sq.At, c.now()) {
				return nil, meta, continueGone(sq.Namespace, *after)
			}
		}
	} else if q.revision > 0 {
		if err := c.waitFor(q.revision); err != nil {
			return nil, meta, err
		}
		// A limited list at a revision that does not say otherwise is exact.
		if q.ResourceVersionMatch == metav1.ResourceVersionMatchExact || q.ResourceVersionMatch == "" && q.Limit > 0 {
			sq.At = q.revision
		}
	}
	page, err := c.cfg.Store.List(sq)
	switch {
	case errors.Is(err, store.ErrExpired) && sq.After != nil:
		return nil, meta, continueGone(sq.Namespace, *sq.After)
	case errors.Is(err, store.ErrExpired):
		return nil, meta, expired("The resourceVersion for the provided list is too old.")
	case errors.Is(err, store.ErrFuture):
		return nil, meta, tooLargeRevision(sq.At, c.cfg.Store.Revision())
	case err != nil:
		return nil, meta, err
	}
	meta.ResourceVersion = strconv.FormatUint(uint64(page.Revision), 10)
	if page.More && len(page.Records) > 0 {
		last := page.Records[len(page.Records)-1].Key
		meta.Continue = encodeContinue(sq.Namespace, last, int64(page.Revision))
		c.tokens.issue(page.Revision, c.now())
		if page.Remaining >= 0 && q.selector == nil {
			n := page.Remaining
			meta.RemainingItemCount = &n
		}
	}
	return page.Records, meta, nil
}
