package clusterroleaggregation

import (
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/rbac"
)

// Plan writes a role's rules when they are not those of the roles it gathers.
func Plan(s controllers.Snapshot, key controllers.Key, _ time.Time) controllers.Plan {
	role, ok := controllers.As[*rbacv1.ClusterRole](s, rbac.ClusterRole, "", key.Name)
	if !ok || role.AggregationRule == nil {
		return controllers.Plan{}
	}
	rules, err := Gather(role, controllers.All[*rbacv1.ClusterRole](s, rbac.ClusterRole, ""))
	if err != nil {
		return controllers.Plan{Err: err}
	}
	if equality.Semantic.DeepEqual(rules, role.Rules) {
		return controllers.Plan{}
	}
	next := role.DeepCopy()
	next.Rules = rules
	return controllers.Plan{Updates: []controllers.Update{{Kind: rbac.ClusterRole, Object: next}}}
}

// Gather is the rules that a role is to have: those of all others that one of its selectors selects, selector by selector, in the order of names, each once.
// all is in that order.
func Gather(role *rbacv1.ClusterRole, all []*rbacv1.ClusterRole) ([]rbacv1.PolicyRule, error) {
	rules := []rbacv1.PolicyRule{}
	for i := range role.AggregationRule.ClusterRoleSelectors {
		sel, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if other.Name == role.Name || !sel.Matches(labels.Set(other.Labels)) {
				continue
			}
			for _, r := range other.Rules {
				if !slices.ContainsFunc(rules, func(had rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(had, r) }) {
					rules = append(rules, r)
				}
			}
		}
	}
	return rules, nil
}
