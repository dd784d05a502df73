package authz

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	rbacv1 "k8s.io/api/rbac/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/kinds/rbac"
	"github.com/tenet-run/tenet/store"
)

// RBAC decides by roles and bindings.
type RBAC struct {
	store   store.Store
	changed [4]*atomic.Uint64 // of the four kinds

	index atomic.Pointer[index]
	mu    sync.Mutex // of who makes an index
}

// NewRBAC makes the authorizer over a store.
func NewRBAC(s store.Store) *RBAC {
	r := &RBAC{store: s}
	for i, k := range rbacKinds {
		r.changed[i] = s.Changed(k.Storage.Prefix)
	}
	return r
}

var rbacKinds = [...]*kind{rbac.ClusterRole, rbac.Role, rbac.ClusterRoleBinding, rbac.RoleBinding}

// current is the index of the newest state.
func (r *RBAC) current() *index {
	if x := r.index.Load(); x != nil && x.stamp == r.stamp() {
		return x
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	had, stamp := r.index.Load(), r.stamp()
	if had != nil && had.stamp == stamp {
		return had
	}
	x := buildIndex(r.store, stamp, had)
	r.index.Store(x)
	return x
}

func (r *RBAC) stamp() (s [4]uint64) {
	for i, c := range r.changed {
		s[i] = c.Load()
	}
	return s
}

// Authorize implements authorizer.Authorizer.
func (r *RBAC) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	var errs []error
	x := r.current()
	u := a.GetUser()
	if g := x.cluster.allowing(u, a, &errs); g != nil {
		return authorizer.DecisionAllow, g.reason, nil
	}
	if ns := a.GetNamespace(); ns != "" {
		if b, ok := x.namespaces[ns]; ok {
			if g := b.allowing(u, a, &errs); g != nil {
				return authorizer.DecisionAllow, g.reason, nil
			}
		}
	}
	if len(errs) > 0 {
		return authorizer.DecisionNoOpinion, fmt.Sprintf("RBAC: %v", utilerrors.NewAggregate(errs)), nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// Rules are all rules that apply to a user in a namespace ("": in the cluster). The error tells of roles that are not there; the rules are good all the same.
func (r *RBAC) Rules(u user.Info, namespace string) ([]rbacv1.PolicyRule, error) {
	var rules []rbacv1.PolicyRule
	var errs []error
	visit := func(g *grant) bool {
		if g.err != nil {
			errs = append(errs, g.err)
		}
		rules = append(rules, g.rules...)
		return false
	}
	x := r.current()
	x.cluster.visit(u, visit)
	if b, ok := x.namespaces[namespace]; ok && namespace != "" {
		b.visit(u, visit)
	}
	return rules, utilerrors.NewAggregate(errs)
}

// RulesFor implements authorizer.RuleResolver.
func (r *RBAC) RulesFor(_ context.Context, u user.Info, namespace string) (resources []authorizer.ResourceRuleInfo, paths []authorizer.NonResourceRuleInfo, incomplete bool, err error) {
	rules, err := r.Rules(u, namespace)
	for _, rule := range rules {
		if len(rule.Resources) > 0 {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{
				Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames,
			})
		}
		if len(rule.NonResourceURLs) > 0 {
			paths = append(paths, &authorizer.DefaultNonResourceRuleInfo{Verbs: rule.Verbs, NonResourceURLs: rule.NonResourceURLs})
		}
	}
	return resources, paths, false, err
}

// RoleRules are the rules of the role that a binding in a namespace ("" for a ClusterRoleBinding) refers to. They are shared and never changed.
func (r *RBAC) RoleRules(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	return r.current().rulesOf(ref, namespace)
}
