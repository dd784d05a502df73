package apiserver

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/store"
)

// deleteCollection deletes what a list selects and returns the records as they were. Objects are judged one by one, as by delete; the writes go to the
// store in commits as large as it takes. It stops at the first refusal; what was deleted until then stays deleted, as upstream.
func (c *call) deleteCollection(opts *metav1.DeleteOptions, list *listQuery) ([]*store.Record, metav1.ListMeta, error) {
	if err := validateDeleteOptions(opts); err != nil {
		return nil, metav1.ListMeta{}, err
	}
	page, meta, err := c.page(list)
	if err != nil {
		return nil, meta, err
	}
	dryRun := isDryRun(opts.DryRun)
	batch := make([]store.Write, 0, store.MaxWrites)
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := c.cfg.Store.Commit(c.ctx, batch...)
		var conflict *store.ConflictError
		if errors.As(err, &conflict) {
			// Somebody else was faster with one of them: one by one, each against its newest state.
			for _, w := range batch {
				if err := c.deleteOne(w.Key, opts); err != nil && !apierrors.IsNotFound(err) {
					return err
				}
			}
			err = nil
		}
		if err == nil {
			for _, w := range batch {
				c.committed(w.Key)
			}
		}
		batch, size = batch[:0], 0
		return err
	}
	for _, rec := range page {
		if err := c.ctx.Err(); err != nil {
			return nil, meta, err
		}
		current := rec
		d, err := c.planDelete(current, opts, nil)
		if err != nil {
			if ferr := flush(); ferr != nil {
				return nil, meta, ferr
			}
			return nil, meta, err
		}
		if d.none || dryRun {
			continue
		}
		need := len(d.write.Value) + len(d.write.Key.Name) + len(d.write.Key.Namespace) + 256
		if len(batch) == store.MaxWrites || size+need > store.MaxBytes*3/4 {
			if err := flush(); err != nil {
				return nil, meta, err
			}
		}
		batch = append(batch, d.write)
		size += need
	}
	return page, meta, flush()
}

func (c *call) deleteOne(key store.Key, opts *metav1.DeleteOptions) error {
	one := *c
	one.name, one.namespace = key.Name, key.Namespace
	_, err := one.delete(opts)
	return err
}
