package policy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	celtypes "github.com/google/cel-go/common/types"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8sadmission "k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/admission/match"
	"github.com/tenet-run/tenet/kinds/admissionregistration"
)

type validating struct {
	cfg Config
	sources[*validatingPolicy]
}

// validatingPolicy is a policy with its bindings, compiled when it is first needed.
type validatingPolicy struct {
	*common
	spec *admissionv1.ValidatingAdmissionPolicySpec

	checks, messages, annotations plugincel.ConditionEvaluator
}

// Validating is the plugin for ValidatingAdmissionPolicies.
func Validating(cfg Config) admission.Plugin {
	p := &validating{cfg: cfg}
	p.changed[0] = cfg.Changed(admissionregistration.ValidatingAdmissionPolicy.Storage.Prefix)
	p.changed[1] = cfg.Changed(admissionregistration.ValidatingAdmissionPolicyBinding.Storage.Prefix)
	p.build = p.load
	return p
}

func (*validating) Name() string { return "ValidatingAdmissionPolicy" }

func (p *validating) load() []*validatingPolicy {
	byPolicy := map[string][]*binding{}
	for _, obj := range sorted(p.cfg.Reader.PeekList(admissionregistration.ValidatingAdmissionPolicyBinding, "", nil)) {
		b := obj.(*admissionv1.ValidatingAdmissionPolicyBinding)
		n := newBinding(b.Name, b.Spec.ParamRef, b.Spec.MatchResources)
		n.actions = b.Spec.ValidationActions
		byPolicy[b.Spec.PolicyName] = append(byPolicy[b.Spec.PolicyName], n)
	}
	var out []*validatingPolicy
	for _, obj := range sorted(p.cfg.Reader.PeekList(admissionregistration.ValidatingAdmissionPolicy, "", nil)) {
		o := obj.(*admissionv1.ValidatingAdmissionPolicy)
		if len(byPolicy[o.Name]) == 0 {
			continue
		}
		v := &validatingPolicy{common: newCommon(o.Name, o.Spec.FailurePolicy, o.Spec.ParamKind, o.Spec.MatchConstraints, o.Spec.MatchConditions, o.Spec.Variables), spec: &o.Spec}
		v.bindings, v.sort = byPolicy[o.Name], "validate"
		out = append(out, v)
	}
	return out
}

func (v *validatingPolicy) ready() {
	v.once.Do(func() {
		compiler, err := v.compile()
		if err != nil {
			v.broken = err
			return
		}
		checks, messages := make([]plugincel.ExpressionAccessor, len(v.spec.Validations)), make([]plugincel.ExpressionAccessor, len(v.spec.Validations))
		for i, c := range v.spec.Validations {
			checks[i] = admissionregistration.Condition(c.Expression)
			if c.MessageExpression != "" {
				messages[i] = admissionregistration.Text(c.MessageExpression)
			}
		}
		annotations := make([]plugincel.ExpressionAccessor, len(v.spec.AuditAnnotations))
		for i, a := range v.spec.AuditAnnotations {
			annotations[i] = admissionregistration.Annotation(a.ValueExpression)
		}
		vars := v.vars()
		v.checks = compiler.CompileCondition(checks, vars, environment.StoredExpressions)
		v.annotations = compiler.CompileCondition(annotations, vars, environment.StoredExpressions)
		vars.HasAuthorizer = false
		v.messages = compiler.CompileCondition(messages, vars, environment.StoredExpressions)
	})
}

// denial is one thing that a policy minds.
type denial struct {
	policy, binding, message string
	reason                   metav1.StatusReason
}

func (p *validating) Validate(ctx context.Context, r *admission.Request) error {
	list := p.policies()
	if len(list) == 0 || exempt(r) {
		return nil
	}
	a := match.New(r)
	var denied []denial
	for _, v := range list {
		i, err := v.criteria.Match(a, p.cfg.Reader, false)
		if err == nil && i == nil {
			continue
		}
		if err == nil {
			v.ready()
			err = v.broken
		}
		if err != nil {
			if v.failure != admissionv1.Ignore {
				denied = append(denied, denial{policy: v.name, message: fmt.Sprintf("failed to configure policy: %v", err)})
			}
			continue
		}
		for _, b := range v.bindings {
			more, err := p.bound(ctx, r, a, i, v, b)
			if err != nil {
				return err
			}
			denied = append(denied, more...)
		}
	}
	if len(denied) == 0 {
		return nil
	}
	return refusal(r, denied[0])
}

// refusal is what the client is told: the first thing that is wrong.
func refusal(r *admission.Request, d denial) error {
	by := fmt.Sprintf("ValidatingAdmissionPolicy '%s'", d.policy)
	if d.binding != "" {
		by += fmt.Sprintf(" with binding '%s'", d.binding)
	}
	message := by + " denied request: " + d.message
	var status *apierrors.StatusError
	if !errors.As(admission.Forbidden(r, "%s", message), &status) {
		return errors.New(message)
	}
	if d.reason == "" {
		d.reason = metav1.StatusReasonInvalid
	}
	status.ErrStatus.Reason, status.ErrStatus.Code = d.reason, http.StatusUnprocessableEntity
	switch d.reason {
	case metav1.StatusReasonForbidden:
		status.ErrStatus.Code = http.StatusForbidden
	case metav1.StatusReasonUnauthorized:
		status.ErrStatus.Code = http.StatusUnauthorized
	case metav1.StatusReasonRequestEntityTooLarge:
		status.ErrStatus.Code = http.StatusRequestEntityTooLarge
	}
	status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Message: message})
	return status
}

// bound asks a policy by one binding, with each of its parameters, and does what the binding says about what it minds.
func (p *validating) bound(ctx context.Context, r *admission.Request, a *match.Attributes, i *match.Invocation, v *validatingPolicy, b *binding) ([]denial, error) {
	ok, err := b.matches(a, p.cfg.Reader)
	if err == nil && !ok {
		return nil, nil
	}
	var params []runtime.Object
	if err == nil {
		params, err = p.cfg.params(v.paramKind, b.ref, r.Namespace)
	}
	var attr *k8sadmission.VersionedAttributes
	if err == nil {
		attr, err = i.Versioned()
	}
	if err != nil {
		if v.failure == admissionv1.Ignore {
			return nil, nil
		}
		return []denial{{policy: v.name, binding: b.name, message: fmt.Sprintf("failed to configure binding: %v", err)}}, nil
	}
	ns, err := p.cfg.namespace(r)
	if err != nil {
		return nil, err
	}
	var denied []denial
	for _, param := range params {
		minds, fatal := v.evaluate(ctx, &p.cfg, i, attr, param, ns)
		for _, d := range minds {
			d.policy, d.binding = v.name, b.name
			for _, action := range b.actions {
				switch action {
				case admissionv1.Deny:
					denied = append(denied, d)
				case admissionv1.Warn:
					r.Warn(fmt.Sprintf("Validation failed for ValidatingAdmissionPolicy '%s' with binding '%s': %s", v.name, b.name, d.message))
				}
			}
		}
		for _, d := range fatal {
			d.policy, d.binding = v.name, b.name
			denied = append(denied, d)
		}
	}
	return denied, nil
}

// evaluate asks a policy. minds is subject to the binding's actions; fatal is refused whatever they are.
func (v *validatingPolicy) evaluate(ctx context.Context, cfg *Config, i *match.Invocation, attr *k8sadmission.VersionedAttributes, param runtime.Object, ns *corev1.Namespace) (minds, fatal []denial) {
	failed := func(format string, args ...any) {
		if v.failure != admissionv1.Ignore {
			minds = append(minds, denial{message: fmt.Sprintf(format, args...)})
		}
	}
	if v.matcher != nil {
		switch got := v.matcher.Match(ctx, attr, param, cfg.Authorizer); {
		case got.Error != nil:
			failed("%v", got.Error)
			return minds, nil
		case !got.Matches:
			return nil, nil
		}
	}
	req := plugincel.CreateAdmissionRequest(attr.Attributes, metav1.GroupVersionResource(i.Resource()), metav1.GroupVersionKind(attr.VersionedKind))
	all := plugincel.OptionalVariableBindings{VersionedParams: param, Authorizer: cfg.Authorizer}
	plain := plugincel.OptionalVariableBindings{VersionedParams: param}
	namespace := plugincel.CreateNamespaceObject(ns)
	results, left, err := v.checks.ForInput(ctx, attr, req, all, namespace, celconfig.RuntimeCELCostBudget)
	if err != nil {
		failed("%v", err)
		return minds, nil
	}
	messages, _, messageErr := v.messages.ForInput(ctx, attr, req, plain, namespace, left)
	for n, got := range results {
		switch {
		case got.Error != nil:
			failed("%v", got.Error)
		case errors.Is(messageErr, cel.ErrInternal) || errors.Is(messageErr, cel.ErrOutOfBudget):
			failed("failed messageExpression: %s", messageErr)
		case got.EvalResult != celtypes.True:
			c := &v.spec.Validations[n]
			d := denial{reason: metav1.StatusReasonInvalid}
			if c.Reason != nil {
				d.reason = *c.Reason
			}
			if n < len(messages) && messages[n].Error == nil && messages[n].EvalResult != nil {
				if text, ok := messages[n].EvalResult.Value().(string); ok {
					text = strings.TrimSpace(text)
					if len(text) <= celconfig.MaxEvaluatedMessageExpressionSizeBytes && !strings.Contains(text, "\n") {
						d.message = text
					}
				}
			}
			if d.message == "" {
				d.message = strings.TrimSpace(c.Message)
			}
			if d.message == "" {
				d.message = "failed expression: " + strings.TrimSpace(c.Expression)
			}
			minds = append(minds, d)
		}
	}
	// Audit annotations have nowhere to go yet; what is wrong with their expressions counts all the same.
	notes, _, err := v.annotations.ForInput(ctx, attr, req, all, ns, celconfig.RuntimeCELCostBudget)
	if err != nil {
		minds = nil
		failed("%v", err)
		return minds, nil
	}
	for _, n := range notes {
		if n.Error != nil && v.failure != admissionv1.Ignore {
			fatal = append(fatal, denial{message: n.Error.Error()})
		}
	}
	return minds, fatal
}
