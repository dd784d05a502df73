// Package authz says whether who asks may: the second step of the first room, declare.
//
// Until RBAC is there the rules are few and fixed: administrators (group system:masters) and Tenet's own components may do everything; whoever has
// authenticated may read what describes the API (Kubernetes' role system:discovery); everybody may read health and version (system:public-info-viewer); service
// accounts may read the documents by which tokens are checked. About all else it has no opinion, which the API server takes for no.
package authz

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// ComponentsGroup is the group of Tenet's own parts, given in-process.
const ComponentsGroup = "tenet.run:components"

var (
	masters    = []string{user.SystemPrivilegedGroup, ComponentsGroup}
	components = []string{user.APIServerUser, user.KubeScheduler, user.KubeControllerManager}

	publicPaths     = []string{"/healthz", "/livez", "/readyz", "/version", "/version/"}
	discoveryPaths  = []string{"/api", "/apis", "/openapi"}
	tokenIssuePaths = []string{"/.well-known/openid-configuration", "/openid/v1/jwks"}
)

// New makes the authorizer.
func New() authorizer.Authorizer { return authorizer.AuthorizerFunc(authorize) }

func authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	u := a.GetUser()
	if u == nil {
		return authorizer.DecisionNoOpinion, "", nil
	}
	groups := u.GetGroups()
	switch {
	case slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(masters, g) }),
		slices.Contains(components, u.GetName()), strings.HasPrefix(u.GetName(), nodeUserPrefix):
		return authorizer.DecisionAllow, "", nil
	case a.IsResourceRequest() || a.GetVerb() != "get":
		return authorizer.DecisionNoOpinion, "", nil
	case slices.Contains(publicPaths, a.GetPath()),
		slices.Contains(groups, user.AllAuthenticated) && describesAPI(a.GetPath()),
		slices.Contains(groups, serviceaccount.AllServiceAccountsGroup) && slices.Contains(tokenIssuePaths, a.GetPath()):
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

const nodeUserPrefix = "system:node:"

func describesAPI(path string) bool {
	return slices.ContainsFunc(discoveryPaths, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}
