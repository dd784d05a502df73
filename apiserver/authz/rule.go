package authz

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// allows reports whether one of the rules allows what is asked.
func allows(rules []rbacv1.PolicyRule, a authorizer.Attributes) bool {
	verb := a.GetVerb()
	if !a.IsResourceRequest() {
		path := a.GetPath()
		return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
			return has(r.Verbs, rbacv1.VerbAll, verb) && pathMatches(r.NonResourceURLs, path)
		})
	}
	group, resource, sub, name := a.GetAPIGroup(), a.GetResource(), a.GetSubresource(), a.GetName()
	for i := range rules {
		r := &rules[i]
		if has(r.Verbs, rbacv1.VerbAll, verb) && has(r.APIGroups, rbacv1.APIGroupAll, group) && resourceMatches(r.Resources, resource, sub) &&
			(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, name)) {
			return true
		}
	}
	return false
}

func has(list []string, all, one string) bool {
	for _, s := range list {
		if s == all || s == one {
			return true
		}
	}
	return false
}

// resourceMatches: "*", "pods", "pods/log" and "*/log" are what a rule may say.
func resourceMatches(list []string, resource, sub string) bool {
	for _, s := range list {
		switch {
		case s == rbacv1.ResourceAll:
			return true
		case sub == "":
			if s == resource {
				return true
			}
		case len(s) > len(sub) && s[len(s)-len(sub)-1] == '/' && strings.HasSuffix(s, sub):
			if of := s[:len(s)-len(sub)-1]; of == "*" || of == resource {
				return true
			}
		}
	}
	return false
}

func pathMatches(list []string, path string) bool {
	for _, s := range list {
		if s == rbacv1.NonResourceAll || s == path {
			return true
		}
		if strings.HasSuffix(s, "*") && strings.HasPrefix(path, strings.TrimRight(s, "*")) {
			return true
		}
	}
	return false
}
