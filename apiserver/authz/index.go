package authz

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/rbac"
	"github.com/tenet-run/tenet/store"
)

type kind = kinds.Kind

// index is what all bindings grant, by subject. It is immutable, and holds for one state of the four kinds.
type index struct {
	stamp      [4]uint64
	cluster    bindings
	namespaces map[string]bindings
	roles      map[store.Key]known[[]rbacv1.PolicyRule]
	bound      map[store.Key]known[binding]
}

// known is what was read from a record, kept for as long as the record is the newest: an index is made anew of a few changes at a time.
type known[T any] struct {
	record *store.Record
	value  T
}

type binding struct {
	ref      rbacv1.RoleRef
	subjects []rbacv1.Subject
}

// bindings are the grants of one scope. A service account is a user.
type bindings struct{ users, groups map[string][]grant }

// grant is what one subject of one binding gets.
type grant struct {
	rules  []rbacv1.PolicyRule
	reason string
	err    error // the role is not there
}

// buildIndex reads everything. What had knows already is not decoded again.
func buildIndex(s store.Store, stamp [4]uint64, had *index) *index {
	x := &index{stamp: stamp, namespaces: map[string]bindings{}, roles: map[store.Key]known[[]rbacv1.PolicyRule]{}, bound: map[store.Key]known[binding]{}}
	if had == nil {
		had = &index{}
	}
	read(s, rbac.ClusterRole, had.roles, x.roles, func(o kinds.Object) []rbacv1.PolicyRule { return o.(*rbacv1.ClusterRole).Rules })
	read(s, rbac.Role, had.roles, x.roles, func(o kinds.Object) []rbacv1.PolicyRule { return o.(*rbacv1.Role).Rules })
	for _, k := range read(s, rbac.ClusterRoleBinding, had.bound, x.bound, func(o kinds.Object) binding {
		b := o.(*rbacv1.ClusterRoleBinding)
		return binding{b.RoleRef, b.Subjects}
	}) {
		x.cluster.add(x, k, x.bound[k].value)
	}
	for _, k := range read(s, rbac.RoleBinding, had.bound, x.bound, func(o kinds.Object) binding {
		b := o.(*rbacv1.RoleBinding)
		return binding{b.RoleRef, b.Subjects}
	}) {
		ns := x.namespaces[k.Namespace]
		ns.add(x, k, x.bound[k].value)
		x.namespaces[k.Namespace] = ns
	}
	return x
}

// read goes through all objects of a kind and returns their keys in order.
func read[T any](s store.Store, k *kind, had, into map[store.Key]known[T], value func(kinds.Object) T) []store.Key {
	page, err := s.List(store.ListQuery{Prefix: k.Storage.Prefix})
	if err != nil {
		return nil // the store is closed: nobody is granted anything
	}
	keys := make([]store.Key, 0, len(page.Records))
	for _, rec := range page.Records {
		v, ok := had[rec.Key]
		if !ok || v.record != rec {
			obj, err := encode.Object(k, rec)
			if err != nil {
				continue
			}
			v = known[T]{rec, value(obj)}
		}
		into[rec.Key] = v
		keys = append(keys, rec.Key)
	}
	return keys
}

// add puts a binding under each of its subjects.
func (b *bindings) add(x *index, key store.Key, v binding) {
	rules, err := x.rulesOf(v.ref, key.Namespace)
	what := fmt.Sprintf("ClusterRoleBinding %q", key.Name)
	if key.Namespace != "" {
		what = fmt.Sprintf("RoleBinding %q", key.Name+"/"+key.Namespace)
	}
	for _, s := range v.subjects {
		ns := s.Namespace
		if ns == "" {
			ns = key.Namespace
		}
		shown := s.Name
		set := &b.users
		name := s.Name
		switch s.Kind {
		case rbacv1.UserKind:
		case rbacv1.GroupKind:
			set = &b.groups
		case rbacv1.ServiceAccountKind:
			if ns == "" {
				continue
			}
			name, shown = serviceaccount.MakeUsername(ns, s.Name), s.Name+"/"+ns
		default:
			continue
		}
		if *set == nil {
			*set = map[string][]grant{}
		}
		(*set)[name] = append((*set)[name], grant{
			rules: rules, err: err, reason: fmt.Sprintf("RBAC: allowed by %s of %s %q to %s %q", what, v.ref.Kind, v.ref.Name, s.Kind, shown),
		})
	}
}

func (x *index) rulesOf(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	switch ref.Kind {
	case "Role":
		if v, ok := x.roles[store.Key{Prefix: rbac.Role.Storage.Prefix, Namespace: namespace, Name: ref.Name}]; ok {
			return v.value, nil
		}
		return nil, apierrors.NewNotFound(rbacv1.Resource("role"), ref.Name)
	case "ClusterRole":
		if v, ok := x.roles[store.Key{Prefix: rbac.ClusterRole.Storage.Prefix, Name: ref.Name}]; ok {
			return v.value, nil
		}
		return nil, apierrors.NewNotFound(rbacv1.Resource("clusterrole"), ref.Name)
	}
	return nil, fmt.Errorf("unsupported role reference kind: %q", ref.Kind)
}

// visit calls f with each grant of a user until it returns true.
func (b bindings) visit(u user.Info, f func(*grant) bool) {
	users := b.users[u.GetName()]
	for i := range users {
		if f(&users[i]) {
			return
		}
	}
	for _, name := range u.GetGroups() {
		groups := b.groups[name]
		for i := range groups {
			if f(&groups[i]) {
				return
			}
		}
	}
}

// allowing finds a grant that allows what is asked. Roles that are not there are noted.
func (b bindings) allowing(u user.Info, a authorizer.Attributes, errs *[]error) *grant {
	if g := first(b.users[u.GetName()], a, errs); g != nil {
		return g
	}
	for _, name := range u.GetGroups() {
		if g := first(b.groups[name], a, errs); g != nil {
			return g
		}
	}
	return nil
}

func first(grants []grant, a authorizer.Attributes, errs *[]error) *grant {
	for i := range grants {
		g := &grants[i]
		if g.err != nil {
			*errs = append(*errs, g.err)
			continue
		}
		if allows(g.rules, a) {
			return g
		}
	}
	return nil
}
