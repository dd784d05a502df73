package policy

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/admission/match"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/admissionregistration"
)

type mutating struct {
	cfg   Config
	types managedfields.TypeConverter
	sources[*mutatingPolicy]
}

type mutatingPolicy struct {
	*common
	spec     *admissionv1.MutatingAdmissionPolicySpec
	compiler *plugincel.CompositedCompiler
	patchers []patch.Patcher
}

// Mutating is the plugin for MutatingAdmissionPolicies. types is the schema that apply configurations are merged by.
func Mutating(cfg Config, types managedfields.TypeConverter) admission.Plugin {
	p := &mutating{cfg: cfg, types: types}
	p.changed[0] = cfg.Changed(admissionregistration.MutatingAdmissionPolicy.Storage.Prefix)
	p.changed[1] = cfg.Changed(admissionregistration.MutatingAdmissionPolicyBinding.Storage.Prefix)
	p.build = p.load
	return p
}

func (*mutating) Name() string { return "MutatingAdmissionPolicy" }

func (p *mutating) load() []*mutatingPolicy {
	byPolicy := map[string][]*binding{}
	for _, obj := range sorted(p.cfg.Reader.PeekList(admissionregistration.MutatingAdmissionPolicyBinding, "", nil)) {
		b := obj.(*admissionv1.MutatingAdmissionPolicyBinding)
		byPolicy[b.Spec.PolicyName] = append(byPolicy[b.Spec.PolicyName], newBinding(b.Name, b.Spec.ParamRef, b.Spec.MatchResources))
	}
	var out []*mutatingPolicy
	for _, obj := range sorted(p.cfg.Reader.PeekList(admissionregistration.MutatingAdmissionPolicy, "", nil)) {
		o := obj.(*admissionv1.MutatingAdmissionPolicy)
		if len(byPolicy[o.Name]) == 0 {
			continue
		}
		m := &mutatingPolicy{common: newCommon(o.Name, o.Spec.FailurePolicy, o.Spec.ParamKind, o.Spec.MatchConstraints, o.Spec.MatchConditions, o.Spec.Variables), spec: &o.Spec}
		m.bindings, m.sort = byPolicy[o.Name], "mutate"
		out = append(out, m)
	}
	return out
}

func (m *mutatingPolicy) ready() {
	m.once.Do(func() {
		compiler, err := m.compile()
		if err != nil {
			m.broken = err
			return
		}
		m.compiler = compiler
		vars := m.vars()
		vars.HasPatchTypes = true
		for _, c := range m.spec.Mutations {
			switch {
			case c.PatchType == admissionv1.PatchTypeJSONPatch && c.JSONPatch != nil:
				m.patchers = append(m.patchers, patch.NewJSONPatcher(compiler.CompileMutatingEvaluator(
					&patch.JSONPatchCondition{Expression: c.JSONPatch.Expression}, vars, environment.StoredExpressions)))
			case c.PatchType == admissionv1.PatchTypeApplyConfiguration && c.ApplyConfiguration != nil:
				m.patchers = append(m.patchers, patch.NewApplyConfigurationPatcher(compiler.CompileMutatingEvaluator(
					&patch.ApplyConfigurationCondition{Expression: c.ApplyConfiguration.Expression}, vars, environment.StoredExpressions)))
			}
		}
	})
}

// seen is what the first round of mutators leaves for the second: which policies have changed or looked at the object, and whether it has changed since.
type seen struct {
	stale map[string]bool
	last  kinds.Object
}

func (s *seen) outdated() {
	for k := range s.stale {
		s.stale[k] = true
	}
}

type seenKey struct{ p *mutating }

func (p *mutating) Mutate(ctx context.Context, r *admission.Request) error {
	list := p.policies()
	if len(list) == 0 || r.Operation == admission.Delete || exempt(r) {
		return nil
	}
	before, _ := r.Value(seenKey{p}).(*seen)
	if before == nil {
		before = &seen{stale: map[string]bool{}}
	}
	if r.Again && before.last != nil && r.Object != nil && !equality.Semantic.DeepEqual(before.last, r.Object) {
		before.outdated()
	}
	changed := false
	var wrong []policyError
	for _, m := range list {
		did, bad, err := p.apply(ctx, r, m, before)
		if err != nil {
			return err
		}
		changed = changed || did
		if m.failure != admissionv1.Ignore {
			wrong = append(wrong, bad...)
		}
	}
	if len(wrong) > 0 {
		return refused(r, wrong)
	}
	if !r.Again {
		if r.Object != nil {
			before.last = r.Object.DeepCopyObject().(kinds.Object)
		}
		r.SetValue(seenKey{p}, before)
		if changed {
			r.Reinvoke()
		}
	}
	return nil
}

type policyError struct {
	policy, binding string
	err             error
	reason          metav1.StatusReason
}

func (e policyError) Error() string {
	if e.binding != "" {
		return fmt.Sprintf("policy '%s' with binding '%s' denied request: %s", e.policy, e.binding, e.err)
	}
	return fmt.Sprintf("policy %q denied request: %s", e.policy, e.err)
}

func refused(r *admission.Request, list []policyError) error {
	var status *apierrors.StatusError
	if !errors.As(admission.Forbidden(r, "admission request denied by policy"), &status) {
		return list[0]
	}
	status.ErrStatus.Message = list[0].Error()
	if list[0].reason != "" {
		status.ErrStatus.Reason = list[0].reason
	}
	status.ErrStatus.Code = http.StatusForbidden
	for _, e := range list {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Message: e.Error()})
	}
	return status
}

// apply lets one policy change the request's object, by each of its bindings and parameters.
func (p *mutating) apply(ctx context.Context, r *admission.Request, m *mutatingPolicy, state *seen) (changed bool, wrong []policyError, fatal error) {
	a := match.New(r)
	i, err := m.criteria.Match(a, p.cfg.Reader, false)
	if err == nil && i == nil {
		return false, nil, nil
	}
	if err == nil {
		m.ready()
		err = m.broken
	}
	if err != nil {
		return false, []policyError{{policy: m.name, err: fmt.Errorf("failed to configure policy: %w", err)}}, nil
	}
	for _, b := range m.bindings {
		ok, err := b.matches(a, p.cfg.Reader)
		var params []runtime.Object
		if err == nil && ok {
			params, err = p.cfg.params(m.paramKind, b.ref, r.Namespace)
		}
		if err != nil {
			wrong = append(wrong, policyError{policy: m.name, binding: b.name, err: fmt.Errorf("failed to configure binding: %w", err)})
		}
		for n, param := range params {
			key := fmt.Sprintf("%s/%s/%d", m.name, b.name, n)
			if r.Again && !state.stale[key] {
				continue
			}
			did, bad, err := p.mutate(ctx, r, m, b, i, param)
			if err != nil {
				return changed, wrong, err
			}
			wrong = append(wrong, bad...)
			if did {
				changed = true
				state.outdated()
			}
			if m.spec.ReinvocationPolicy == admissionv1.IfNeededReinvocationPolicy {
				state.stale[key] = false
			}
		}
	}
	return changed, wrong, nil
}

// mutate evaluates a policy's expressions one after another; each sees what those before it have made.
func (p *mutating) mutate(ctx context.Context, r *admission.Request, m *mutatingPolicy, b *binding, i *match.Invocation, param runtime.Object) (changed bool, wrong []policyError, fatal error) {
	attr, err := i.Versioned()
	if err != nil {
		return false, nil, apierrors.NewInternalError(err)
	}
	bad := func(err error) {
		wrong = append(wrong, policyError{policy: m.name, binding: b.name, err: err, reason: metav1.StatusReasonInvalid})
	}
	ctx = m.compiler.CreateContext(ctx)
	if m.matcher != nil {
		switch got := m.matcher.Match(ctx, attr, param, p.cfg.Authorizer); {
		case got.Error != nil:
			bad(got.Error)
			return false, wrong, nil
		case !got.Matches:
			return false, nil, nil
		}
	}
	before := attr.VersionedObject.Object()
	if before == nil {
		return false, nil, nil
	}
	ns, err := p.cfg.namespace(r)
	if err != nil {
		return false, nil, err
	}
	types := p.types
	if r.Kind.Types != nil {
		types = r.Kind.Types // a custom kind brings its own
	}
	for _, patcher := range m.patchers {
		next, err := patcher.Patch(ctx, patch.Request{
			MatchedResource: i.Resource(), VersionedAttributes: attr, ObjectInterfaces: objects{},
			OptionalVariables: plugincel.OptionalVariableBindings{VersionedParams: param, Authorizer: p.cfg.Authorizer}, Namespace: ns, TypeConverter: types,
		}, celconfig.RuntimeCELCostBudget)
		if err == nil {
			next, err = like(before, next)
		}
		if err != nil {
			bad(err)
			continue
		}
		attr.UpdateObject(next)
	}
	after := attr.VersionedObject.Object()
	if equality.Semantic.DeepEqual(before, after) {
		return false, wrong, nil
	}
	if err := i.Replace(after); err != nil {
		return false, wrong, apierrors.NewInternalError(err)
	}
	return true, wrong, nil
}

// like makes a value of the type of an object from what a patch has made of it.
func like(obj, made runtime.Object) (runtime.Object, error) {
	loose, ok := made.(*unstructured.Unstructured)
	if _, custom := obj.(*unstructured.Unstructured); !ok || custom {
		return made, nil
	}
	out := newLike(obj)
	return out, runtime.DefaultUnstructuredConverter.FromUnstructured(loose.Object, out)
}
