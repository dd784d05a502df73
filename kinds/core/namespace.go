package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// Namespace is a scope of names. Its deletion waits for spec.finalizers, which the namespace controller empties through the finalize subresource
// when nothing is left inside.
var Namespace = kinds.Define(kinds.Definition[*corev1.Namespace, *corev1.NamespaceList]{
	Group: "", Version: "v1", Kind: "Namespace", Plural: "namespaces", ShortNames: []string{"ns"},
	WithoutVerbs:  []string{"deletecollection"},
	ReturnDeleted: true,
	New:           func() *corev1.Namespace { return &corev1.Namespace{} },
	NewList:       func() *corev1.NamespaceList { return &corev1.NamespaceList{} },
	ValidName:     apivalidation.NameIsDNSLabel,
	Default: func(ns *corev1.Namespace) {
		if ns.Name != "" {
			labelWithName(ns)
		}
		if ns.Status.Phase == "" {
			ns.Status.Phase = corev1.NamespaceActive
		}
	},
	CopyStatus: func(dst, src *corev1.Namespace) { dst.Status = src.Status },
	CopySpec:   func(dst, src *corev1.Namespace) { dst.Spec = src.Spec },
	BeforeCreate: func(ns *corev1.Namespace) {
		ns.Status.Phase = corev1.NamespaceActive
		if !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
			ns.Spec.Finalizers = append(ns.Spec.Finalizers, corev1.FinalizerKubernetes)
		}
	},
	BeforeUpdate: func(ns, old *corev1.Namespace) { ns.Spec.Finalizers = old.Spec.Finalizers },
	// A generated name is known only now.
	Canonicalize: labelWithName,
	Validate: func(ns *corev1.Namespace) field.ErrorList {
		fld := field.NewPath("spec", "finalizers")
		var errs field.ErrorList
		for _, f := range ns.Spec.Finalizers {
			errs = append(errs, validateNamespaceFinalizer(string(f), fld)...)
		}
		return errs
	},
	ValidateStatus: validateNamespaceStatus,
	Finalizing:     func(ns *corev1.Namespace) bool { return len(ns.Spec.Finalizers) > 0 },
	OnDelete:       func(ns *corev1.Namespace) { ns.Status.Phase = corev1.NamespaceTerminating },
	Fields: map[string]func(*corev1.Namespace) string{
		"status.phase": func(ns *corev1.Namespace) string { return string(ns.Status.Phase) },
		"name":         func(ns *corev1.Namespace) string { return ns.Name },
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("Status", "string", "The status of the namespace"), kinds.AgeColumn(),
	},
	Row: func(ns *corev1.Namespace) []any {
		return []any{ns.Name, string(ns.Status.Phase), kinds.Age(ns.CreationTimestamp)}
	},
	Subresources: []*kinds.Subresource{{
		Name: "finalize", Verbs: []string{"update"}, Resets: []string{"status"},
		Before: func(obj, old kinds.Object) {
			obj.(*corev1.Namespace).Status = old.(*corev1.Namespace).Status
		},
		Validate: func(obj, _ kinds.Object) field.ErrorList {
			fld := field.NewPath("spec", "finalizers")
			var errs field.ErrorList
			for i, f := range obj.(*corev1.Namespace).Spec.Finalizers {
				errs = append(errs, validateNamespaceFinalizer(string(f), fld.Index(i))...)
			}
			return errs
		},
	}},
})

func labelWithName(ns *corev1.Namespace) {
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	ns.Labels[corev1.LabelMetadataName] = ns.Name
}

func validateNamespaceFinalizer(name string, fld *field.Path) field.ErrorList {
	errs := apivalidation.ValidateFinalizerName(name, fld)
	if !strings.Contains(name, "/") {
		switch name {
		case string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents:
		default:
			errs = append(errs, field.Invalid(fld, name, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

func validateNamespaceStatus(ns, _ *corev1.Namespace) field.ErrorList {
	fld := field.NewPath("status", "Phase")
	if ns.DeletionTimestamp.IsZero() {
		if ns.Status.Phase != corev1.NamespaceActive {
			return field.ErrorList{field.Invalid(fld, ns.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")}
		}
	} else if ns.Status.Phase != corev1.NamespaceTerminating {
		return field.ErrorList{field.Invalid(fld, ns.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
	}
	return nil
}
