package policy

import (
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// PodDisruptionBudget says how many of its pods may be down at a time because somebody wants them to go. Evictions respect it.
var PodDisruptionBudget = kinds.Define(kinds.Definition[*policyv1.PodDisruptionBudget, *policyv1.PodDisruptionBudgetList]{
	Group: "policy", Version: "v1", Kind: "PodDisruptionBudget", Plural: "poddisruptionbudgets", ShortNames: []string{"pdb"}, Namespaced: true,
	NoUnconditionalUpdate: true,
	New:                   func() *policyv1.PodDisruptionBudget { return &policyv1.PodDisruptionBudget{} },
	NewList:               func() *policyv1.PodDisruptionBudgetList { return &policyv1.PodDisruptionBudgetList{} },
	Spec:                  func(b *policyv1.PodDisruptionBudget) any { return b.Spec },
	CopyStatus:            func(dst, src *policyv1.PodDisruptionBudget) { dst.Status = src.Status },
	CopySpec:              func(dst, src *policyv1.PodDisruptionBudget) { dst.Spec = src.Spec },
	Validate:              func(b *policyv1.PodDisruptionBudget) field.ErrorList { return validateBudget(&b.Spec, nil) },
	ValidateUpdate:        func(b, old *policyv1.PodDisruptionBudget) field.ErrorList { return validateBudget(&b.Spec, &old.Spec) },
	ValidateStatus: func(b, _ *policyv1.PodDisruptionBudget) field.ErrorList {
		s, fld := &b.Status, field.NewPath("status")
		c := kinds.Counts{Path: fld, Errs: metavalidation.ValidateConditions(s.Conditions, fld.Child("conditions"))}
		c.NotNegative("disruptionsAllowed", int64(s.DisruptionsAllowed))
		c.NotNegative("currentHealthy", int64(s.CurrentHealthy))
		c.NotNegative("desiredHealthy", int64(s.DesiredHealthy))
		c.NotNegative("expectedPods", int64(s.ExpectedPods))
		return c.Errs
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Min Available", "string", "The minimum number of pods that must be available."),
		kinds.Column("Max Unavailable", "string", "The maximum number of pods that may be unavailable."),
		kinds.Column("Allowed Disruptions", "integer", "Calculated number of pods that may be disrupted at this time."),
		kinds.AgeColumn(),
	},
	Row: func(b *policyv1.PodDisruptionBudget) []any {
		cell := func(v *intstr.IntOrString) string {
			if v == nil {
				return "N/A"
			}
			return v.String()
		}
		return []any{b.Name, cell(b.Spec.MinAvailable), cell(b.Spec.MaxUnavailable), int64(b.Status.DisruptionsAllowed), kinds.Age(b.CreationTimestamp)}
	},
})

// validateBudget holds for creates (old is nil) and updates.
func validateBudget(s, old *policyv1.PodDisruptionBudgetSpec) (errs field.ErrorList) {
	fld := field.NewPath("spec")
	if s.MinAvailable != nil && s.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(fld, s, "minAvailable and maxUnavailable cannot be both set"))
	}
	number := func(v *intstr.IntOrString, at *field.Path) {
		if v != nil {
			errs = append(errs, kinds.ValidateIntOrPercent(*v, at)...)
			errs = append(errs, kinds.AtMostAll(*v, at)...)
		}
	}
	number(s.MinAvailable, fld.Child("minAvailable"))
	number(s.MaxUnavailable, fld.Child("maxUnavailable"))
	var options metavalidation.LabelSelectorValidationOptions
	if old != nil {
		options.AllowInvalidLabelValueInSelector = metavalidation.LabelSelectorHasInvalidLabelValue(old.Selector)
	}
	errs = append(errs, metavalidation.ValidateLabelSelector(s.Selector, options, fld.Child("selector"))...)
	if p := s.UnhealthyPodEvictionPolicy; p != nil && *p != policyv1.AlwaysAllow && *p != policyv1.IfHealthyBudget {
		errs = append(errs, field.NotSupported(fld.Child("unhealthyPodEvictionPolicy"), *p,
			[]policyv1.UnhealthyPodEvictionPolicyType{policyv1.AlwaysAllow, policyv1.IfHealthyBudget}))
	}
	return errs
}
