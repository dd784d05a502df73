package apiserver

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// NewObject is an object to be created by [Server.CreateObjects], which becomes its owner.
type NewObject struct {
	Kind   *kinds.Kind
	Object kinds.Object
}

// CreateObjects creates objects as CreateObject does each, in as few commits as the store takes: what a new cluster begins with is a hundred of them. Objects
// that are there already, or cannot be created, do not keep the others from it; the error tells of the latter. No object may need another one of the same call.
func (s *Server) CreateObjects(ctx context.Context, who user.Info, list []NewObject) error {
	var errs []error
	var batch []store.Write
	size := 0
	flush := func() error {
		for len(batch) > 0 {
			_, err := s.cfg.Store.Commit(ctx, batch...)
			var conflict *store.ConflictError
			if !errors.As(err, &conflict) {
				if err != nil {
					return err
				}
				break
			}
			batch = append(batch[:conflict.Index:conflict.Index], batch[conflict.Index+1:]...) // it was made meanwhile
		}
		batch, size = nil, 0
		return nil
	}
	for _, n := range list {
		w, err := s.createWrite(ctx, who, n)
		if err != nil {
			errs = append(errs, fmt.Errorf("create %s %s: %w", n.Kind.Singular, n.Object.GetName(), err))
			continue
		}
		need := len(w.Value) + len(w.Key.Name) + len(w.Key.Namespace) + 256
		if len(batch) == store.MaxWrites || size+need > store.MaxBytes*3/4 {
			if err := flush(); err != nil {
				return err
			}
		}
		batch, size = append(batch, w), size+need
	}
	if err := flush(); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// createWrite is everything of a create but the commit.
func (s *Server) createWrite(ctx context.Context, who user.Info, n NewObject) (store.Write, error) {
	c, err := s.enter(ctx, who, n.Kind, n.Object.GetNamespace(), "", "", "create")
	if err != nil {
		return store.Write{}, err
	}
	obj, err := c.toHub(n.Object)
	if err != nil {
		return store.Write{}, err
	}
	if obj.GetName() == "" {
		return store.Write{}, apierrors.NewBadRequest("an object of many needs a name")
	}
	wipeSystemFields(obj)
	if err := c.trackUpdate(nil, obj, c.fieldManager("")); err != nil {
		return store.Write{}, err
	}
	r := c.admissionRequest(admission.Create, obj, nil, false, &metav1.CreateOptions{})
	defer r.Finish()
	if err := c.mutate(r); err != nil {
		return store.Write{}, err
	}
	obj = r.Object
	if err := c.ready(obj, r); err != nil {
		return store.Write{}, err
	}
	w, err := c.seal(obj)
	w.Expect.Absent = true
	return w, err
}
