package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/component-helpers/auth/rbac/validation"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/rbac"
)

// escalation keeps those who may write roles and bindings from granting what they do not have themselves.
type escalation struct{ authorizer *Authorizer }

// Escalation is that check, to come after all that mutates: roles are written by who has all their permissions, or verb escalate; bindings by who has all
// permissions of the role, or verb bind on it.
func (z *Authorizer) Escalation() admission.Plugin { return escalation{z} }

func (escalation) Name() string { return "RBACEscalation" }

// Mutate changes nothing. It runs there because Kubernetes checks before it validates.
func (p escalation) Mutate(ctx context.Context, r *admission.Request) error {
	if r.Object == nil {
		return nil
	}
	switch r.Kind {
	case rbac.ClusterRole, rbac.Role, rbac.ClusterRoleBinding, rbac.RoleBinding:
	default:
		return nil
	}
	// system:masters can do anything anyway, and so can Tenet's own parts: this is where the first roles come from.
	if privileged(r.User) || r.Old != nil && onlyDeletion(r.Object, r.Old) {
		return nil
	}
	switch obj := r.Object.(type) {
	case *rbacv1.Role:
		return p.role(ctx, r, obj.Rules, false)
	case *rbacv1.ClusterRole:
		old, _ := r.Old.(*rbacv1.ClusterRole)
		return p.role(ctx, r, obj.Rules, aggregates(obj) || aggregates(old))
	case *rbacv1.RoleBinding:
		return p.binding(ctx, r, obj.RoleRef, r.Namespace)
	case *rbacv1.ClusterRoleBinding:
		return p.binding(ctx, r, obj.RoleRef, "")
	}
	return nil
}

func aggregates(r *rbacv1.ClusterRole) bool {
	return r != nil && r.AggregationRule != nil && len(r.AggregationRule.ClusterRoleSelectors) > 0
}

// fullAuthority is what setting an aggregation rule takes, which can gather anything.
func fullAuthority() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
		{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
	}
}

func (p escalation) role(ctx context.Context, r *admission.Request, rules []rbacv1.PolicyRule, aggregate bool) error {
	if p.allowed(ctx, authorizer.AttributesRecord{
		User: r.User, Verb: "escalate", APIGroup: rbacv1.GroupName, APIVersion: "*", Resource: r.Kind.Plural, Name: r.Name, Namespace: r.Namespace, ResourceRequest: true,
	}) {
		return nil
	}
	if err := p.holds(r.User, r.Namespace, rules); err != nil {
		return p.refused(r, err)
	}
	if aggregate && p.holds(r.User, r.Namespace, fullAuthority()) != nil {
		return p.refused(r, errors.New("must have cluster-admin privileges to use the aggregationRule"))
	}
	return nil
}

func (p escalation) binding(ctx context.Context, r *admission.Request, ref rbacv1.RoleRef, namespace string) error {
	plural := map[string]string{"ClusterRole": "clusterroles", "Role": "roles"}[ref.Kind]
	if plural != "" && p.allowed(ctx, authorizer.AttributesRecord{
		User: r.User, Verb: "bind", APIGroup: ref.APIGroup, APIVersion: "*", Resource: plural, Name: ref.Name, Namespace: namespace, ResourceRequest: true,
	}) {
		return nil
	}
	rules, err := p.authorizer.rbac.RoleRules(ref, namespace)
	if err != nil {
		var status apierrors.APIStatus
		if errors.As(err, &status) {
			return err
		}
		return apierrors.NewInternalError(err)
	}
	if err := p.holds(r.User, namespace, rules); err != nil {
		return p.refused(r, err)
	}
	return nil
}

func (p escalation) allowed(ctx context.Context, a authorizer.AttributesRecord) bool {
	d, _, _ := p.authorizer.Authorize(ctx, a)
	return d == authorizer.DecisionAllow
}

func (escalation) refused(r *admission.Request, err error) error {
	return apierrors.NewForbidden(rbacv1.Resource(r.Kind.Plural), r.Object.GetName(), err)
}

// holds says which of the rules a user does not have.
func (p escalation) holds(u user.Info, namespace string, rules []rbacv1.PolicyRule) error {
	have, resolution := p.authorizer.rbac.Rules(u, namespace)
	covered, lacks := validation.Covers(have, rules)
	if covered {
		return nil
	}
	var texts []string
	for _, rule := range compact(lacks) {
		texts = append(texts, compactString(rule))
	}
	slices.Sort(texts)
	msg := fmt.Sprintf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s", u.GetName(), u.GetGroups(), strings.Join(slices.Compact(texts), "\n"))
	if resolution != nil {
		msg += fmt.Sprintf("; resolution errors: %v", []error{resolution})
	}
	return errors.New(msg)
}

// compact puts the verbs of rules for one resource together.
func compact(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	type simple struct {
		group, resource, name string
		named                 bool
	}
	var out []rbacv1.PolicyRule
	at := map[simple]int{}
	for _, r := range rules {
		if len(r.ResourceNames) > 1 || len(r.NonResourceURLs) > 0 || len(r.APIGroups) != 1 || len(r.Resources) != 1 {
			out = append(out, r)
			continue
		}
		k := simple{group: r.APIGroups[0], resource: r.Resources[0]}
		if len(r.ResourceNames) == 1 {
			k.name, k.named = r.ResourceNames[0], true
		}
		if i, ok := at[k]; ok {
			out[i].Verbs = append(out[i].Verbs, r.Verbs...)
			continue
		}
		at[k] = len(out)
		out = append(out, *r.DeepCopy())
	}
	return out
}

func compactString(r rbacv1.PolicyRule) string {
	var parts []string
	for _, p := range []struct {
		name string
		list []string
	}{{"APIGroups", r.APIGroups}, {"Resources", r.Resources}, {"NonResourceURLs", r.NonResourceURLs}, {"ResourceNames", r.ResourceNames}, {"Verbs", r.Verbs}} {
		if len(p.list) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%q", p.name, p.list))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// onlyDeletion: the garbage collector, and whoever takes a finalizer away, need not have the permissions of a role.
func onlyDeletion(obj, old kinds.Object) bool {
	c := obj.DeepCopyObject().(kinds.Object)
	c.SetOwnerReferences(old.GetOwnerReferences())
	c.SetFinalizers(old.GetFinalizers())
	c.SetManagedFields(old.GetManagedFields())
	c.SetSelfLink(old.GetSelfLink())
	return equality.Semantic.DeepEqual(c, old)
}
