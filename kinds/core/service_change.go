package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const once = "may not change once set"

// validateServiceChange: addresses and families once given stay, unless the Service becomes or stops being headless or an ExternalName; a second
// one may be added, and released with policy SingleStack.
func validateServiceChange(s, old *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	if needsClusterIP(s) && needsClusterIP(old) {
		errs = append(errs, validateClusterIPsChange(s, old)...)
		errs = append(errs, validateFamiliesChange(s, old)...)
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && old.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		!equalPointers(s.Spec.LoadBalancerClass, old.Spec.LoadBalancerClass) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "loadBalancerClass"), s.Spec.LoadBalancerClass, once))
	}
	errs = append(errs, validateLoadBalancerClass(s)...) // upstream reports it here and in validateService
	if needsHealthCheckPort(s) && needsHealthCheckPort(old) && s.Spec.HealthCheckNodePort != old.Spec.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "healthCheckNodePort"), "field is immutable"))
	}
	return append(errs, validateService(s, old)...)
}

func validateClusterIPsChange(s, old *corev1.Service) field.ErrorList {
	if headless(s) && headless(old) {
		return nil
	}
	fld := field.NewPath("spec", "clusterIPs")
	now, was := s.Spec.ClusterIPs, old.Spec.ClusterIPs
	var errs field.ErrorList
	if len(now) == len(was) {
		for i := range was {
			if was[i] != now[i] {
				errs = append(errs, field.Invalid(fld.Index(i), now, once))
			}
		}
		return errs
	}
	if len(now) == 0 {
		errs = append(errs, field.Invalid(fld.Index(0), now, "primary clusterIP can not be unset"))
	}
	if len(was) > 0 && len(now) > 0 && now[0] != was[0] {
		errs = append(errs, field.Invalid(fld.Index(0), now, once))
	}
	if len(was) > len(now) && len(now) == 1 && !singleStack(s) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), s.Spec.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary clusterIP"))
	}
	return errs
}

func validateFamiliesChange(s, old *corev1.Service) field.ErrorList {
	if headless(s) || headless(old) {
		return nil
	}
	first := field.NewPath("spec", "ipFamilies").Index(0)
	now, was := s.Spec.IPFamilies, old.Spec.IPFamilies
	var errs field.ErrorList
	if len(now) == len(was) {
		for i := range was {
			if was[i] != now[i] {
				errs = append(errs, field.Invalid(first, now, once))
			}
		}
		return errs
	}
	if len(was) > len(now) && len(s.Spec.ClusterIPs) == 0 {
		errs = append(errs, field.Invalid(first, now, "primary ipFamily can not be unset"))
	}
	if len(was) > 0 && len(now) > 0 && now[0] != was[0] {
		errs = append(errs, field.Invalid(first, s.Spec.ClusterIPs, once))
	}
	if len(was) > len(now) && len(now) == 1 && !singleStack(s) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), s.Spec.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary ipFamily"))
	}
	return errs
}

func singleStack(s *corev1.Service) bool {
	return s.Spec.IPFamilyPolicy != nil && *s.Spec.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack
}
