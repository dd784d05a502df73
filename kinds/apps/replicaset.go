package apps

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/autoscaling"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// ReplicaSet is a number of equal pods.
var ReplicaSet = kinds.Define(kinds.Definition[*appsv1.ReplicaSet, *appsv1.ReplicaSetList]{
	Group: "apps", Version: "v1", Kind: "ReplicaSet", Plural: "replicasets", ShortNames: []string{"rs"}, Categories: []string{"all"}, Namespaced: true,
	New: func() *appsv1.ReplicaSet { return &appsv1.ReplicaSet{} }, NewList: func() *appsv1.ReplicaSetList { return &appsv1.ReplicaSetList{} },
	Default: func(r *appsv1.ReplicaSet) {
		podspec.SetTemplateDefaults(&r.Spec.Template)
		setDefault(&r.Spec.Replicas, 1)
	},
	Spec:         func(r *appsv1.ReplicaSet) any { return r.Spec },
	CopyStatus:   func(dst, src *appsv1.ReplicaSet) { dst.Status = src.Status },
	CopySpec:     func(dst, src *appsv1.ReplicaSet) { dst.Spec = src.Spec },
	BeforeCreate: func(r *appsv1.ReplicaSet) { podspec.DropDisabledTemplateFields(&r.Spec.Template, nil) },
	BeforeUpdate: func(r, old *appsv1.ReplicaSet) {
		podspec.DropDisabledTemplateFields(&r.Spec.Template, &old.Spec.Template)
	},
	Validate:       func(r *appsv1.ReplicaSet) fieldErrors { return validateReplicaSet(r, nil) },
	ValidateUpdate: validateReplicaSetChange,
	ValidateStatus: validateReplicaSetStatus,
	Warnings: func(r, old *appsv1.ReplicaSet) []string {
		if old == nil {
			return append(podspec.NameWarnings(r.Name), podspec.TemplateWarnings(&r.Spec.Template, templatePath)...)
		}
		if r.Generation != old.Generation {
			return podspec.TemplateWarnings(&r.Spec.Template, templatePath)
		}
		return nil
	},
	Fields: map[string]func(*appsv1.ReplicaSet) string{
		"status.replicas": func(r *appsv1.ReplicaSet) string { return strconv.Itoa(int(r.Status.Replicas)) },
	},
	Columns: append([]metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Desired", "integer", appsv1.ReplicaSetSpec{}.SwaggerDoc()["replicas"]),
		kinds.Column("Current", "integer", appsv1.ReplicaSetStatus{}.SwaggerDoc()["replicas"]),
		kinds.Column("Ready", "integer", appsv1.ReplicaSetStatus{}.SwaggerDoc()["readyReplicas"]),
		kinds.AgeColumn(),
	}, templateColumns(appsv1.ReplicaSetSpec{}.SwaggerDoc()["selector"])...),
	Row: func(r *appsv1.ReplicaSet) []any {
		return append([]any{
			r.Name, int64(orZero(r.Spec.Replicas)), int64(r.Status.Replicas), int64(r.Status.ReadyReplicas), kinds.Age(r.CreationTimestamp),
		}, templateCells(&r.Spec.Template, metav1.FormatLabelSelector(r.Spec.Selector))...)
	},
	Subresources: []*kinds.Subresource{autoscaling.Scale(schema.GroupResource{Group: "apps", Resource: "replicasets"},
		func(r *appsv1.ReplicaSet) autoscaling.Parts {
			return autoscaling.Parts{Replicas: &r.Spec.Replicas, Current: r.Status.Replicas, Selector: r.Spec.Selector}
		}, validateReplicaSetChange)},
})

// validateReplicaSet holds for creates (old is nil) and updates.
func validateReplicaSet(r, old *appsv1.ReplicaSet) field.ErrorList {
	fld := field.NewPath("spec")
	var before *corev1.PodTemplateSpec
	if old != nil {
		before = &old.Spec.Template
	}
	errs := apivalidation.ValidateNonnegativeField(int64(orZero(r.Spec.Replicas)), fld.Child("replicas"))
	errs = append(errs, apivalidation.ValidateNonnegativeField(int64(r.Spec.MinReadySeconds), fld.Child("minReadySeconds"))...)
	return append(errs, validateSelectorAndTemplate(r.Spec.Selector, &r.Spec.Template, before, fld)...)
}

func validateReplicaSetChange(r, old *appsv1.ReplicaSet) field.ErrorList {
	return append(validateReplicaSet(r, old), apivalidation.ValidateImmutableField(r.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))...)
}

func validateReplicaSetStatus(r, _ *appsv1.ReplicaSet) field.ErrorList {
	s := &r.Status
	c := kinds.Counts{Path: field.NewPath("status")}
	c.NotNegative("replicas", int64(s.Replicas))
	c.NotNegative("fullyLabeledReplicas", int64(s.FullyLabeledReplicas))
	c.NotNegative("readyReplicas", int64(s.ReadyReplicas))
	c.NotNegative("availableReplicas", int64(s.AvailableReplicas))
	c.NotNegative("observedGeneration", s.ObservedGeneration)
	c.NotNegative("terminatingReplicas", int64(orZero(s.TerminatingReplicas)))
	c.AtMost("fullyLabeledReplicas", s.FullyLabeledReplicas, s.Replicas, "status.replicas")
	c.AtMost("readyReplicas", s.ReadyReplicas, s.Replicas, "status.replicas")
	c.AtMost("availableReplicas", s.AvailableReplicas, s.Replicas, "status.replicas")
	c.AtMost("availableReplicas", s.AvailableReplicas, s.ReadyReplicas, "readyReplicas")
	return c.Errs
}
