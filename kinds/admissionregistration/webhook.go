package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

const group = admissionv1.GroupName

// ValidatingWebhookConfiguration names web servers that may refuse writes.
var ValidatingWebhookConfiguration = kinds.Define(kinds.Definition[*admissionv1.ValidatingWebhookConfiguration, *admissionv1.ValidatingWebhookConfigurationList]{
	Group: group, Version: "v1", Kind: "ValidatingWebhookConfiguration", Plural: "validatingwebhookconfigurations", Categories: []string{"api-extensions"},
	NoUnconditionalUpdate: true,
	New: func() *admissionv1.ValidatingWebhookConfiguration {
		return &admissionv1.ValidatingWebhookConfiguration{}
	},
	NewList: func() *admissionv1.ValidatingWebhookConfigurationList {
		return &admissionv1.ValidatingWebhookConfigurationList{}
	},
	Spec: func(c *admissionv1.ValidatingWebhookConfiguration) any { return c.Webhooks },
	Default: func(c *admissionv1.ValidatingWebhookConfiguration) {
		for _, h := range validatingHooks(c) {
			h.setDefaults()
		}
	},
	Validate: func(c *admissionv1.ValidatingWebhookConfiguration) field.ErrorList {
		return validateHooks(validatingHooks(c), nil)
	},
	ValidateUpdate: func(c, old *admissionv1.ValidatingWebhookConfiguration) field.ErrorList {
		return validateHooks(validatingHooks(c), validatingHooks(old))
	},
	Warnings: func(c, _ *admissionv1.ValidatingWebhookConfiguration) []string { return staticName(c.Name) },
	Columns:  hookColumns(),
	Row: func(c *admissionv1.ValidatingWebhookConfiguration) []any {
		return []any{c.Name, int64(len(c.Webhooks)), kinds.Age(c.CreationTimestamp)}
	},
})

// MutatingWebhookConfiguration names web servers that may change what is written.
var MutatingWebhookConfiguration = kinds.Define(kinds.Definition[*admissionv1.MutatingWebhookConfiguration, *admissionv1.MutatingWebhookConfigurationList]{
	Group: group, Version: "v1", Kind: "MutatingWebhookConfiguration", Plural: "mutatingwebhookconfigurations", Categories: []string{"api-extensions"},
	NoUnconditionalUpdate: true,
	New:                   func() *admissionv1.MutatingWebhookConfiguration { return &admissionv1.MutatingWebhookConfiguration{} },
	NewList: func() *admissionv1.MutatingWebhookConfigurationList {
		return &admissionv1.MutatingWebhookConfigurationList{}
	},
	Spec: func(c *admissionv1.MutatingWebhookConfiguration) any { return c.Webhooks },
	Default: func(c *admissionv1.MutatingWebhookConfiguration) {
		for i, h := range mutatingHooks(c) {
			h.setDefaults()
			setDefault(&c.Webhooks[i].ReinvocationPolicy, admissionv1.NeverReinvocationPolicy)
		}
	},
	Validate: func(c *admissionv1.MutatingWebhookConfiguration) field.ErrorList {
		return validateHooks(mutatingHooks(c), nil)
	},
	ValidateUpdate: func(c, old *admissionv1.MutatingWebhookConfiguration) field.ErrorList {
		return validateHooks(mutatingHooks(c), mutatingHooks(old))
	},
	Warnings: func(c, _ *admissionv1.MutatingWebhookConfiguration) []string { return staticName(c.Name) },
	Columns:  hookColumns(),
	Row: func(c *admissionv1.MutatingWebhookConfiguration) []any {
		return []any{c.Name, int64(len(c.Webhooks)), kinds.Age(c.CreationTimestamp)}
	},
})

func hookColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Webhooks", "integer", "Webhooks indicates the number of webhooks registered in this configuration"),
		kinds.AgeColumn(),
	}
}

// hook is what webhooks of both sorts have.
type hook struct {
	name              string
	client            *admissionv1.WebhookClientConfig
	rules             []admissionv1.RuleWithOperations
	failurePolicy     **admissionv1.FailurePolicyType
	matchPolicy       **admissionv1.MatchPolicyType
	namespaceSelector **metav1.LabelSelector
	objectSelector    **metav1.LabelSelector
	sideEffects       *admissionv1.SideEffectClass
	timeoutSeconds    **int32
	reviewVersions    []string
	matchConditions   []admissionv1.MatchCondition
	reinvocation      *admissionv1.ReinvocationPolicyType
}

func validatingHooks(c *admissionv1.ValidatingWebhookConfiguration) []hook {
	out := make([]hook, len(c.Webhooks))
	for i := range c.Webhooks {
		h := &c.Webhooks[i]
		out[i] = hook{
			h.Name, &h.ClientConfig, h.Rules, &h.FailurePolicy, &h.MatchPolicy, &h.NamespaceSelector, &h.ObjectSelector, h.SideEffects, &h.TimeoutSeconds,
			h.AdmissionReviewVersions, h.MatchConditions, nil,
		}
	}
	return out
}

func mutatingHooks(c *admissionv1.MutatingWebhookConfiguration) []hook {
	out := make([]hook, len(c.Webhooks))
	for i := range c.Webhooks {
		h := &c.Webhooks[i]
		out[i] = hook{
			h.Name, &h.ClientConfig, h.Rules, &h.FailurePolicy, &h.MatchPolicy, &h.NamespaceSelector, &h.ObjectSelector, h.SideEffects, &h.TimeoutSeconds,
			h.AdmissionReviewVersions, h.MatchConditions, h.ReinvocationPolicy,
		}
	}
	return out
}

func setDefault[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

func (h *hook) setDefaults() {
	setDefault(h.failurePolicy, admissionv1.Fail)
	setDefault(h.matchPolicy, admissionv1.Equivalent)
	setDefault(h.namespaceSelector, metav1.LabelSelector{})
	setDefault(h.objectSelector, metav1.LabelSelector{})
	setDefault(h.timeoutSeconds, 10)
	for i := range h.rules {
		setDefault(&h.rules[i].Scope, admissionv1.AllScopes)
	}
	if s := h.client.Service; s != nil {
		setDefault(&s.Port, 443)
	}
}
