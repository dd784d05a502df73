package policy

import (
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/rbac"
)

// Change is one write that brings a cluster's roles and bindings up to date.
type Change struct {
	Kind *kinds.Kind
	// Object is what is to be created, or what takes the place of Replaces.
	Object kinds.Object
	// Replaces is the object as it is; nil: there is none.
	Replaces kinds.Object
	// Recreate: Replaces is deleted first, because a binding cannot be given another role.
	Recreate bool
}

// Get finds an object as it is.
type Get func(k *kinds.Kind, namespace, name string) (kinds.Object, bool)

// Reconcile says what is missing, as kube-apiserver does at start: objects, permissions of roles, subjects of bindings, labels and annotations. What was added
// to them stays. An object with annotation rbac.authorization.kubernetes.io/autoupdate "false" is left alone. Objects from get are not changed.
func (p *Policy) Reconcile(get Get) []Change {
	var out []Change
	add := func(k *kinds.Kind, want kinds.Object, changed func(have kinds.Object) (next kinds.Object, recreate bool)) {
		have, ok := get(k, want.GetNamespace(), want.GetName())
		if !ok {
			out = append(out, Change{Kind: k, Object: want})
			return
		}
		if have.GetAnnotations()[rbacv1.AutoUpdateAnnotationKey] == "false" {
			return
		}
		if next, recreate := changed(have); next != nil {
			out = append(out, Change{Kind: k, Object: next, Replaces: have, Recreate: recreate})
		}
	}
	for i := range p.ClusterRoles {
		want := &p.ClusterRoles[i]
		add(rbac.ClusterRole, want, func(have kinds.Object) (kinds.Object, bool) {
			return clusterRole(have.(*rbacv1.ClusterRole), want), false
		})
	}
	for i := range p.ClusterRoleBindings {
		want := &p.ClusterRoleBindings[i]
		add(rbac.ClusterRoleBinding, want, func(have kinds.Object) (kinds.Object, bool) {
			h := have.(*rbacv1.ClusterRoleBinding)
			if h.RoleRef != want.RoleRef {
				return want, true
			}
			next := h.DeepCopy()
			meta, subjects := reconcileMeta(next, want), reconcileSubjects(&next.Subjects, want.Subjects)
			if !meta && !subjects {
				return nil, false
			}
			return next, false
		})
	}
	for i := range p.Roles {
		want := &p.Roles[i]
		add(rbac.Role, want, func(have kinds.Object) (kinds.Object, bool) {
			next := have.(*rbacv1.Role).DeepCopy()
			meta, lacks := reconcileMeta(next, want), missing(next.Rules, want.Rules)
			if !meta && len(lacks) == 0 {
				return nil, false
			}
			next.Rules = append(next.Rules, lacks...)
			return next, false
		})
	}
	for i := range p.RoleBindings {
		want := &p.RoleBindings[i]
		add(rbac.RoleBinding, want, func(have kinds.Object) (kinds.Object, bool) {
			h := have.(*rbacv1.RoleBinding)
			if h.RoleRef != want.RoleRef {
				return want, true
			}
			next := h.DeepCopy()
			meta, subjects := reconcileMeta(next, want), reconcileSubjects(&next.Subjects, want.Subjects)
			if !meta && !subjects {
				return nil, false
			}
			return next, false
		})
	}
	return out
}

// clusterRole is the role with what it lacks, or nil. (A nil *rbacv1.ClusterRole in an interface would not be nil: hence the result's type.)
func clusterRole(have, want *rbacv1.ClusterRole) kinds.Object {
	next := have.DeepCopy()
	changed := reconcileMeta(next, want)
	if lacks := missing(have.Rules, want.Rules); len(lacks) > 0 {
		next.Rules, changed = append(next.Rules, lacks...), true
	}
	switch {
	case want.AggregationRule == nil && have.AggregationRule != nil:
		next.AggregationRule, changed = nil, true
	case want.AggregationRule != nil:
		if next.AggregationRule == nil {
			next.AggregationRule = &rbacv1.AggregationRule{}
		}
		for _, s := range want.AggregationRule.ClusterRoleSelectors {
			if !slices.ContainsFunc(next.AggregationRule.ClusterRoleSelectors, func(h metav1.LabelSelector) bool { return equality.Semantic.DeepEqual(h, s) }) {
				next.AggregationRule.ClusterRoleSelectors = append(next.AggregationRule.ClusterRoleSelectors, s)
				changed = true
			}
		}
	}
	if !changed {
		return nil
	}
	return next
}

// missing are the parts of want that have does not cover. Nearly always the rules are what they were, which is quicker to see.
func missing(have, want []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	if equality.Semantic.DeepEqual(have, want) {
		return nil
	}
	_, lacks := validation.Covers(have, want)
	return lacks
}

// reconcileMeta adds labels and annotations that are missing; those that are there win.
func reconcileMeta(obj, want metav1.Object) bool {
	merge := func(have, want map[string]string) map[string]string {
		if have == nil && want == nil {
			return nil
		}
		out := map[string]string{}
		maps.Copy(out, want)
		maps.Copy(out, have)
		return out
	}
	labels, annotations := merge(obj.GetLabels(), want.GetLabels()), merge(obj.GetAnnotations(), want.GetAnnotations())
	if len(labels) == len(obj.GetLabels()) && len(annotations) == len(obj.GetAnnotations()) {
		return false
	}
	obj.SetLabels(labels)
	obj.SetAnnotations(annotations)
	return true
}

func reconcileSubjects(have *[]rbacv1.Subject, want []rbacv1.Subject) bool {
	changed := false
	for _, s := range want {
		if !slices.Contains(*have, s) {
			*have = append(*have, s)
			changed = true
		}
	}
	return changed
}
