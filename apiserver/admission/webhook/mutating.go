package webhook

import (
	"bytes"
	"context"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
	kjson "sigs.k8s.io/json"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/admission/match"
	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/admissionregistration"
)

type mutating struct{ source }

// Mutating is the plugin for MutatingWebhookConfigurations.
func Mutating(cfg Config) admission.Plugin {
	p := &mutating{source{cfg: cfg, kind: admissionregistration.MutatingWebhookConfiguration}}
	p.changed = cfg.Changed(p.kind.Storage.Prefix)
	p.hooksOf = func(obj kinds.Object) []*hook {
		c := obj.(*admissionv1.MutatingWebhookConfiguration)
		out := make([]*hook, len(c.Webhooks))
		for i := range c.Webhooks {
			w := &c.Webhooks[i]
			h := p.hook(c.Name, &w.ClientConfig, w.Rules, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector, w.FailurePolicy, w.TimeoutSeconds)
			h.name, h.sideEffects, h.versions, h.conditions, h.kind = w.Name, w.SideEffects, w.AdmissionReviewVersions, w.MatchConditions, "admit"
			h.again = w.ReinvocationPolicy != nil && *w.ReinvocationPolicy == admissionv1.IfNeededReinvocationPolicy
			out[i] = h
		}
		return out
	}
	return p
}

func (*mutating) Name() string { return "MutatingAdmissionWebhook" }

// seen is what the first round of mutators leaves for the second.
type seen struct {
	stale map[*hook]bool // webhooks that were called, and whether somebody has changed the object since
	last  kinds.Object   // after the last webhook
}

// outdated notes that what all of them have seen is no longer so.
func (s *seen) outdated() {
	for h := range s.stale {
		s.stale[h] = true
	}
}

type seenKey struct{ p *mutating }

func (p *mutating) Mutate(ctx context.Context, r *admission.Request) error {
	hooks := p.hooks()
	if len(hooks) == 0 || !match.Visible(r) {
		return nil
	}
	if r.Again {
		return p.again(ctx, r, hooks)
	}
	a := match.New(r)
	if rules.IsExemptAdmissionConfigurationResource(a) {
		return nil
	}
	now := &seen{stale: map[*hook]bool{}}
	changed := false
	for _, h := range hooks {
		called, did, err := p.ask(ctx, h, a)
		if err != nil {
			return err
		}
		if did {
			changed = true
			now.outdated()
			a = match.New(r)
		}
		if called {
			now.stale[h] = false
		}
	}
	if changed {
		if r.Object != nil {
			now.last = r.Object.DeepCopyObject().(kinds.Object)
		}
		r.SetValue(seenKey{p}, now)
		r.Reinvoke()
	}
	return nil
}

// again asks those webhooks once more that want to be asked when the object has changed after they saw it: by a later webhook, or by a plugin in front that
// looked again too.
func (p *mutating) again(ctx context.Context, r *admission.Request, hooks []*hook) error {
	before, _ := r.Value(seenKey{p}).(*seen)
	if before == nil {
		return nil
	}
	if r.Object != nil && !equality.Semantic.DeepEqual(before.last, r.Object) {
		before.outdated()
	}
	for _, h := range hooks {
		if !h.again || !before.stale[h] {
			continue
		}
		_, did, err := p.ask(ctx, h, match.New(r))
		if err != nil {
			return err
		}
		if did {
			before.outdated()
		}
	}
	return nil
}

// ask calls a webhook if it is to be called.
func (p *mutating) ask(ctx context.Context, h *hook, a *match.Attributes) (called, changed bool, err error) {
	i, err := h.called(ctx, a, &p.cfg)
	if i == nil || err != nil {
		return false, false, err
	}
	changed, err = p.call(ctx, h, i)
	return true, changed, err
}

// call asks one webhook and does what it says.
func (p *mutating) call(ctx context.Context, h *hook, i *match.Invocation) (changed bool, err error) {
	resp, err := h.review(ctx, i)
	if err == nil {
		var patch jsonpatch.Patch
		if patch, err = h.patch(resp); err == nil && len(patch) > 0 {
			return h.apply(i, patch)
		}
	}
	return false, h.failed(ctx, err, &p.cfg)
}

func (h *hook) patch(resp *response) (jsonpatch.Patch, error) {
	if len(resp.Patch) == 0 {
		return nil, nil
	}
	patch, err := jsonpatch.DecodePatch(resp.Patch)
	if err != nil {
		return nil, &callError{h.name, fmt.Errorf("received undecodable patch in webhook response: %w", err)}
	}
	return patch, nil
}

// apply patches the object, in the version that the webhook was given, and puts it in place of the request's.
func (h *hook) apply(i *match.Invocation, patch jsonpatch.Patch) (bool, error) {
	obj, err := i.Object()
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	if obj == nil {
		return false, apierrors.NewInternalError(fmt.Errorf("admission webhook %q attempted to modify the object, which is not supported for this operation", h.name))
	}
	before, err := encode.Marshal(obj)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	after, err := patch.Apply(before)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	if bytes.Equal(before, after) {
		return false, nil
	}
	next, err := decode(obj, after)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	if equality.Semantic.DeepEqual(obj, next) {
		return false, nil
	}
	if err := i.Replace(next); err != nil {
		return false, apierrors.NewInternalError(err)
	}
	return true, nil
}

// decode reads JSON as an object of the same type as like.
func decode(like runtime.Object, data []byte) (runtime.Object, error) {
	if _, loose := like.(*unstructured.Unstructured); loose {
		u := &unstructured.Unstructured{}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &u.Object); err != nil {
			return nil, err
		}
		return u, nil
	}
	out := newLike(like)
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, out); err != nil {
		return nil, err
	}
	return out, nil
}
