package admissionregistration

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/client-go/util/jsonpath"

	"github.com/tenet-run/tenet/kinds"
)

// ValidatingAdmissionPolicy says what writes must be like. It does nothing until a binding puts it to use.
var ValidatingAdmissionPolicy = kinds.Define(kinds.Definition[*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyList]{
	Group: group, Version: "v1", Kind: "ValidatingAdmissionPolicy", Plural: "validatingadmissionpolicies", Categories: []string{"api-extensions"},
	NoUnconditionalUpdate: true,
	New:                   func() *admissionv1.ValidatingAdmissionPolicy { return &admissionv1.ValidatingAdmissionPolicy{} },
	NewList:               func() *admissionv1.ValidatingAdmissionPolicyList { return &admissionv1.ValidatingAdmissionPolicyList{} },
	Spec:                  func(p *admissionv1.ValidatingAdmissionPolicy) any { return p.Spec },
	CopyStatus:            func(dst, src *admissionv1.ValidatingAdmissionPolicy) { dst.Status = src.Status },
	CopySpec: func(dst, src *admissionv1.ValidatingAdmissionPolicy) {
		dst.Spec, dst.Labels, dst.Annotations, dst.Finalizers = src.Spec, src.Labels, src.Annotations, src.Finalizers
	},
	StatusResets: []string{"metadata.labels", "metadata.annotations", "metadata.finalizers"},
	Default: func(p *admissionv1.ValidatingAdmissionPolicy) {
		setDefault(&p.Spec.FailurePolicy, admissionv1.Fail)
		defaultMatch(p.Spec.MatchConstraints)
	},
	Validate:       func(p *admissionv1.ValidatingAdmissionPolicy) field.ErrorList { return validatePolicy(p, nil) },
	ValidateUpdate: validatePolicy,
	ValidateStatus: func(p, _ *admissionv1.ValidatingAdmissionPolicy) field.ErrorList {
		return validatePolicyStatus(&p.Status)
	},
	Warnings: func(p, _ *admissionv1.ValidatingAdmissionPolicy) []string { return staticName(p.Name) },
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Validations", "integer", "Validations indicates the number of validation rules defined in this configuration"),
		kinds.Column("ParamKind", "string", "ParamKind specifies the kind of resources used to parameterize this policy"),
		kinds.AgeColumn(),
	},
	Row: func(p *admissionv1.ValidatingAdmissionPolicy) []any {
		return []any{p.Name, int64(len(p.Spec.Validations)), paramKindName(p.Spec.ParamKind), kinds.Age(p.CreationTimestamp)}
	},
})

// ValidatingAdmissionPolicyBinding puts a policy to use.
var ValidatingAdmissionPolicyBinding = kinds.Define(kinds.Definition[*admissionv1.ValidatingAdmissionPolicyBinding, *admissionv1.ValidatingAdmissionPolicyBindingList]{
	Group: group, Version: "v1", Kind: "ValidatingAdmissionPolicyBinding", Plural: "validatingadmissionpolicybindings", Categories: []string{"api-extensions"},
	NoUnconditionalUpdate: true,
	New: func() *admissionv1.ValidatingAdmissionPolicyBinding {
		return &admissionv1.ValidatingAdmissionPolicyBinding{}
	},
	NewList: func() *admissionv1.ValidatingAdmissionPolicyBindingList {
		return &admissionv1.ValidatingAdmissionPolicyBindingList{}
	},
	Spec:    func(b *admissionv1.ValidatingAdmissionPolicyBinding) any { return b.Spec },
	Default: func(b *admissionv1.ValidatingAdmissionPolicyBinding) { defaultMatch(b.Spec.MatchResources) },
	Validate: func(b *admissionv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
		fld := field.NewPath("spec")
		errs := validateBound(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
		return append(errs, validateActions(b.Spec.ValidationActions, fld.Child("validationActions"))...)
	},
	Warnings: func(b, _ *admissionv1.ValidatingAdmissionPolicyBinding) []string { return staticName(b.Name) },
	Columns:  boundColumns(),
	Row: func(b *admissionv1.ValidatingAdmissionPolicyBinding) []any {
		return []any{b.Name, b.Spec.PolicyName, paramName(b.Spec.ParamRef), kinds.Age(b.CreationTimestamp)}
	},
})

func boundColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("PolicyName", "string", "PolicyName indicates the policy definition which the policy binding binded to"),
		kinds.Column("ParamRef", "string", "ParamRef indicates the param resource which sets the configuration param"),
		kinds.AgeColumn(),
	}
}

func validateBound(policy string, ref *admissionv1.ParamRef, m *admissionv1.MatchResources) field.ErrorList {
	fld := field.NewPath("spec")
	var errs field.ErrorList
	if policy == "" {
		errs = append(errs, field.Required(fld.Child("policyName"), ""))
	} else {
		for _, msg := range content.IsDNS1123Subdomain(policy) {
			errs = append(errs, field.Invalid(fld.Child("policyName"), policy, msg))
		}
	}
	errs = append(errs, validateParamRef(ref, fld.Child("paramRef"))...)
	return append(errs, validateMatch(m, fld.Child("matchResources"))...)
}

func validateActions(list []admissionv1.ValidationAction, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		errs = append(errs, oneOf(&list[i], []string{"Audit", "Deny", "Warn"}, fld.Index(i))...)
		if slices.Contains(list[:i], list[i]) {
			errs = append(errs, field.Duplicate(fld.Index(i), list[i]))
		}
	}
	if slices.Contains(list, admissionv1.Deny) && slices.Contains(list, admissionv1.Warn) {
		errs = append(errs, field.Invalid(fld, list, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	if len(list) == 0 {
		errs = append(errs, field.Required(fld, "at least one validation action is required"))
	}
	return errs
}

const (
	maxAnnotations      = 20
	maxAnnotationLength = 5 << 10
)

// validatePolicy checks a policy. old is nil on create.
func validatePolicy(p, old *admissionv1.ValidatingAdmissionPolicy) field.ErrorList {
	var had stored
	same := false
	if old != nil {
		same = equality.Semantic.DeepEqual(p.Spec.ParamKind, old.Spec.ParamKind) && equality.Semantic.DeepEqual(p.Spec.MatchConditions, old.Spec.MatchConditions)
		for _, c := range old.Spec.MatchConditions {
			had.add(c.Expression)
		}
		for _, v := range old.Spec.Validations {
			had.add(v.Expression)
			had.add(v.MessageExpression)
		}
		for _, a := range old.Spec.AuditAnnotations {
			had.add(a.ValueExpression)
		}
	}
	spec, fld := &p.Spec, field.NewPath("spec")
	errs := validateCommon(spec.FailurePolicy, spec.ParamKind, spec.MatchConstraints, fld)
	params := spec.ParamKind != nil
	if !same {
		errs = append(errs, validateMatchConditions(spec.MatchConditions, params, &had, fld.Child("matchConditions"))...)
	}
	compiler := Compiler
	if len(spec.Variables) > 0 {
		composed, err := NewCompiler()
		if err != nil {
			return append(errs, field.InternalError(fld.Child("variables"), err))
		}
		errs = append(errs, validateVariables(composed, spec.Variables, params, had, fld.Child("variables"))...)
		compiler = func() plugincel.Compiler { return composed }
	}
	if len(spec.Validations) == 0 && len(spec.AuditAnnotations) == 0 {
		for _, name := range []string{"validations", "auditAnnotations"} {
			errs = append(errs, field.Required(fld.Child(name), "validations or auditAnnotations must contain at least one item"))
		}
		return errs
	}
	for i := range spec.Validations {
		errs = append(errs, validateValidation(compiler, &spec.Validations[i], params, had, fld.Child("validations").Index(i))...)
	}
	if len(spec.AuditAnnotations) > maxAnnotations {
		errs = append(errs, field.Invalid(fld.Child("auditAnnotations"), spec.AuditAnnotations, fmt.Sprintf("must not have more than %d auditAnnotations", maxAnnotations)))
	}
	seen := map[string]bool{}
	for i, a := range spec.AuditAnnotations {
		at := fld.Child("auditAnnotations").Index(i)
		if p.Name == "" {
			errs = append(errs, field.Invalid(at.Child("key"), a.Key, "requires metadata.name be non-empty"))
		} else {
			for _, msg := range content.IsQualifiedName(p.Name + "/" + a.Key) {
				errs = append(errs, field.Invalid(at.Child("key"), p.Name+"/"+a.Key, msg))
			}
		}
		switch text := strings.TrimSpace(a.ValueExpression); {
		case text == "":
			errs = append(errs, field.Required(at.Child("valueExpression"), "valueExpression is not specified"))
		case len(text) > maxAnnotationLength:
			errs = append(errs, field.Required(at.Child("valueExpression"), fmt.Sprintf("must not exceed %d bytes in length", maxAnnotationLength)))
		default:
			errs = append(errs, compile(compiler(), Annotation(text), plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true},
				had.env(a.ValueExpression), a.ValueExpression, at.Child("valueExpression"))...)
		}
		if seen[a.Key] {
			errs = append(errs, field.Duplicate(at.Child("key"), a.Key))
		}
		seen[a.Key] = true
	}
	return errs
}

// validateCommon is what policies of both sorts have.
func validateCommon(failure *admissionv1.FailurePolicyType, k *admissionv1.ParamKind, m *admissionv1.MatchResources, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	if failure == nil {
		errs = append(errs, field.Required(fld.Child("failurePolicy"), ""))
	}
	errs = append(errs, oneOf(failure, failurePolicies, fld.Child("failurePolicy"))...)
	errs = append(errs, validateParamKind(k, fld.Child("paramKind"))...)
	if m == nil {
		return append(errs, field.Required(fld.Child("matchConstraints"), ""))
	}
	errs = append(errs, validateMatch(m, fld.Child("matchConstraints"))...)
	if len(m.ResourceRules) == 0 {
		errs = append(errs, field.Required(fld.Child("matchConstraints", "resourceRules"), ""))
	}
	return errs
}

func validateValidation(compiler func() plugincel.Compiler, v *admissionv1.Validation, params bool, had stored, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	if strings.TrimSpace(v.Expression) == "" {
		errs = append(errs, field.Required(fld.Child("expression"), "expression is not specified"))
	} else {
		errs = append(errs, compile(compiler(), Condition(v.Expression), plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true},
			had.env(v.Expression), v.Expression, fld.Child("expression"))...)
	}
	if v.MessageExpression != "" {
		if strings.TrimSpace(v.MessageExpression) == "" {
			errs = append(errs, field.Invalid(fld.Child("messageExpression"), v.MessageExpression, "must be non-empty if specified"))
		} else {
			errs = append(errs, compile(compiler(), Text(v.MessageExpression), plugincel.OptionalVariableDeclarations{HasParams: params},
				had.env(v.MessageExpression), v.MessageExpression, fld.Child("messageExpression"))...)
		}
	}
	switch text := strings.TrimSpace(v.Message); {
	case v.Message != "" && text == "":
		errs = append(errs, field.Invalid(fld.Child("message"), v.Message, "must be non-empty if specified"))
	case strings.ContainsAny(text, "\n\r"):
		errs = append(errs, field.Invalid(fld.Child("message"), v.Message, "must not contain line breaks"))
	}
	return append(errs, oneOf(v.Reason, []string{string(metav1.StatusReasonForbidden), string(metav1.StatusReasonInvalid), string(metav1.StatusReasonRequestEntityTooLarge)},
		fld.Child("reason"))...)
}

func validatePolicyStatus(s *admissionv1.ValidatingAdmissionPolicyStatus) field.ErrorList {
	var errs field.ErrorList
	fld := field.NewPath("status")
	if s.TypeChecking != nil {
		for i, w := range s.TypeChecking.ExpressionWarnings {
			at := fld.Child("typeChecking", "expressionWarnings").Index(i)
			if w.Warning == "" {
				errs = append(errs, field.Required(at.Child("warning"), ""))
			}
			ref := strings.TrimSpace(w.FieldRef)
			if ref == "" {
				errs = append(errs, field.Required(at.Child("fieldRef"), ""))
			} else if err := jsonpath.New("spec").Parse("{" + ref + "}"); err != nil {
				errs = append(errs, field.Invalid(at.Child("fieldRef"), ref, fmt.Sprintf("invalid JSONPath: %v", err)))
			}
		}
	}
	return append(errs, metav1validation.ValidateConditions(s.Conditions, fld.Child("conditions"))...)
}
