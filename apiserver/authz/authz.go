// Package authz says whether who asks may: the second step of the first room, declare.
//
// As in Kubernetes with --authorization-mode=Node,RBAC: group system:masters may do everything; node agents may do what they need for their own node and the
// pods on it (node authorizer); everybody else may do what roles and bindings grant (RBAC). Nothing denies; what nobody allows is refused. Tenet's own parts,
// which are in group tenet.run:components, may do everything too: that group is given in process only, see [ComponentsGroup].
//
// Both authorizers read the store, so a grant holds, and a revocation bites, when its write returns. RBAC keeps an index of all bindings by subject, which
// is made anew when one of the four kinds has changed; a decision is a few map lookups and allocates nothing.
package authz

import (
	"context"
	"slices"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/apiserver/authn"
	"github.com/tenet-run/tenet/store"
)

// ComponentsGroup is the group of Tenet's own parts, given in process. Package authn takes it out of what clients claim.
const ComponentsGroup = authn.ComponentsGroup

// Authorizer decides. It may be used by many at once.
type Authorizer struct {
	rbac *RBAC
	node *node
}

var (
	_ authorizer.Authorizer   = (*Authorizer)(nil)
	_ authorizer.RuleResolver = (*Authorizer)(nil)
)

// New makes the authorizer over a store.
func New(s store.Store, read Reader) *Authorizer {
	return &Authorizer{rbac: NewRBAC(s), node: newNode(read)}
}

// Authorize implements authorizer.Authorizer.
func (z *Authorizer) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	u := a.GetUser()
	if u == nil {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if privileged(u) {
		return authorizer.DecisionAllow, "", nil
	}
	decision, why, err := z.node.Authorize(ctx, a)
	if decision != authorizer.DecisionNoOpinion || err != nil {
		return decision, why, err
	}
	decision, reason, err := z.rbac.Authorize(ctx, a)
	switch {
	case decision != authorizer.DecisionNoOpinion || why == "":
		return decision, reason, err
	case reason == "":
		return decision, why, err
	}
	return decision, why + "\n" + reason, err
}

// ConditionsAwareAuthorize implements authorizer.Authorizer: decisions have no conditions.
func (z *Authorizer) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(z.Authorize(ctx, a))
}

// EvaluateConditions implements authorizer.Authorizer.
func (z *Authorizer) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// RulesFor implements authorizer.RuleResolver: what a user may do in a namespace.
func (z *Authorizer) RulesFor(ctx context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	if privileged(u) {
		return []authorizer.ResourceRuleInfo{&authorizer.DefaultResourceRuleInfo{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}},
			[]authorizer.NonResourceRuleInfo{&authorizer.DefaultNonResourceRuleInfo{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}}, false, nil
	}
	resources, paths, incomplete, err := z.rbac.RulesFor(ctx, u, namespace)
	if _, isNode := nodeOf(u); isNode {
		return resources, paths, true, errNodeRules
	}
	return resources, paths, incomplete, err
}

// RBAC is the part that knows roles and bindings.
func (z *Authorizer) RBAC() *RBAC { return z.rbac }

func privileged(u user.Info) bool {
	return slices.ContainsFunc(u.GetGroups(), func(g string) bool { return g == user.SystemPrivilegedGroup || g == ComponentsGroup })
}
