package webhook

import (
	"context"
	"sync"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/admission/match"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/admissionregistration"
)

type validating struct{ source }

// Validating is the plugin for ValidatingWebhookConfigurations.
func Validating(cfg Config) admission.Plugin {
	p := &validating{source{cfg: cfg, kind: admissionregistration.ValidatingWebhookConfiguration}}
	p.changed = cfg.Changed(p.kind.Storage.Prefix)
	p.hooksOf = func(obj kinds.Object) []*hook {
		c := obj.(*admissionv1.ValidatingWebhookConfiguration)
		out := make([]*hook, len(c.Webhooks))
		for i := range c.Webhooks {
			w := &c.Webhooks[i]
			h := p.hook(c.Name, &w.ClientConfig, w.Rules, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector, w.FailurePolicy, w.TimeoutSeconds)
			h.name, h.sideEffects, h.versions, h.conditions, h.kind = w.Name, w.SideEffects, w.AdmissionReviewVersions, w.MatchConditions, "validating"
			out[i] = h
		}
		return out
	}
	return p
}

func (*validating) Name() string { return "ValidatingAdmissionWebhook" }

// Validate asks all webhooks at once. Of several refusals the client is told the one that stands first.
func (p *validating) Validate(ctx context.Context, r *admission.Request) error {
	hooks := p.hooks()
	if len(hooks) == 0 || !match.Visible(r) {
		return nil
	}
	a := match.New(r)
	if rules.IsExemptAdmissionConfigurationResource(a) {
		return nil
	}
	type due struct {
		hook *hook
		in   *match.Invocation
		err  error
	}
	var list []*due
	for _, h := range hooks {
		i, err := h.called(ctx, a, &p.cfg)
		if err != nil {
			return err
		}
		if i != nil {
			list = append(list, &due{hook: h, in: i})
		}
	}
	if len(list) == 0 {
		return nil
	}
	var warn sync.Mutex
	ask := func(d *due) {
		resp, err := d.hook.review(ctx, d.in)
		if resp != nil {
			warn.Lock()
			for _, text := range resp.Warnings {
				r.Warn(text)
			}
			warn.Unlock()
		}
		d.err = d.hook.failed(ctx, err, &p.cfg)
	}
	var wg sync.WaitGroup
	for _, d := range list[1:] {
		wg.Go(func() { ask(d) })
	}
	ask(list[0])
	wg.Wait()
	for _, d := range list {
		if d.err != nil {
			return d.err
		}
	}
	return nil
}
