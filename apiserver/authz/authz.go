// Package authz says whether who asks may: the second step of the first room, declare.
//
// Until RBAC is there the rules are few and fixed: administrators (group system:masters) and Tenet's own components may do everything; whoever has
// authenticated may read what describes the API (Kubernetes' role system:discovery); everybody may read health and version (system:public-info-viewer); service
// accounts may read the documents by which tokens are checked. All else is forbidden, with the message that Kubernetes gives.
package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// Forbidden is the answer to a request that was not allowed: a 403 with Kubernetes' message. reason is what the authorizer said, or "".
func Forbidden(a authorizer.Attributes, reason string) error {
	msg := html.Replace(message(a))
	if reason != "" {
		msg += ": " + reason
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.GetAPIGroup(), Resource: a.GetResource()}, a.GetName(), errors.New(msg))
}

// html keeps what a client sent from being taken for markup by a browser that shows the message.
var html = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func message(a authorizer.Attributes) string {
	name := ""
	if a.GetUser() != nil {
		name = a.GetUser().GetName()
	}
	who := fmt.Sprintf("User %q cannot %s", name, a.GetVerb())
	if !a.IsResourceRequest() {
		return fmt.Sprintf("%s path %q", who, a.GetPath())
	}
	resource := a.GetResource()
	if sub := a.GetSubresource(); sub != "" {
		resource += "/" + sub
	}
	where := "at the cluster scope"
	if ns := a.GetNamespace(); ns != "" {
		where = fmt.Sprintf("in the namespace %q", ns)
	}
	return fmt.Sprintf("%s resource %q in API group %q %s", who, resource, a.GetAPIGroup(), where)
}
