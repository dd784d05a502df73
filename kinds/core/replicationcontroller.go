package core

import (
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/autoscaling"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// ReplicationController is a number of equal pods: the older form of ReplicaSet, with equality only in its selector, which follows from the template when
// it is not given.
var ReplicationController = kinds.Define(kinds.Definition[*corev1.ReplicationController, *corev1.ReplicationControllerList]{
	Group: "", Version: "v1", Kind: "ReplicationController", Plural: "replicationcontrollers", ShortNames: []string{"rc"}, Categories: []string{"all"},
	Namespaced: true, Prefix: "controllers", OrphanByDefault: true,
	New:        func() *corev1.ReplicationController { return &corev1.ReplicationController{} },
	NewList:    func() *corev1.ReplicationControllerList { return &corev1.ReplicationControllerList{} },
	Default:    defaultReplicationController,
	Spec:       func(r *corev1.ReplicationController) any { return r.Spec },
	CopyStatus: func(dst, src *corev1.ReplicationController) { dst.Status = src.Status },
	CopySpec: func(dst, src *corev1.ReplicationController) {
		dst.Spec = src.Spec
		if dst.Spec.Template != nil && len(dst.Labels) == 0 {
			dst.Labels = maps.Clone(dst.Spec.Template.Labels)
		}
	},
	BeforeCreate: func(r *corev1.ReplicationController) { dropTemplateFields(r.Spec.Template, nil) },
	BeforeUpdate: func(r, old *corev1.ReplicationController) { dropTemplateFields(r.Spec.Template, old.Spec.Template) },
	Validate:     func(r *corev1.ReplicationController) fieldErrors { return validateReplicationController(r, nil) },
	ValidateUpdate: func(r, old *corev1.ReplicationController) fieldErrors {
		return validateReplicationController(r, old.Spec.Template)
	},
	ValidateStatus: func(r, _ *corev1.ReplicationController) fieldErrors {
		s := &r.Status
		c := kinds.Counts{Path: field.NewPath("status")}
		c.NotNegative("replicas", int64(s.Replicas))
		c.NotNegative("fullyLabeledReplicas", int64(s.FullyLabeledReplicas))
		c.NotNegative("readyReplicas", int64(s.ReadyReplicas))
		c.NotNegative("availableReplicas", int64(s.AvailableReplicas))
		c.NotNegative("observedGeneration", s.ObservedGeneration)
		c.AtMost("fullyLabeledReplicas", s.FullyLabeledReplicas, s.Replicas, "status.replicas")
		c.AtMost("readyReplicas", s.ReadyReplicas, s.Replicas, "status.replicas")
		c.AtMost("availableReplicas", s.AvailableReplicas, s.Replicas, "status.replicas")
		c.AtMost("availableReplicas", s.AvailableReplicas, s.ReadyReplicas, "readyReplicas")
		return c.Errs
	},
	Warnings: func(r, old *corev1.ReplicationController) []string {
		var out []string
		switch {
		case old == nil:
			out = podspec.NameWarnings(r.Name)
		case old.Generation == r.Generation:
			return nil
		}
		if r.Spec.Template == nil {
			return out
		}
		return append(out, podspec.TemplateWarnings(r.Spec.Template, field.NewPath("spec", "template"))...)
	},
	Fields: map[string]func(*corev1.ReplicationController) string{
		"status.replicas": func(r *corev1.ReplicationController) string { return strconv.Itoa(int(r.Status.Replicas)) },
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Desired", "integer", corev1.ReplicationControllerSpec{}.SwaggerDoc()["replicas"]),
		kinds.Column("Current", "integer", corev1.ReplicationControllerStatus{}.SwaggerDoc()["replicas"]),
		kinds.Column("Ready", "integer", corev1.ReplicationControllerStatus{}.SwaggerDoc()["readyReplicas"]),
		kinds.AgeColumn(),
		kinds.WideColumn("Containers", "string", "Names of each container in the template."),
		kinds.WideColumn("Images", "string", "Images referenced by each container in the template."),
		kinds.WideColumn("Selector", "string", corev1.ReplicationControllerSpec{}.SwaggerDoc()["selector"]),
	},
	Row: func(r *corev1.ReplicationController) []any {
		var desired int32
		if r.Spec.Replicas != nil {
			desired = *r.Spec.Replicas
		}
		var containers []corev1.Container
		if r.Spec.Template != nil {
			containers = r.Spec.Template.Spec.Containers
		}
		names, images := podspec.ContainerCells(containers)
		return []any{
			r.Name, int64(desired), int64(r.Status.Replicas), int64(r.Status.ReadyReplicas), kinds.Age(r.CreationTimestamp),
			names, images, labels.FormatLabels(r.Spec.Selector),
		}
	},
	Subresources: []*kinds.Subresource{autoscaling.Scale(schema.GroupResource{Resource: "replicationcontrollers"},
		func(r *corev1.ReplicationController) autoscaling.Parts {
			return autoscaling.Parts{Replicas: &r.Spec.Replicas, Current: r.Status.Replicas, Selector: &metav1.LabelSelector{MatchLabels: r.Spec.Selector}}
		}, func(r, old *corev1.ReplicationController) fieldErrors {
			return validateReplicationController(r, old.Spec.Template)
		})},
})

func defaultReplicationController(r *corev1.ReplicationController) {
	if r.Spec.Replicas == nil {
		one := int32(1)
		r.Spec.Replicas = &one
	}
	if r.Spec.Template == nil {
		return
	}
	podspec.SetTemplateDefaults(r.Spec.Template)
	if from := r.Spec.Template.Labels; from != nil {
		if len(r.Spec.Selector) == 0 {
			r.Spec.Selector = maps.Clone(from)
		}
		if len(r.Labels) == 0 {
			r.Labels = maps.Clone(from)
		}
	}
}

func dropTemplateFields(t, old *corev1.PodTemplateSpec) {
	if t != nil {
		podspec.DropDisabledTemplateFields(t, old)
	}
}

// validateReplicationController holds for creates (old is nil) and updates.
func validateReplicationController(r *corev1.ReplicationController, old *corev1.PodTemplateSpec) fieldErrors {
	spec, fld := &r.Spec, field.NewPath("spec")
	errs := apivalidation.ValidateNonnegativeField(int64(spec.MinReadySeconds), fld.Child("minReadySeconds"))
	selector := labels.Set(spec.Selector).AsSelector()
	if selector.Empty() {
		errs = append(errs, field.Required(fld.Child("selector"), ""))
	}
	if spec.Replicas == nil {
		errs = append(errs, field.Required(fld.Child("replicas"), ""))
	} else {
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(*spec.Replicas), fld.Child("replicas"))...)
	}
	at, t := fld.Child("template"), spec.Template
	if t == nil {
		return append(errs, field.Required(at, ""))
	}
	if !selector.Empty() && !selector.Matches(labels.Set(t.Labels)) {
		errs = append(errs, field.Invalid(at.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, podspec.ValidateTemplateUpdate(t, old, at)...)
	if p := t.Spec.RestartPolicy; p != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(at.Child("spec", "restartPolicy"), p, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(at.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicationController is not Supported"))
	}
	return errs
}
