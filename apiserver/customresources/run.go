package customresources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiextensions"
	"github.com/tenet-run/tenet/store"
)

// API is what the loop writes through: *apiserver.Server.
type API interface {
	GetObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name string) (kinds.Object, error)
	UpdateObject(ctx context.Context, who user.Info, k *kinds.Kind, obj kinds.Object, subresource string, opts metav1.UpdateOptions) (kinds.Object, error)
	DeleteObjects(ctx context.Context, who user.Info, k *kinds.Kind, namespace string, opts metav1.DeleteOptions, list metav1.ListOptions) error
}

// patience is how long a definition waits for its last objects before it says so.
const patience = time.Minute

// Run ends definitions that are being deleted, and gives names that became free to those who wait, until ctx ends. who must be allowed everything.
func (r *Registry) Run(ctx context.Context, api API, who user.Info) error {
	l := loop{Registry: r, api: api, who: who, started: map[string]bool{}}
	defer l.work.Wait()
	for {
		l.look(ctx)
		select {
		case <-r.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type loop struct {
	*Registry
	api  API
	who  user.Info
	work sync.WaitGroup

	mu      sync.Mutex
	started map[string]bool // definitions whose end is under way
}

// look starts what is to be done.
func (l *loop) look(ctx context.Context) {
	l.Registry.mu.Lock()
	end := slices.Collect(maps.Keys(l.Registry.ending))
	var settle []string
	for group := range l.moved {
		settle = slices.AppendSeq(settle, maps.Keys(l.waiting[group]))
	}
	clear(l.moved)
	l.Registry.mu.Unlock()
	for _, name := range end {
		l.mu.Lock()
		started := l.started[name]
		l.started[name] = true
		l.mu.Unlock()
		if !started {
			l.work.Go(func() { l.end(ctx, name) })
		}
	}
	slices.Sort(settle)
	for _, name := range settle {
		if err := l.status(ctx, name, func(*apiextensionsv1.CustomResourceDefinition) {}); err != nil && ctx.Err() == nil {
			l.cfg.Logger.Warn("the names of a definition could not be settled", "name", name, "error", err)
		}
	}
}

// status writes the status of a definition, in which the admission plugin settles the rest. A change that changes nothing is not written.
func (l *loop) status(ctx context.Context, name string, change func(*apiextensionsv1.CustomResourceDefinition)) error {
	for {
		obj, err := l.api.GetObject(ctx, l.who, apiextensions.CustomResourceDefinition, "", name)
		if err != nil {
			return err
		}
		crd := obj.DeepCopyObject().(*apiextensionsv1.CustomResourceDefinition)
		change(crd)
		_, err = l.api.UpdateObject(ctx, l.who, apiextensions.CustomResourceDefinition, crd, "status", metav1.UpdateOptions{})
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

func (l *loop) terminating(ctx context.Context, name string, status apiextensionsv1.ConditionStatus, reason, message string, more ...func(*apiextensionsv1.CustomResourceDefinition)) error {
	return l.status(ctx, name, func(crd *apiextensionsv1.CustomResourceDefinition) {
		apiextensions.SetCondition(crd, apiextensionsv1.CustomResourceDefinitionCondition{
			Type: apiextensionsv1.Terminating, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(l.cfg.Now()),
		})
		for _, f := range more {
			f(crd)
		}
	})
}

// end deletes the objects of a definition, and then lets it go.
func (l *loop) end(ctx context.Context, name string) {
	defer func() {
		l.mu.Lock()
		delete(l.started, name)
		l.mu.Unlock()
	}()
	for try := 0; ; try++ {
		err := l.tryEnd(ctx, name)
		if err == nil || apierrors.IsNotFound(err) || ctx.Err() != nil {
			return
		}
		l.cfg.Logger.Warn("a definition could not be ended; trying again", "name", name, "error", err)
		select {
		case <-time.After(min(time.Second<<min(try, 6), patience)):
		case <-ctx.Done():
			return
		}
	}
}

func (l *loop) tryEnd(ctx context.Context, name string) error {
	d := l.definition(name)
	if d == nil {
		return nil
	}
	if err := l.terminating(ctx, name, apiextensionsv1.ConditionTrue, "InstanceDeletionInProgress", "CustomResource deletion is in progress"); err != nil {
		return err
	}
	reason, message := "InstanceDeletionCompleted", "removed all instances"
	if d.kind == nil {
		reason, message = "NeverEstablished", "resource was never established"
	} else if err := l.deleteAll(ctx, name, d); err != nil {
		return err
	}
	return l.terminating(ctx, name, apiextensionsv1.ConditionFalse, reason, message, func(crd *apiextensionsv1.CustomResourceDefinition) {
		crd.Finalizers = slices.DeleteFunc(crd.Finalizers, func(f string) bool { return f == apiextensionsv1.CustomResourceCleanupFinalizer })
	})
}

// deleteAll deletes the objects of a definition and waits until the last has gone.
func (l *loop) deleteAll(ctx context.Context, name string, d *definition) error {
	w, err := l.cfg.Store.Watch(store.WatchQuery{Prefix: d.prefix})
	if err != nil {
		return err
	}
	defer w.Close()
	for fresh := true; ; {
		if l.cfg.Store.Count(d.prefix) == 0 {
			return nil
		}
		if fresh {
			if err := l.api.DeleteObjects(ctx, l.who, d.kind, "", metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
				told := l.terminating(ctx, name, apiextensionsv1.ConditionTrue, "InstanceDeletionFailed", fmt.Sprintf("could not issue all deletes: %v", err))
				return errors.Join(err, told)
			}
			fresh = false
			continue
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		events, err := w.Next(limited)
		cancel()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			told := l.terminating(ctx, name, apiextensionsv1.ConditionTrue, "InstanceDeletionCheck",
				"could not confirm zero CustomResources remaining: timed out waiting for the condition")
			if told != nil || !errors.Is(err, context.DeadlineExceeded) {
				return errors.Join(err, told)
			}
			fresh = true
			continue
		}
		for i := range events {
			// Whoever was in the middle of a create when the deletion began.
			fresh = fresh || events[i].Type == store.Created
		}
	}
}
