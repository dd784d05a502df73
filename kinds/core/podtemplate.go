package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// PodTemplate is a template for pods as an object of its own. Nothing makes pods of it by itself.
var PodTemplate = kinds.Define(kinds.Definition[*corev1.PodTemplate, *corev1.PodTemplateList]{
	Group: "", Version: "v1", Kind: "PodTemplate", Plural: "podtemplates", Namespaced: true,
	ReturnDeleted: true,
	New:           func() *corev1.PodTemplate { return &corev1.PodTemplate{} },
	NewList:       func() *corev1.PodTemplateList { return &corev1.PodTemplateList{} },
	Default:       func(t *corev1.PodTemplate) { podspec.SetTemplateDefaults(&t.Template) },
	Spec:          func(t *corev1.PodTemplate) any { return t.Template },
	BeforeCreate:  func(t *corev1.PodTemplate) { podspec.DropDisabledTemplateFields(&t.Template, nil) },
	BeforeUpdate:  func(t, old *corev1.PodTemplate) { podspec.DropDisabledTemplateFields(&t.Template, &old.Template) },
	Validate: func(t *corev1.PodTemplate) fieldErrors {
		return podspec.ValidateTemplate(&t.Template, field.NewPath("template"))
	},
	ValidateUpdate: func(t, old *corev1.PodTemplate) fieldErrors {
		return podspec.ValidateTemplateUpdate(&t.Template, &old.Template, field.NewPath("template"))
	},
	Warnings: func(t, old *corev1.PodTemplate) []string {
		if old != nil && old.Generation == t.Generation {
			return nil
		}
		return podspec.TemplateWarnings(&t.Template, field.NewPath("template"))
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Containers", "string", "Names of each container in the template."),
		kinds.Column("Images", "string", "Images referenced by each container in the template."),
		kinds.Column("Pod Labels", "string", "The labels for the pod template."),
	},
	Row: func(t *corev1.PodTemplate) []any {
		names, images := podspec.ContainerCells(t.Template.Spec.Containers)
		return []any{t.Name, names, images, labels.FormatLabels(t.Template.Labels)}
	},
})
