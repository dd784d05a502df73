package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What is named and counted in pods is limited and counted by other kinds, by the same rules.

// ValidateResourceName says what is wrong with the name of any resource.
func ValidateResourceName(name corev1.ResourceName, fld *field.Path) field.ErrorList {
	var c checker
	c.resourceName(fld, name)
	return c.errs
}

// ValidateContainerResourceName says what is wrong with the name of a resource that containers ask for.
func ValidateContainerResourceName(name corev1.ResourceName, fld *field.Path) field.ErrorList {
	var c checker
	c.containerResourceName(fld, name)
	return c.errs
}

// ValidateQuotaResourceName says what is wrong with the name of a resource that a ResourceQuota bounds.
func ValidateQuotaResourceName(name corev1.ResourceName, fld *field.Path) field.ErrorList {
	var c checker
	c.resourceName(fld, name)
	if !strings.Contains(string(name), "/") && !IsQuotaResource(name) {
		c.invalid(fld, name, "must be a standard resource for quota")
	}
	return c.errs
}

// ValidateQuantity says what is wrong with an amount: none is negative, and whole things are counted in whole numbers.
func ValidateQuantity(name corev1.ResourceName, q resource.Quantity, fld *field.Path) field.ErrorList {
	var c checker
	c.quantity(fld, name, q)
	return c.errs
}

// IsQuotaResource reports whether a native resource is one that quotas know.
func IsQuotaResource(name corev1.ResourceName) bool {
	if isHugePages(name) || name == corev1.ResourceStorage {
		return isHugePages(name)
	}
	return isStandardResource(name)
}

// MayOvercommit reports whether requests of a resource may be below limits.
func MayOvercommit(name corev1.ResourceName) bool { return overcommitAllowed(name) }

// IsNativeResource reports whether a resource is Kubernetes' own, not a device's or a vendor's.
func IsNativeResource(name corev1.ResourceName) bool { return isNative(name) }

// RoundUp makes thousandths the finest unit, which is what Kubernetes keeps.
func RoundUp(list corev1.ResourceList) { roundUp(list) }

// ValidateOverhead says what is wrong with what pods cost beside their containers.
func ValidateOverhead(list corev1.ResourceList, fld *field.Path) field.ErrorList {
	var c checker
	c.requirements(fld, &corev1.ResourceRequirements{Limits: list}, c.containerResourceName, nil)
	return c.errs
}

// ValidateTolerations says what is wrong with tolerations that pods get from elsewhere. None may be there twice.
func ValidateTolerations(tolerations []corev1.Toleration, fld *field.Path) field.ErrorList {
	var c checker
	c.tolerations(fld, tolerations)
	seen := map[corev1.Toleration]bool{}
	for i, t := range tolerations {
		key := corev1.Toleration{Key: t.Key, Operator: t.Operator, Value: t.Value, Effect: t.Effect}
		if seen[key] {
			c.duplicate(fld.Index(i), t)
		}
		seen[key] = true
	}
	return c.errs
}
