package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds"
)

// FieldManager is under which name controllers own fields, as upstream's do.
const FieldManager = "kube-controller-manager"

// parallelDeletes bounds how many deletions of one plan are under way at once.
const parallelDeletes = 32

// execution carries out one plan, and what its Then makes of that.
type execution struct {
	r   *runner
	key Key

	mu     sync.Mutex
	unseen []sight

	err      error
	after    time.Duration
	remember any
	await    bool
}

func (x *execution) run(ctx context.Context, p Plan) {
	if p.RequeueAfter > 0 && (x.after == 0 || p.RequeueAfter < x.after) {
		x.after = p.RequeueAfter
	}
	if p.Remember != nil {
		x.remember = p.Remember
	}
	x.await = x.await || p.AwaitKinds
	out := Outcome{Created: make([]kinds.Object, len(p.Creates)), Exists: make([]bool, len(p.Creates)), Failed: make([]error, len(p.Collections))}
	out.Err = x.writes(ctx, p, &out)
	x.fail(out.Err)
	x.fail(p.Err)
	if p.Then != nil && ctx.Err() == nil {
		x.run(ctx, p.Then(out))
	}
	if out.Err == nil {
		for i := range p.Events {
			x.say(&p.Events[i], "")
		}
	}
}

// fail keeps the failures; a real one hides that the state was stale, which would have the key planned at once.
func (x *execution) fail(err error) {
	switch {
	case err == nil:
	case x.err == nil || errors.Is(x.err, errStale) || apierrors.IsConflict(x.err):
		x.err = err
	}
}

func (x *execution) writes(ctx context.Context, p Plan, out *Outcome) error {
	for _, q := range p.Requires {
		if err := x.require(ctx, q); err != nil {
			return err
		}
	}
	for _, w := range p.Patches {
		obj, err := x.patch(ctx, w)
		if err != nil {
			return err
		}
		out.Updated = append(out.Updated, obj)
	}
	for _, w := range p.Updates {
		obj, err := x.update(ctx, w, w.Subresource)
		if err != nil {
			return err
		}
		out.Updated = append(out.Updated, obj)
	}
	if err := x.creates(ctx, p.Creates, out); err != nil {
		return err
	}
	var failed error
	for i, c := range p.Collections {
		if out.Failed[i] = x.collection(ctx, c); out.Failed[i] != nil {
			failed = errors.Join(failed, out.Failed[i])
		}
	}
	if failed != nil {
		return failed
	}
	if err := x.parallel(len(p.Deletes), parallelDeletes, func(i int) error { return x.delete(ctx, p.Deletes[i]) }); err != nil {
		return err
	}
	for _, w := range p.StatusUpdates {
		sub := w.Subresource
		if sub == "" {
			sub = "status"
		}
		if _, err := x.update(ctx, w, sub); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func (x *execution) require(ctx context.Context, q Require) error {
	if q.Name == "" {
		var opts metav1.ListOptions
		if q.Such == nil {
			opts.Limit = 1
		}
		list, err := x.r.e.deps.Client.List(ctx, q.Kind, q.Namespace, opts)
		switch {
		case err != nil:
			return fmt.Errorf("checking for %s in %s: %w", q.Kind.Plural, q.Namespace, err)
		case q.Such == nil && len(list.Items) > 0, q.Such != nil && slices.ContainsFunc(list.Items, q.Such):
			return fmt.Errorf("%s still has %s: %w", q.Namespace, q.Kind.Plural, errStale)
		}
		return nil
	}
	obj, err := x.r.e.deps.Client.Get(ctx, q.Kind, q.Namespace, q.Name)
	there := err == nil && (q.UID == "" || obj.GetUID() == q.UID)
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("checking %s: %w", describe(q.Kind, q.Namespace, q.Name), err)
	case q.Absent && there:
		return fmt.Errorf("%s still exists: %w", describe(q.Kind, q.Namespace, q.Name), errStale)
	case !q.Absent && (!there || obj.GetDeletionTimestamp() != nil):
		return fmt.Errorf("%s is gone or being deleted: %w", describe(q.Kind, q.Namespace, q.Name), errStale)
	}
	return nil
}

func (x *execution) patch(ctx context.Context, w Patch) (kinds.Object, error) {
	obj, err := x.r.e.deps.Client.Patch(ctx, w.Kind, w.Namespace, w.Name, w.Type, w.Data, w.Subresource, metav1.PatchOptions{FieldManager: FieldManager})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("patching %s: %w", describe(w.Kind, w.Namespace, w.Name), err)
	}
	x.wrote(w.Kind, obj)
	x.say(w.Done, "")
	return obj, nil
}

func (x *execution) update(ctx context.Context, w Update, subresource string) (kinds.Object, error) {
	obj, err := x.r.e.deps.Client.Update(ctx, w.Kind, w.Object, subresource, metav1.UpdateOptions{FieldManager: FieldManager})
	if err != nil {
		return nil, fmt.Errorf("updating %s: %w", describe(w.Kind, w.Object.GetNamespace(), w.Object.GetName()), err)
	}
	x.wrote(w.Kind, obj)
	x.say(w.Done, "")
	return obj, nil
}

// creates sends 1, 2, 4, ... at once, and stops at the first batch with a failure, so that what can never succeed is not tried a thousand times.
func (x *execution) creates(ctx context.Context, list []Create, out *Outcome) error {
	for start, batch := 0, 1; start < len(list); start, batch = start+batch, batch*2 {
		n := min(batch, len(list)-start)
		if err := x.parallel(n, n, func(i int) error { return x.create(ctx, list[start+i], &out.Created[start+i], &out.Exists[start+i]) }); err != nil {
			return err
		}
	}
	return nil
}

func (x *execution) create(ctx context.Context, w Create, made *kinds.Object, exists *bool) error {
	obj, err := x.r.e.deps.Client.Create(ctx, w.Kind, w.Object, metav1.CreateOptions{FieldManager: FieldManager})
	name := describe(w.Kind, w.Object.GetNamespace(), w.Object.GetName())
	switch {
	case err == nil:
		*made = obj
		x.wrote(w.Kind, obj)
		x.say(w.Done, "")
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil
	case apierrors.IsAlreadyExists(err) && w.Exists:
		*exists = true
		return nil
	case apierrors.IsAlreadyExists(err):
		x.doubtful(err, w.Kind, w.Object.GetNamespace(), w.Object.GetName(), "")
		return fmt.Errorf("creating %s: %w: %w", name, errStale, err)
	}
	if ctx.Err() == nil {
		x.doubtful(err, w.Kind, w.Object.GetNamespace(), w.Object.GetName(), "")
		x.say(w.Failed, err.Error())
	}
	return err // bare: it stands in conditions that users read
}

func (x *execution) delete(ctx context.Context, w Delete) error {
	opts := metav1.DeleteOptions{GracePeriodSeconds: w.Grace, Preconditions: &metav1.Preconditions{UID: &w.UID}}
	if w.ResourceVersion != "" {
		opts.Preconditions.ResourceVersion = &w.ResourceVersion
	}
	if w.Propagation != "" {
		opts.PropagationPolicy = &w.Propagation
	}
	err := x.r.e.deps.Client.Delete(ctx, w.Kind, w.Namespace, w.Name, opts)
	switch {
	case err == nil:
		x.deleted(w)
		x.say(w.Done, "")
		return nil
	case apierrors.IsNotFound(err):
		return nil
	case !apierrors.IsConflict(err) && ctx.Err() == nil:
		x.doubtful(err, w.Kind, w.Namespace, w.Name, w.UID)
		x.say(w.Failed, err.Error())
	}
	return fmt.Errorf("deleting %s: %w", describe(w.Kind, w.Namespace, w.Name), err)
}

func (x *execution) collection(ctx context.Context, c Collection) error {
	var opts metav1.DeleteOptions
	if c.Propagation != "" {
		opts.PropagationPolicy = &c.Propagation
	}
	err := x.r.e.deps.Client.DeleteCollection(ctx, c.Kind, c.Namespace, opts, metav1.ListOptions{})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("deleting all %s in %s: %w", c.Kind.Plural, c.Namespace, err)
}

// parallel calls do for 0 to n-1, at most limit at once, waits for all, and returns the failure of the lowest.
func (x *execution) parallel(n, limit int, do func(i int) error) error {
	if n == 1 {
		return safely(func() error { return do(0) })
	}
	errs := make([]error, n)
	slots := make(chan struct{}, limit)
	var work sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			errs[i] = safely(func() error { return do(i) })
		})
	}
	work.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func safely(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	return do()
}

func (x *execution) say(e *Event, more string) {
	if e != nil && x.r.recorder != nil {
		x.r.recorder.Event(e.Kind, e.About, e.Type, e.Reason, e.Message+more)
	}
}

func describe(k *kinds.Kind, namespace, name string) string {
	if namespace != "" {
		name = namespace + "/" + name
	}
	return k.Kind + " " + name
}
