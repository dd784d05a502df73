package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// ClusterRole is a set of rules that bindings of all namespaces, and of the cluster, refer to. One with an aggregation rule gathers those of others.
var ClusterRole = kinds.Define(kinds.Definition[*rbacv1.ClusterRole, *rbacv1.ClusterRoleList]{
	Group: rbacv1.GroupName, Version: "v1", Kind: "ClusterRole", Plural: "clusterroles",
	New:            func() *rbacv1.ClusterRole { return &rbacv1.ClusterRole{} },
	NewList:        func() *rbacv1.ClusterRoleList { return &rbacv1.ClusterRoleList{} },
	ValidName:      path.ValidatePathSegmentName,
	CreateOnUpdate: true,
	Validate: func(r *rbacv1.ClusterRole) field.ErrorList {
		return validateClusterRole(r, metav1validation.LabelSelectorValidationOptions{})
	},
	ValidateUpdate: func(r, old *rbacv1.ClusterRole) field.ErrorList {
		return validateClusterRole(r, metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: badSelectors(old)})
	},
})

func validateClusterRole(r *rbacv1.ClusterRole, opts metav1validation.LabelSelectorValidationOptions) field.ErrorList {
	errs := validateRules(r.Rules, false)
	if r.AggregationRule == nil {
		return errs
	}
	fld := field.NewPath("aggregationRule", "clusterRoleSelectors")
	if len(r.AggregationRule.ClusterRoleSelectors) == 0 {
		errs = append(errs, field.Required(fld, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
	}
	for i := range r.AggregationRule.ClusterRoleSelectors {
		s := &r.AggregationRule.ClusterRoleSelectors[i]
		errs = append(errs, metav1validation.ValidateLabelSelector(s, opts, fld.Index(i))...)
		if selector, err := metav1.LabelSelectorAsSelector(s); err != nil {
			errs = append(errs, field.Invalid(fld.Index(i), selector, "invalid label selector."))
		}
	}
	return errs
}

// badSelectors: what was let in once may stay.
func badSelectors(r *rbacv1.ClusterRole) bool {
	if r.AggregationRule == nil {
		return false
	}
	for i := range r.AggregationRule.ClusterRoleSelectors {
		if len(metav1validation.ValidateLabelSelector(&r.AggregationRule.ClusterRoleSelectors[i], metav1validation.LabelSelectorValidationOptions{}, nil)) > 0 {
			return true
		}
	}
	return false
}
