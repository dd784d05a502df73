package admissionregistration

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// reviewVersions are the versions of AdmissionReview that are spoken, the newest first.
var reviewVersions = []string{"v1", "v1beta1"}

var (
	failurePolicies = []string{"Fail", "Ignore"}
	matchPolicies   = []string{"Equivalent", "Exact"}
	reinvocations   = []string{"IfNeeded", "Never"}
	sideEffects     = []string{"None", "NoneOnDryRun", "Some", "Unknown"}
	noSideEffects   = []string{"None", "NoneOnDryRun"}
)

// validateHooks checks webhooks. What old ones do wrong, new ones may go on doing.
func validateHooks(hooks, old []hook) field.ErrorList {
	var errs field.ErrorList
	lenient := laxness(old)
	lenient.conditions = old != nil && sameConditions(hooks, old)
	seen := map[string]bool{}
	for i := range hooks {
		h, fld := &hooks[i], field.NewPath("webhooks").Index(i)
		errs = append(errs, validateHook(h, &lenient, fld)...)
		errs = append(errs, validateReviewVersions(h.reviewVersions, lenient.reviewVersions, fld.Child("admissionReviewVersions"))...)
		if lenient.names || h.name == "" {
			continue
		}
		if seen[h.name] {
			errs = append(errs, field.Duplicate(fld.Child("name"), h.name))
		}
		seen[h.name] = true
	}
	return errs
}

// lax says what is not checked, because it was wrong before.
type lax struct {
	sideEffects, reviewVersions, names, selectors, conditions bool
	expressions                                               stored
}

func laxness(old []hook) lax {
	var l lax
	seen := map[string]bool{}
	for i := range old {
		h := &old[i]
		l.sideEffects = l.sideEffects || h.sideEffects == nil || !slices.Contains(noSideEffects, string(*h.sideEffects))
		l.reviewVersions = l.reviewVersions || len(h.reviewVersions) > 0 && !slices.ContainsFunc(h.reviewVersions, isReviewVersion)
		l.names = l.names || seen[h.name]
		seen[h.name] = true
		for _, s := range []*metav1.LabelSelector{*h.namespaceSelector, *h.objectSelector} {
			l.selectors = l.selectors || s != nil && len(metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, nil)) > 0
		}
		for _, c := range h.matchConditions {
			l.expressions.add(c.Expression)
		}
	}
	return l
}

func isReviewVersion(v string) bool { return slices.Contains(reviewVersions, v) }

func sameConditions(hooks, old []hook) bool {
	if len(hooks) != len(old) {
		return false
	}
	for i := range hooks {
		if !reflect.DeepEqual(hooks[i].matchConditions, old[i].matchConditions) {
			return false
		}
	}
	return true
}

func oneOf[T ~string](v *T, of []string, fld *field.Path) field.ErrorList {
	if v == nil || slices.Contains(of, string(*v)) {
		return nil
	}
	return field.ErrorList{field.NotSupported(fld, *v, of)}
}

func validateHook(h *hook, l *lax, fld *field.Path) field.ErrorList {
	errs := utilvalidation.IsFullyQualifiedName(fld.Child("name"), h.name)
	for i := range h.rules {
		errs = append(errs, validateRule(&h.rules[i], fld.Child("rules").Index(i))...)
	}
	errs = append(errs, oneOf(*h.failurePolicy, failurePolicies, fld.Child("failurePolicy"))...)
	errs = append(errs, oneOf(*h.matchPolicy, matchPolicies, fld.Child("matchPolicy"))...)
	allowed := noSideEffects
	if l.sideEffects {
		allowed = sideEffects
	}
	if h.sideEffects == nil {
		errs = append(errs, field.Required(fld.Child("sideEffects"), "must specify one of "+strings.Join(allowed, ", ")))
	}
	errs = append(errs, oneOf(h.sideEffects, allowed, fld.Child("sideEffects"))...)
	if t := *h.timeoutSeconds; t != nil && (*t > 30 || *t < 1) {
		errs = append(errs, field.Invalid(fld.Child("timeoutSeconds"), *t, "the timeout value must be between 1 and 30 seconds"))
	}
	opts := metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: l.selectors}
	if s := *h.namespaceSelector; s != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(s, opts, fld.Child("namespaceSelector"))...)
	}
	if s := *h.objectSelector; s != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(s, opts, fld.Child("objectSelector"))...)
	}
	errs = append(errs, oneOf(h.reinvocation, reinvocations, fld.Child("reinvocationPolicy"))...)
	switch c, at := h.client, fld.Child("clientConfig"); {
	case (c.URL == nil) == (c.Service == nil):
		errs = append(errs, field.Required(at, "exactly one of url or service is required"))
	case c.URL != nil:
		errs = append(errs, validateURL(*c.URL, at.Child("url"))...)
	default:
		errs = append(errs, validateService(c.Service, at.Child("service"))...)
	}
	if !l.conditions {
		errs = append(errs, validateMatchConditions(h.matchConditions, false, &l.expressions, fld.Child("matchConditions"))...)
	}
	return errs
}

func validateReviewVersions(versions []string, lenient bool, fld *field.Path) field.ErrorList {
	if len(versions) == 0 {
		return field.ErrorList{field.Required(fld, "must specify one of "+strings.Join(reviewVersions, ", "))}
	}
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, v := range versions {
		if seen[v] {
			errs = append(errs, field.Invalid(fld.Index(i), v, "duplicate version"))
			continue
		}
		seen[v] = true
		for _, msg := range utilvalidation.IsDNS1035Label(v) {
			errs = append(errs, field.Invalid(fld.Index(i), v, msg))
		}
	}
	if !lenient && !slices.ContainsFunc(versions, isReviewVersion) {
		errs = append(errs, field.Invalid(fld, versions, "must include at least one of "+strings.Join(reviewVersions, ", ")))
	}
	return errs
}

// staticSuffix ends names that Kubernetes keeps for what it reads from files.
const staticSuffix = ".static.k8s.io"

func staticName(name string) []string {
	if !strings.HasSuffix(name, staticSuffix) {
		return nil
	}
	return []string{fmt.Sprintf("metadata.name: names ending with %q are reserved for static manifest-based configurations and cannot be managed via the API", staticSuffix)}
}

var operations = []string{"*", "CONNECT", "CREATE", "DELETE", "UPDATE"}

func validateRule(r *admissionv1.RuleWithOperations, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(r.Operations) == 0 {
		errs = append(errs, field.Required(fld.Child("operations"), ""))
	}
	if len(r.Operations) > 1 && slices.Contains(r.Operations, admissionv1.OperationAll) {
		errs = append(errs, field.Invalid(fld.Child("operations"), r.Operations, "if '*' is present, must not specify other operations"))
	}
	for i := range r.Operations {
		errs = append(errs, oneOf(&r.Operations[i], operations, fld.Child("operations").Index(i))...)
	}
	many := func(list []string, name, what string) {
		if len(list) == 0 {
			errs = append(errs, field.Required(fld.Child(name), ""))
		}
		if len(list) > 1 && slices.Contains(list, "*") {
			errs = append(errs, field.Invalid(fld.Child(name), list, "if '*' is present, must not specify other "+what))
		}
	}
	many(r.APIGroups, "apiGroups", "API groups")
	many(r.APIVersions, "apiVersions", "API versions")
	for i, v := range r.APIVersions {
		if v == "" {
			errs = append(errs, field.Required(fld.Child("apiVersions").Index(i), ""))
		}
	}
	errs = append(errs, validateResources(r.Resources, fld.Child("resources"))...)
	return append(errs, oneOf(r.Scope, []string{"*", "Cluster", "Namespaced"}, fld.Child("scope"))...)
}

func validateResources(list []string, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) == 0 {
		errs = append(errs, field.Required(fld, ""))
	}
	allOf, everyones := map[string]bool{}, map[string]bool{} // "x/*" and "*/x"
	all, star, plain := false, false, false
	for i, r := range list {
		if r == "" {
			errs = append(errs, field.Required(fld.Index(i), ""))
			continue
		}
		all = all || r == "*/*"
		star = star || r == "*"
		of, sub, ok := strings.Cut(r, "/")
		if !ok {
			plain = r != "*"
			continue
		}
		if allOf[of] {
			errs = append(errs, field.Invalid(fld.Index(i), r, fmt.Sprintf("if '%s/*' is present, must not specify %s", of, r)))
		}
		if everyones[sub] {
			errs = append(errs, field.Invalid(fld.Index(i), r, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, r)))
		}
		allOf[of] = allOf[of] || sub == "*"
		everyones[sub] = everyones[sub] || of == "*"
	}
	if len(list) > 1 && all {
		errs = append(errs, field.Invalid(fld, list, "if '*/*' is present, must not specify other resources"))
	}
	if star && plain {
		errs = append(errs, field.Invalid(fld, list, "if '*' is present, must not specify other resources without subresources"))
	}
	return errs
}
