package apps

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

var templatePath = field.NewPath("spec", "template")

type fieldErrors = field.ErrorList

// validateSelectorAndTemplate is for kinds that keep pods running: the selector must select what the template makes, and pods restart always.
func validateSelectorAndTemplate(selector *metav1.LabelSelector, template, old *corev1.PodTemplateSpec, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	selectorField, templateField := fld.Child("selector"), fld.Child("template")
	if selector == nil {
		errs = append(errs, field.Required(selectorField, ""))
	} else {
		errs = append(errs, metavalidation.ValidateLabelSelector(selector, metavalidation.LabelSelectorValidationOptions{}, selectorField)...)
		if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
			errs = append(errs, field.Invalid(selectorField, selector, "empty selector is invalid for deployment"))
		}
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return append(errs, field.Invalid(selectorField, selector, "invalid label selector"))
	}
	if !parsed.Empty() && !parsed.Matches(labels.Set(template.Labels)) {
		errs = append(errs, field.Invalid(templateField.Child("metadata", "labels"), template.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, podspec.ValidateTemplateUpdate(template, old, templateField)...)
	if p := template.Spec.RestartPolicy; p != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(templateField.Child("spec", "restartPolicy"), p, []string{string(corev1.RestartPolicyAlways)}))
	}
	if template.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(templateField.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported"))
	}
	return errs
}

func templateColumns(selector string) []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		kinds.WideColumn("Containers", "string", "Names of each container in the template."),
		kinds.WideColumn("Images", "string", "Images referenced by each container in the template."),
		kinds.WideColumn("Selector", "string", selector),
	}
}

func templateCells(t *corev1.PodTemplateSpec, selector string) []any {
	names, images := podspec.ContainerCells(t.Spec.Containers)
	return []any{names, images, selector}
}
