package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds/podspec"
)

func validateQuota(q *corev1.ResourceQuota) fieldErrors {
	return append(validateQuotaSpec(&q.Spec), validateQuotaStatus(&q.Status)...)
}

func validateQuotaChange(q, old *corev1.ResourceQuota) fieldErrors {
	errs := validateQuotaSpec(&q.Spec)
	if !sets.New(q.Spec.Scopes...).Equal(sets.New(old.Spec.Scopes...)) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "scopes"), q.Spec.Scopes, "field is immutable"))
	}
	return errs
}

func validateQuotaList(list corev1.ResourceList, fld *field.Path) (errs fieldErrors) {
	for _, name := range sortedKeys(list) {
		at := fld.Key(string(name))
		errs = append(errs, podspec.ValidateQuotaResourceName(name, at)...)
		errs = append(errs, podspec.ValidateQuantity(name, list[name], at)...)
	}
	return errs
}

func validateQuotaStatus(s *corev1.ResourceQuotaStatus) fieldErrors {
	fld := field.NewPath("status")
	return append(validateQuotaList(s.Hard, fld.Child("hard")), validateQuotaList(s.Used, fld.Child("used"))...)
}

func validateQuotaSpec(s *corev1.ResourceQuotaSpec) fieldErrors {
	fld := field.NewPath("spec")
	errs := validateQuotaList(s.Hard, fld.Child("hard"))
	scopes := fld.Child("scopes")
	for _, scope := range s.Scopes {
		if !knownScope(scope) {
			errs = append(errs, field.Invalid(scopes, s.Scopes, "unsupported scope"))
		}
		errs = append(errs, scopeFits(scope, s.Hard, scopes, s.Scopes)...)
	}
	errs = append(errs, scopesAgree(s.Scopes, scopes, s.Scopes)...)
	if s.ScopeSelector != nil {
		errs = append(errs, validateScopeSelector(s, fld.Child("scopeSelector", "matchExpressions"))...)
	}
	return errs
}

// scopeFits: a scope narrows what is counted, which must be something that has it.
func scopeFits(scope corev1.ResourceQuotaScope, hard corev1.ResourceList, fld *field.Path, shown any) (errs fieldErrors) {
	for name := range hard {
		if podspec.IsQuotaResource(name) && !scopeApplies(scope, name) {
			errs = append(errs, field.Invalid(fld, shown, "unsupported scope applied to resource"))
		}
	}
	return errs
}

func scopesAgree(scopes []corev1.ResourceQuotaScope, fld *field.Path, shown any) (errs fieldErrors) {
	set := sets.New(scopes...)
	for _, pair := range [][2]corev1.ResourceQuotaScope{
		{corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort},
		{corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating},
	} {
		if set.HasAll(pair[:]...) {
			errs = append(errs, field.Invalid(fld, shown, "conflicting scopes"))
		}
	}
	return errs
}

func validateScopeSelector(s *corev1.ResourceQuotaSpec, fld *field.Path) (errs fieldErrors) {
	var scopes []corev1.ResourceQuotaScope
	for _, r := range s.ScopeSelector.MatchExpressions {
		scopes = append(scopes, r.ScopeName)
		if !knownScope(r.ScopeName) {
			errs = append(errs, field.Invalid(fld.Child("scopeName"), r.ScopeName, "unsupported scope"))
		}
		errs = append(errs, scopeFits(r.ScopeName, s.Hard, fld, s.ScopeSelector)...)
		switch r.ScopeName {
		case corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeTerminating,
			corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
			if r.Operator != corev1.ScopeSelectorOpExists {
				errs = append(errs, field.Invalid(fld.Child("operator"), r.Operator, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "+
					"ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
			}
		}
		switch r.Operator {
		case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(fld.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
			}
		case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
			if len(r.Values) != 0 {
				errs = append(errs, field.Invalid(fld.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
			}
		default:
			errs = append(errs, field.Invalid(fld.Child("operator"), r.Operator, "not a valid selector operator"))
		}
	}
	return append(errs, scopesAgree(scopes, fld, s.Scopes)...)
}

func knownScope(s corev1.ResourceQuotaScope) bool {
	switch s {
	case corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeBestEffort,
		corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeVolumeAttributesClass,
		corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return true
	}
	return false
}

// scopeApplies: pods have all scopes but that of volume attributes, which claims have; pods without any request have no compute resources to count.
func scopeApplies(scope corev1.ResourceQuotaScope, name corev1.ResourceName) bool {
	switch scope {
	case corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeNotBestEffort,
		corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		switch name {
		case corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory,
			corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory:
			return true
		}
		return false
	case corev1.ResourceQuotaScopeBestEffort:
		return name == corev1.ResourcePods
	case corev1.ResourceQuotaScopeVolumeAttributesClass:
		return name == corev1.ResourcePersistentVolumeClaims || name == corev1.ResourceRequestsStorage
	}
	return true
}
