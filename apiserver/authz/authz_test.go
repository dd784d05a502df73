package authz

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

func who(name string, groups ...string) user.Info {
	return &user.DefaultInfo{Name: name, Groups: groups}
}

func TestWhoMayDoWhat(t *testing.T) {
	admin := who("kubernetes-admin", "system:masters", "system:authenticated")
	alice := who("alice", "system:authenticated")
	nobody := who("system:anonymous", "system:unauthenticated")
	sa := who("system:serviceaccount:default:default", "system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated")
	listPods := authorizer.AttributesRecord{Verb: "list", Namespace: "y", APIVersion: "v1", Resource: "pods", ResourceRequest: true}
	path := func(verb, path string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{Verb: verb, Path: path}
	}
	for _, tc := range []struct {
		who  user.Info
		a    authorizer.AttributesRecord
		want string // the message; empty: allowed
	}{
		{admin, listPods, ""},
		{admin, path("post", "/anything"), ""},
		{who("anything", ComponentsGroup), listPods, ""},
		{who("system:kube-scheduler"), listPods, ""},
		{who("system:node:n1", "system:nodes"), listPods, ""},
		{alice, listPods, `pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "y"`},
		{sa, listPods, `pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "y"`},
		{alice, authorizer.AttributesRecord{Verb: "get", APIGroup: "apps", Resource: "deployments", Subresource: "scale", Name: "web", Namespace: "y", ResourceRequest: true},
			`deployments.apps "web" is forbidden: User "alice" cannot get resource "deployments/scale" in API group "apps" in the namespace "y"`},
		{alice, authorizer.AttributesRecord{Verb: "get", Resource: "nodes", Name: "n", ResourceRequest: true},
			`nodes "n" is forbidden: User "alice" cannot get resource "nodes" in API group "" at the cluster scope`},
		{alice, path("get", "/api"), ""},
		{alice, path("get", "/apis/apps/v1"), ""},
		{alice, path("get", "/openapi/v3/api/v1"), ""},
		{alice, path("get", "/apiss"), `forbidden: User "alice" cannot get path "/apiss"`},
		{alice, path("post", "/api"), `forbidden: User "alice" cannot post path "/api"`},
		{alice, path("get", "/metrics"), `forbidden: User "alice" cannot get path "/metrics"`},
		{alice, path("get", "/openid/v1/jwks"), `forbidden: User "alice" cannot get path "/openid/v1/jwks"`},
		{sa, path("get", "/openid/v1/jwks"), ""},
		{nobody, path("get", "/api"), `forbidden: User "system:anonymous" cannot get path "/api"`},
		{nobody, path("get", "/readyz"), ""},
		{nobody, path("get", "/readyz/ping"), `forbidden: User "system:anonymous" cannot get path "/readyz/ping"`},
		{nobody, path("get", "/version"), ""},
	} {
		tc.a.User = tc.who
		d, reason, err := New().Authorize(context.Background(), tc.a)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if d != authorizer.DecisionAllow {
			f := Forbidden(tc.a, reason)
			if !apierrors.IsForbidden(f) || f.(*apierrors.StatusError).ErrStatus.Code != 403 {
				t.Errorf("%v is not a 403", f)
			}
			got = f.Error()
		}
		if strings.TrimSpace(got) != tc.want {
			t.Errorf("%s %s %s%s:\n got %q\nwant %q", tc.who.GetName(), tc.a.Verb, tc.a.Path, tc.a.Resource, got, tc.want)
		}
	}
}
