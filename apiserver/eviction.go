package apiserver

import (
	"errors"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/policy"
	"github.com/tenet-run/tenet/store"
)

// evictionOptions are the delete options that an Eviction carries, or nil.
func evictionOptions(in runtime.Object) *metav1.DeleteOptions {
	if e, ok := in.(*policyv1.Eviction); ok {
		return e.DeleteOptions
	}
	return nil
}

// evict deletes a pod through its eviction subresource, with the options and preconditions of the Eviction, when its PodDisruptionBudget has a disruption
// left. That is taken off the budget in the commit that deletes the pod: a budget is never spent on a pod that stays, nor overspent.
func (c *call) evict(in runtime.Object, opts *metav1.CreateOptions) (result, error) {
	options := &metav1.DeleteOptions{}
	if d := evictionOptions(in); d != nil {
		options = d.DeepCopy()
	}
	if ignore := options.IgnoreStoreReadErrorWithClusterBreakingPotential; ignore != nil && *ignore {
		return result{}, apierrors.NewInvalid(policyv1.SchemeGroupVersion.WithKind("Eviction").GroupKind(), c.name, field.ErrorList{field.Invalid(
			field.NewPath("deleteOptions", "ignoreStoreReadErrorWithClusterBreakingPotential"), true, "can not be set for pod eviction, try after removing the option")})
	}
	if len(opts.DryRun) > 0 {
		options.DryRun = opts.DryRun
	}
	if err := validateDeleteOptions(options); err != nil {
		return result{}, err
	}
	done := result{created: true, object: &metav1.Status{Status: metav1.StatusSuccess, Code: http.StatusCreated}}
	for admitted := false; ; admitted = true {
		if err := c.ctx.Err(); err != nil {
			return result{}, err
		}
		rec, err := c.record()
		if err != nil {
			return result{}, err
		}
		obj, err := c.decoded(rec)
		if err != nil {
			return result{}, err
		}
		if !admitted {
			if err := c.admitAction(in, obj, isDryRun(options.DryRun), opts); err != nil {
				return result{}, err
			}
		}
		writes, err := c.disrupt(obj)
		if err != nil {
			return result{}, err
		}
		now := c.stamp()
		d, err := c.planDelete(rec, options, func(obj kinds.Object) {
			if p, ok := obj.(*corev1.Pod); ok {
				policy.MarkEvicted(p, now)
			}
		})
		if err != nil {
			return result{}, err
		}
		if d.none || isDryRun(options.DryRun) {
			return done, nil
		}
		writes = append(writes, d.write)
		_, err = c.cfg.Store.Commit(c.ctx, writes...)
		var conflict *store.ConflictError
		if errors.As(err, &conflict) {
			continue
		}
		if err != nil {
			return result{}, err
		}
		for i := range writes {
			c.committed(writes[i].Key)
		}
		return done, nil
	}
}

// disrupt is what the eviction of a pod writes to its budget: nothing when it has none, or when the budget does not count the pod.
func (c *call) disrupt(obj kinds.Object) ([]store.Write, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok || !policy.Guarded(pod) {
		return nil, nil
	}
	var name string
	n := 0
	for _, o := range c.PeekList(policy.PodDisruptionBudget, pod.Namespace, nil) {
		if policy.Covers(o.(*policyv1.PodDisruptionBudget), pod) {
			name = o.GetName()
			n++
		}
	}
	switch {
	case n == 0:
		return nil, nil
	case n > 1:
		return nil, &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
			Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}}
	}
	rec, err := c.cfg.Store.Get(keyOf(policy.PodDisruptionBudget, pod.Namespace, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // deleted meanwhile
	}
	if err != nil {
		return nil, err
	}
	fresh, err := encode.Fresh(policy.PodDisruptionBudget, rec)
	if err != nil {
		return nil, err
	}
	budget := fresh.(*policyv1.PodDisruptionBudget)
	if policy.Free(budget, pod) {
		return nil, nil
	}
	if err := policy.Disrupt(budget, pod.Name, c.stamp()); err != nil {
		return nil, err
	}
	budget.SetResourceVersion("")
	w, err := c.sealOf(policy.PodDisruptionBudget, budget)
	w.Expect.Revision = rec.Revision
	return []store.Write{w}, err
}
