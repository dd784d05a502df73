package authz

import (
	"context"
	"testing"

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
		want bool
	}{
		{admin, listPods, true},
		{admin, path("post", "/anything"), true},
		{who("anything", ComponentsGroup), listPods, true},
		{who("system:kube-scheduler"), listPods, true},
		{who("system:node:n1", "system:nodes"), listPods, true},
		{alice, listPods, false},
		{sa, listPods, false},
		{alice, authorizer.AttributesRecord{Verb: "get", APIGroup: "apps", Resource: "deployments", Subresource: "scale", Name: "web", Namespace: "y", ResourceRequest: true}, false},
		{alice, authorizer.AttributesRecord{Verb: "get", Resource: "nodes", Name: "n", ResourceRequest: true}, false},
		{alice, path("get", "/api"), true},
		{alice, path("get", "/apis/apps/v1"), true},
		{alice, path("get", "/openapi/v3/api/v1"), true},
		{alice, path("get", "/apiss"), false},
		{alice, path("post", "/api"), false},
		{alice, path("get", "/metrics"), false},
		{alice, path("get", "/openid/v1/jwks"), false},
		{sa, path("get", "/openid/v1/jwks"), true},
		{nobody, path("get", "/api"), false},
		{nobody, path("get", "/readyz"), true},
		{nobody, path("get", "/readyz/ping"), false},
		{nobody, path("get", "/version"), true},
	} {
		tc.a.User = tc.who
		d, _, err := New().Authorize(context.Background(), tc.a)
		if err != nil {
			t.Fatal(err)
		}
		if got := d == authorizer.DecisionAllow; got != tc.want {
			t.Errorf("%s %s %s%s: got %v, want %v", tc.who.GetName(), tc.a.Verb, tc.a.Path, tc.a.Resource, got, tc.want)
		}
	}
}
