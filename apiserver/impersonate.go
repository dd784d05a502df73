package apiserver

import (
	"fmt"
	"net/url"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// impersonate makes the request one of the user that its Impersonate- headers name (kubectl --as), when who sends it may act as that user, those groups and
// each of the rest. Without such headers it does nothing.
func (x *exchange) impersonate() error {
	h := x.r.Header
	name, groups, uid := h.Get(authenticationv1.ImpersonateUserHeader), h.Values(authenticationv1.ImpersonateGroupHeader), h.Get(authenticationv1.ImpersonateUIDHeader)
	extra := map[string][]string{}
	for k, v := range h {
		if rest, ok := cutPrefixFold(k, authenticationv1.ImpersonateUserExtraHeaderPrefix); ok {
			rest = strings.ToLower(rest)
			if plain, err := url.PathUnescape(rest); err == nil {
				rest = plain
			}
			extra[rest] = append(extra[rest], v...)
		}
	}
	if name == "" {
		if len(groups) > 0 || uid != "" || len(extra) > 0 {
			return apierrors.NewBadRequest(fmt.Sprintf("requested %v without impersonating a user", impersonated(groups, uid, extra)))
		}
		return nil
	}
	may := func(a authorizer.AttributesRecord) error {
		a.User, a.Verb, a.ResourceRequest = x.user, "impersonate", true
		return x.Server.authorize(x.r.Context(), &a)
	}
	who := &user.DefaultInfo{Name: name, UID: uid, Groups: groups, Extra: extra}
	if ns, account, err := serviceaccount.SplitUsername(name); err == nil {
		if err := may(authorizer.AttributesRecord{APIVersion: "v1", Resource: "serviceaccounts", Namespace: ns, Name: account}); err != nil {
			return err
		}
		if len(groups) == 0 {
			who.Groups = serviceaccount.MakeGroupNames(ns)
		}
	} else if err := may(authorizer.AttributesRecord{APIVersion: "v1", Resource: "users", Name: name}); err != nil {
		return err
	}
	for _, g := range groups {
		if err := may(authorizer.AttributesRecord{APIVersion: "v1", Resource: "groups", Name: g}); err != nil {
			return err
		}
	}
	if uid != "" {
		if err := may(authorizer.AttributesRecord{APIGroup: authenticationv1.GroupName, APIVersion: "v1", Resource: "uids", Name: uid}); err != nil {
			return err
		}
	}
	for k, values := range extra {
		for _, v := range values {
			if err := may(authorizer.AttributesRecord{APIGroup: authenticationv1.GroupName, APIVersion: "v1", Resource: "userextras", Subresource: k, Name: v}); err != nil {
				return err
			}
		}
	}
	if name == user.Anonymous {
		who.Groups = addGroup(who.Groups, user.AllUnauthenticated)
	} else {
		who.Groups = addGroup(who.Groups, user.AllAuthenticated)
	}
	x.log.Debug("acting as another user", "user", x.user.GetName(), "as", name)
	x.user = who
	return nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

func addGroup(groups []string, g string) []string {
	for _, had := range groups {
		if had == user.AllAuthenticated || had == user.AllUnauthenticated {
			return groups
		}
	}
	return append(append([]string(nil), groups...), g)
}

func impersonated(groups []string, uid string, extra map[string][]string) string {
	return fmt.Sprintf("groups %q, uid %q, extra %q", groups, uid, extra)
}
