package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds/podspec"
)

var specPath = field.NewPath("spec")

// validateClaimChange: once made, a claim may be given a volume and a class, and, when it is bound, be made bigger and change its attributes class.
func validateClaimChange(c, old *corev1.PersistentVolumeClaim) fieldErrors {
	errs := podspec.ValidateClaim(&c.Spec, &old.Spec, specPath)
	is, was := c.DeepCopy(), old.DeepCopy()
	alignDataSource(&was.Spec)
	if was.Spec.VolumeName == "" {
		was.Spec.VolumeName = is.Spec.VolumeName
	}
	class, annotated := old.Annotations[corev1.BetaStorageClassAnnotation]
	if movedClass(c, old) {
		is.Spec.StorageClassName = nil
		metav1.SetMetaDataAnnotation(&is.ObjectMeta, corev1.BetaStorageClassAnnotation, class)
	} else {
		if now := c.Annotations[corev1.BetaStorageClassAnnotation]; now != class {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "annotations", corev1.BetaStorageClassAnnotation), now, "field is immutable"))
		}
		if name := c.Spec.StorageClassName; name != nil && old.Spec.StorageClassName == nil && (!annotated || *name == class) {
			is.Spec.StorageClassName = nil
		}
	}
	if c.Status.Phase == corev1.ClaimBound {
		if is.Spec.Resources.Requests != nil {
			is.Spec.Resources.Requests[corev1.ResourceStorage] = old.Spec.Resources.Requests[corev1.ResourceStorage]
		}
		is.Spec.VolumeAttributesClassName = was.Spec.VolumeAttributesClassName
	}
	if !equality.Semantic.DeepEqual(is.Spec, was.Spec) {
		errs = append(errs, field.Forbidden(specPath, fmt.Sprintf(
			"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n%v", diff.Diff(was.Spec, is.Spec))))
	}
	size := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if size.Cmp(old.Spec.Resources.Requests[corev1.ResourceStorage]) < 0 && size.Cmp(old.Status.Capacity[corev1.ResourceStorage]) <= 0 {
		errs = append(errs, field.Forbidden(specPath.Child("resources", "requests", "storage"), "field can not be less than status.capacity"))
	}
	errs = append(errs, apivalidation.ValidateImmutableField(c.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	name := c.Spec.VolumeAttributesClassName
	if old.Status.CurrentVolumeAttributesClassName != nil && !equality.Semantic.DeepEqual(name, old.Spec.VolumeAttributesClassName) {
		at := specPath.Child("volumeAttributesClassName")
		if name == nil {
			errs = append(errs, field.Forbidden(at, "update to nil is forbidden when status.currentVolumeAttributesClassName is not nil"))
		} else if *name == "" {
			errs = append(errs, field.Forbidden(at, "update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil"))
		}
	}
	return errs
}

// movedClass: the class went from the annotation into the field.
func movedClass(c, old *corev1.PersistentVolumeClaim) bool {
	class, annotated := old.Annotations[corev1.BetaStorageClassAnnotation]
	now, still := c.Annotations[corev1.BetaStorageClassAnnotation]
	return annotated && old.Spec.StorageClassName == nil && c.Spec.StorageClassName != nil && *c.Spec.StorageClassName == class && (!still || now == class)
}

func validateClaimStatus(c, _ *corev1.PersistentVolumeClaim) (errs fieldErrors) {
	if len(c.Spec.AccessModes) == 0 {
		errs = append(errs, field.Required(field.NewPath("Spec", "accessModes"), ""))
	}
	basic := func(q resource.Quantity, fld *field.Path) bool {
		if q.Value() >= 0 {
			return true
		}
		errs = append(errs, field.Invalid(fld, q.Value(), "must be a valid resource quantity"))
		return false
	}
	fld := field.NewPath("status")
	for _, name := range sortedKeys(c.Status.Capacity) {
		basic(c.Status.Capacity[name], fld.Child("capacity").Key(string(name)))
	}
	at := fld.Child("allocatedResourceStatuses")
	for _, name := range sortedKeys(c.Status.AllocatedResourceStatuses) {
		errs = append(errs, validateClaimResource(name, at)...)
		switch c.Status.AllocatedResourceStatuses[name] {
		case corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
			corev1.PersistentVolumeClaimNodeResizePending, corev1.PersistentVolumeClaimNodeResizeInProgress, corev1.PersistentVolumeClaimNodeResizeInfeasible:
		default:
			errs = append(errs, field.NotSupported(at, name, []corev1.ClaimResourceStatus{
				corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
				corev1.PersistentVolumeClaimNodeResizeInProgress, corev1.PersistentVolumeClaimNodeResizeInfeasible, corev1.PersistentVolumeClaimNodeResizePending,
			}))
		}
	}
	at = fld.Child("allocatedResources")
	for _, name := range sortedKeys(c.Status.AllocatedResources) {
		q := c.Status.AllocatedResources[name]
		if wrong := validateClaimResource(name, at); len(wrong) > 0 {
			errs = append(errs, wrong...)
		} else if basic(q, at.Key(string(name))) {
			errs = append(errs, podspec.ValidateQuantity(corev1.ResourceStorage, q, at.Key(string(name)))...)
		}
	}
	return errs
}

// validateClaimResource: of Kubernetes' own resources a claim has storage only.
func validateClaimResource(name corev1.ResourceName, fld *field.Path) (errs fieldErrors) {
	for _, msg := range validation.IsQualifiedName(string(name)) {
		errs = append(errs, field.Invalid(fld, string(name), msg))
	}
	native := !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
	if len(errs) == 0 && native && name != corev1.ResourceStorage {
		errs = append(errs, field.NotSupported(fld, string(name), []corev1.ResourceName{corev1.ResourceStorage}))
	}
	return errs
}
