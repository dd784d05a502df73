package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateTemplate says what is wrong with a new template.
func ValidateTemplate(t *corev1.PodTemplateSpec, fld *field.Path) field.ErrorList {
	return ValidateTemplateUpdate(t, nil, fld)
}

// ValidateTemplateUpdate says what is wrong with a changed template. What the old one got away with, the new one may keep. old may be nil.
func ValidateTemplateUpdate(t, old *corev1.PodTemplateSpec, fld *field.Path) field.ErrorList {
	return nil
}

// DropDisabledTemplateFields clears fields behind gates that are off, unless old uses them already. old may be nil.
func DropDisabledTemplateFields(t, old *corev1.PodTemplateSpec) {}
