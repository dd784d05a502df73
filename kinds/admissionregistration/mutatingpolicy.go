package admissionregistration

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"

	"github.com/tenet-run/tenet/kinds"
)

// MutatingAdmissionPolicy says how writes are changed. It does nothing until a binding puts it to use.
var MutatingAdmissionPolicy = kinds.Define(kinds.Definition[*admissionv1.MutatingAdmissionPolicy, *admissionv1.MutatingAdmissionPolicyList]{
	Group: group, Version: "v1", Kind: "MutatingAdmissionPolicy", Plural: "mutatingadmissionpolicies", Categories: []string{"api-extensions"},
	NoUnconditionalUpdate: true,
	New:                   func() *admissionv1.MutatingAdmissionPolicy { return &admissionv1.MutatingAdmissionPolicy{} },
	NewList:               func() *admissionv1.MutatingAdmissionPolicyList { return &admissionv1.MutatingAdmissionPolicyList{} },
	Spec:                  func(p *admissionv1.MutatingAdmissionPolicy) any { return p.Spec },
	Default: func(p *admissionv1.MutatingAdmissionPolicy) {
		setDefault(&p.Spec.FailurePolicy, admissionv1.Fail)
		defaultMatch(p.Spec.MatchConstraints)
	},
	Validate:       func(p *admissionv1.MutatingAdmissionPolicy) field.ErrorList { return validateMutatingPolicy(p, nil) },
	ValidateUpdate: validateMutatingPolicy,
	Warnings:       func(p, _ *admissionv1.MutatingAdmissionPolicy) []string { return staticName(p.Name) },
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Mutations", "integer", "Mutation indicates the number of mutations rules defined in this configuration"),
		kinds.Column("ParamKind", "string", "ParamKind specifies the kind of resources used to parameterize this policy"),
		kinds.AgeColumn(),
	},
	Row: func(p *admissionv1.MutatingAdmissionPolicy) []any {
		return []any{p.Name, int64(len(p.Spec.Mutations)), paramKindName(p.Spec.ParamKind), kinds.Age(p.CreationTimestamp)}
	},
})

// MutatingAdmissionPolicyBinding puts a policy to use.
var MutatingAdmissionPolicyBinding = kinds.Define(kinds.Definition[*admissionv1.MutatingAdmissionPolicyBinding, *admissionv1.MutatingAdmissionPolicyBindingList]{
	Group: group, Version: "v1", Kind: "MutatingAdmissionPolicyBinding", Plural: "mutatingadmissionpolicybindings", Categories: []string{"api-extensions"},
	NoUnconditionalUpdate: true,
	New: func() *admissionv1.MutatingAdmissionPolicyBinding {
		return &admissionv1.MutatingAdmissionPolicyBinding{}
	},
	NewList: func() *admissionv1.MutatingAdmissionPolicyBindingList {
		return &admissionv1.MutatingAdmissionPolicyBindingList{}
	},
	Spec:    func(b *admissionv1.MutatingAdmissionPolicyBinding) any { return b.Spec },
	Default: func(b *admissionv1.MutatingAdmissionPolicyBinding) { defaultMatch(b.Spec.MatchResources) },
	Validate: func(b *admissionv1.MutatingAdmissionPolicyBinding) field.ErrorList {
		return validateBound(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
	},
	Warnings: func(b, _ *admissionv1.MutatingAdmissionPolicyBinding) []string { return staticName(b.Name) },
	Columns:  boundColumns(),
	Row: func(b *admissionv1.MutatingAdmissionPolicyBinding) []any {
		return []any{b.Name, b.Spec.PolicyName, paramName(b.Spec.ParamRef), kinds.Age(b.CreationTimestamp)}
	},
})

// mutatingOperations: nothing is changed of what is deleted.
var mutatingOperations = []string{"*", "CONNECT", "CREATE", "UPDATE"}

func validateMutatingPolicy(p, old *admissionv1.MutatingAdmissionPolicy) field.ErrorList {
	var had stored
	same := false
	if old != nil {
		same = equality.Semantic.DeepEqual(p.Spec.ParamKind, old.Spec.ParamKind) && equality.Semantic.DeepEqual(p.Spec.MatchConditions, old.Spec.MatchConditions)
		for _, c := range old.Spec.MatchConditions {
			had.add(c.Expression)
		}
		for _, m := range old.Spec.Mutations {
			if m.ApplyConfiguration != nil {
				had.add(m.ApplyConfiguration.Expression)
			}
			if m.JSONPatch != nil {
				had.add(m.JSONPatch.Expression)
			}
		}
	}
	spec, fld := &p.Spec, field.NewPath("spec")
	errs := validateCommon(spec.FailurePolicy, spec.ParamKind, spec.MatchConstraints, fld)
	if spec.MatchConstraints != nil {
		for _, rule := range spec.MatchConstraints.ResourceRules {
			for i := range rule.Operations {
				errs = append(errs, oneOf(&rule.Operations[i], mutatingOperations, fld.Child("matchConstraints", "resourceRules", "operations"))...)
			}
		}
	}
	params := spec.ParamKind != nil
	if !same {
		errs = append(errs, validateMatchConditions(spec.MatchConditions, params, &had, fld.Child("matchConditions"))...)
	}
	compiler, err := NewCompiler()
	if err != nil {
		return append(errs, field.InternalError(fld, err))
	}
	errs = append(errs, validateVariables(compiler, spec.Variables, params, had, fld.Child("variables"))...)
	if len(spec.Mutations) == 0 {
		errs = append(errs, field.Required(fld.Child("mutations"), "mutations must contain at least one item"))
	}
	for i := range spec.Mutations {
		errs = append(errs, validateMutation(compiler, &spec.Mutations[i], params, had, fld.Child("mutations").Index(i))...)
	}
	if spec.ReinvocationPolicy == "" {
		errs = append(errs, field.Required(fld.Child("reinvocationPolicy"), ""))
	} else if !slices.Contains(reinvocations, string(spec.ReinvocationPolicy)) {
		errs = append(errs, field.NotSupported(fld.Child("reinvocationPolicy"), spec.ReinvocationPolicy, reinvocations))
	}
	return errs
}

func validateMutation(c plugincel.Compiler, m *admissionv1.Mutation, params bool, had stored, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	vars := plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true, HasPatchTypes: true}
	expression := func(text string, e plugincel.ExpressionAccessor, at *field.Path) {
		if strings.TrimSpace(text) == "" {
			errs = append(errs, field.Required(at, ""))
			return
		}
		errs = append(errs, compile(c, e, vars, had.env(text), strings.TrimSpace(text), at)...)
	}
	json, apply := fld.Child("jsonPatch"), fld.Child("applyConfiguration")
	switch m.PatchType {
	case "":
		errs = append(errs, field.Required(fld.Child("patchType"), ""))
	case admissionv1.PatchTypeJSONPatch:
		if m.JSONPatch == nil {
			errs = append(errs, field.Required(json, "must be specified when patchType is JSONPatch"))
		} else {
			expression(m.JSONPatch.Expression, &patch.JSONPatchCondition{Expression: strings.TrimSpace(m.JSONPatch.Expression)}, json.Child("expression"))
		}
		if m.ApplyConfiguration != nil {
			errs = append(errs, field.Invalid(apply, "{applyConfiguration}", "must not be specified when patchType is JSONPatch"))
		}
	case admissionv1.PatchTypeApplyConfiguration:
		if m.ApplyConfiguration == nil {
			errs = append(errs, field.Required(apply, "must be specified when patchType is ApplyConfiguration"))
		} else {
			expression(m.ApplyConfiguration.Expression, &patch.ApplyConfigurationCondition{Expression: strings.TrimSpace(m.ApplyConfiguration.Expression)}, apply.Child("expression"))
		}
		if m.JSONPatch != nil {
			errs = append(errs, field.Invalid(json, "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"))
		}
	default:
		errs = append(errs, field.NotSupported(fld.Child("patchType"), m.PatchType, []string{"ApplyConfiguration", "JSONPatch"}))
	}
	return errs
}
