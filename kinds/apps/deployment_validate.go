package apps

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
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
		errs := validateIntOrPercent(unavailable, fld)
		errs = append(errs, validateIntOrPercent(surge, rolling.Child("maxSurge"))...)
		if bareNumber(unavailable) == 0 && bareNumber(surge) == 0 {
			errs = append(errs, field.Invalid(fld, unavailable, "may not be 0 when `maxSurge` is 0"))
		}
		if p, ok := percent(unavailable); ok && p > 100 {
			errs = append(errs, field.Invalid(fld, unavailable, "must not be greater than 100%"))
		}
		return errs
	default:
		return field.ErrorList{field.NotSupported(fld, s, []string{string(appsv1.RecreateDeploymentStrategyType), string(appsv1.RollingUpdateDeploymentStrategyType)})}
	}
	return nil
}

func validateIntOrPercent(v intstr.IntOrString, fld *field.Path) field.ErrorList {
	if v.Type == intstr.Int {
		return apivalidation.ValidateNonnegativeField(int64(v.IntValue()), fld)
	}
	var errs field.ErrorList
	for _, msg := range validation.IsValidPercent(v.StrVal) {
		errs = append(errs, field.Invalid(fld, v, msg))
	}
	return errs
}

func percent(v intstr.IntOrString) (int, bool) {
	if v.Type != intstr.String || len(validation.IsValidPercent(v.StrVal)) > 0 {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	return n, err == nil
}

func bareNumber(v intstr.IntOrString) int {
	if p, ok := percent(v); ok {
		return p
	}
	return v.IntValue()
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
	if was := old.Status.CollisionCount; was != nil && (s.CollisionCount == nil || *s.CollisionCount < *was) {
		c.Errs = append(c.Errs, field.Invalid(fld.Child("collisionCount"), orZero(s.CollisionCount), "cannot be decremented"))
	}
	return c.Errs
}
