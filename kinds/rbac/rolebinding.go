package rbac

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// RoleBinding grants the rules of a Role or ClusterRole in its namespace.
var RoleBinding = kinds.Define(kinds.Definition[*rbacv1.RoleBinding, *rbacv1.RoleBindingList]{
	Group: rbacv1.GroupName, Version: "v1", Kind: "RoleBinding", Plural: "rolebindings", Namespaced: true,
	New:            func() *rbacv1.RoleBinding { return &rbacv1.RoleBinding{} },
	NewList:        func() *rbacv1.RoleBindingList { return &rbacv1.RoleBindingList{} },
	ValidName:      path.ValidatePathSegmentName,
	CreateOnUpdate: true,
	Default:        func(b *rbacv1.RoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) },
	Validate: func(b *rbacv1.RoleBinding) field.ErrorList {
		return validateBinding(&b.RoleRef, b.Subjects, true)
	},
	ValidateUpdate: func(b, old *rbacv1.RoleBinding) field.ErrorList {
		return append(validateBinding(&b.RoleRef, b.Subjects, true), sameRole(b.RoleRef, old.RoleRef)...)
	},
	Columns: bindingColumns("roleBinding",
		"roleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error."),
	Row: func(b *rbacv1.RoleBinding) []any {
		return bindingRow(&b.ObjectMeta, &b.RoleRef, b.Subjects)
	},
})

// ClusterRoleBinding grants the rules of a ClusterRole everywhere.
var ClusterRoleBinding = kinds.Define(kinds.Definition[*rbacv1.ClusterRoleBinding, *rbacv1.ClusterRoleBindingList]{
	Group: rbacv1.GroupName, Version: "v1", Kind: "ClusterRoleBinding", Plural: "clusterrolebindings",
	New:            func() *rbacv1.ClusterRoleBinding { return &rbacv1.ClusterRoleBinding{} },
	NewList:        func() *rbacv1.ClusterRoleBindingList { return &rbacv1.ClusterRoleBindingList{} },
	ValidName:      path.ValidatePathSegmentName,
	CreateOnUpdate: true,
	Default:        func(b *rbacv1.ClusterRoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) },
	Validate: func(b *rbacv1.ClusterRoleBinding) field.ErrorList {
		return validateBinding(&b.RoleRef, b.Subjects, false)
	},
	ValidateUpdate: func(b, old *rbacv1.ClusterRoleBinding) field.ErrorList {
		return append(validateBinding(&b.RoleRef, b.Subjects, false), sameRole(b.RoleRef, old.RoleRef)...)
	},
	Columns: bindingColumns("clusterRoleBinding",
		"roleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error."),
	Row: func(b *rbacv1.ClusterRoleBinding) []any {
		return bindingRow(&b.ObjectMeta, &b.RoleRef, b.Subjects)
	},
})

func defaultBinding(ref *rbacv1.RoleRef, subjects []rbacv1.Subject) {
	if ref.APIGroup == "" {
		ref.APIGroup = rbacv1.GroupName
	}
	for i := range subjects {
		s := &subjects[i]
		if s.APIGroup == "" && (s.Kind == rbacv1.UserKind || s.Kind == rbacv1.GroupKind) {
			s.APIGroup = rbacv1.GroupName
		}
	}
}

func validateBinding(ref *rbacv1.RoleRef, subjects []rbacv1.Subject, namespaced bool) field.ErrorList {
	var errs field.ErrorList
	fld := field.NewPath("roleRef")
	if ref.APIGroup != rbacv1.GroupName {
		errs = append(errs, field.NotSupported(fld.Child("apiGroup"), ref.APIGroup, []string{rbacv1.GroupName}))
	}
	kinds := []string{"ClusterRole"}
	if namespaced {
		kinds = []string{"Role", "ClusterRole"}
	}
	if ref.Kind != "ClusterRole" && (ref.Kind != "Role" || !namespaced) {
		errs = append(errs, field.NotSupported(fld.Child("kind"), ref.Kind, kinds))
	}
	if ref.Name == "" {
		errs = append(errs, field.Required(fld.Child("name"), ""))
	} else {
		for _, msg := range path.ValidatePathSegmentName(ref.Name, false) {
			errs = append(errs, field.Invalid(fld.Child("name"), ref.Name, msg))
		}
	}
	for i := range subjects {
		errs = append(errs, validateSubject(&subjects[i], namespaced, field.NewPath("subjects").Index(i))...)
	}
	return errs
}

func sameRole(ref, old rbacv1.RoleRef) field.ErrorList {
	if ref == old {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("roleRef"), ref, "cannot change roleRef")}
}

func bindingColumns(what, roleRef string) []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Role", "string", roleRef),
		kinds.AgeColumn(),
		kinds.WideColumn("Users", "string", "Users in the "+what),
		kinds.WideColumn("Groups", "string", "Groups in the "+what),
		kinds.WideColumn("ServiceAccounts", "string", "ServiceAccounts in the "+what),
	}
}

func bindingRow(m *metav1.ObjectMeta, ref *rbacv1.RoleRef, subjects []rbacv1.Subject) []any {
	var users, groups, accounts []string
	for _, s := range subjects {
		switch s.Kind {
		case rbacv1.UserKind:
			users = append(users, s.Name)
		case rbacv1.GroupKind:
			groups = append(groups, s.Name)
		case rbacv1.ServiceAccountKind:
			accounts = append(accounts, s.Namespace+"/"+s.Name)
		}
	}
	return []any{
		m.Name, ref.Kind + "/" + ref.Name, kinds.Age(m.CreationTimestamp),
		strings.Join(users, ", "), strings.Join(groups, ", "), strings.Join(accounts, ", "),
	}
}
