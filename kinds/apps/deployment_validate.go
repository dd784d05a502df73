package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// validateDeployment holds for creates (old is nil) and updates.
func validateDeployment(d, old *appsv1.Deployment) field.ErrorList {
	spec, fld := &d.Spec, field.NewPath("spec")
	var before *corev1.PodTemplateSpec
	if old != nil {
		before = &old.Spec.Template
	}
	errs := apivalidation.ValidateNonnegativeField(int64(orZero(spec.Replicas)), fld.Child("replicas"))
	errs = append(errs, validateSelectorAndTemplate(spec.Selector, &spec.Template, before, fld)...)
	errs = append(errs, validateStrategy(&spec.Strategy, fld.Child("strategy"))...)
	errs = append(errs, apivalidation.ValidateNonnegativeField(int64(spec.MinReadySeconds), fld.Child("minReadySeconds"))...)
	if spec.RevisionHistoryLimit != nil {
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(*spec.RevisionHistoryLimit), fld.Child("revisionHistoryLimit"))...)
	}
	if deadline := spec.ProgressDeadlineSeconds; deadline != nil {
		fld := fld.Child("progressDeadlineSeconds")
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(*deadline), fld)...)
		if *deadline <= spec.MinReadySeconds {
			errs = append(errs, field.Invalid(fld, deadline, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

func validateDeploymentChange(d, old *appsv1.Deployment) field.ErrorList {
	return append(validateDeployment(d, old), apivalidation.ValidateImmutableField(d.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))...)
}

func validateStrategy(s *appsv1.DeploymentStrategy, fld *field.Path) field.ErrorList {
	rolling := fld.Child("rollingUpdate")
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(rolling, "may not be specified when strategy `type` is 'Recreate'")}
		}
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(rolling, "this should be defaulted and never be nil")}
		}
		unavailable, surge := orZero(s.RollingUpdate.MaxUnavailable), orZero(s.RollingUpdate.MaxSurge)
		fld := rolling.Child("maxUnavailable")
		errs := kinds.ValidateIntOrPercent(unavailable, fld)
		errs = append(errs, kinds.ValidateIntOrPercent(surge, rolling.Child("maxSurge"))...)
		if kinds.BareNumber(unavailable) == 0 && kinds.BareNumber(surge) == 0 {
			errs = append(errs, field.Invalid(fld, unavailable, "may not be 0 when `maxSurge` is 0"))
		}
		return append(errs, kinds.AtMostAll(unavailable, fld)...)
	default:
		return field.ErrorList{field.NotSupported(fld, s, []string{string(appsv1.RecreateDeploymentStrategyType), string(appsv1.RollingUpdateDeploymentStrategyType)})}
	}
	return nil
}

func notDecremented(count, was *int32) fieldErrors {
	if was == nil || count != nil && *count >= *was {
		return nil
	}
	return fieldErrors{field.Invalid(field.NewPath("status", "collisionCount"), orZero(count), "cannot be decremented")}
}

func validateDeploymentStatus(d, old *appsv1.Deployment) field.ErrorList {
	s, fld := &d.Status, field.NewPath("status")
	c := kinds.Counts{Path: fld}
	c.NotNegative("observedGeneration", s.ObservedGeneration)
	c.NotNegative("replicas", int64(s.Replicas))
	c.NotNegative("updatedReplicas", int64(s.UpdatedReplicas))
	c.NotNegative("readyReplicas", int64(s.ReadyReplicas))
	c.NotNegative("availableReplicas", int64(s.AvailableReplicas))
	c.NotNegative("unavailableReplicas", int64(s.UnavailableReplicas))
	c.NotNegative("terminatingReplicas", int64(orZero(s.TerminatingReplicas)))
	c.NotNegative("collisionCount", int64(orZero(s.CollisionCount)))
	c.AtMost("updatedReplicas", s.UpdatedReplicas, s.Replicas, "status.replicas")
	c.AtMost("readyReplicas", s.ReadyReplicas, s.Replicas, "status.replicas")
	c.AtMost("availableReplicas", s.AvailableReplicas, s.Replicas, "status.replicas")
	c.AtMost("availableReplicas", s.AvailableReplicas, s.ReadyReplicas, "readyReplicas")
	return append(c.Errs, notDecremented(s.CollisionCount, old.Status.CollisionCount)...)
}
