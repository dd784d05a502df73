package autoscaling

import (
	"errors"
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds/podspec"
)

// reference is how strictly an apiVersion is looked at.
type reference struct{ any, emptyGroup bool }

// validateAutoscaler holds for creates (old is nil) and updates. Zero replicas are behind a gate that is off (HPAScaleToZero).
func validateAutoscaler(s, old *autoscalingv2.HorizontalPodAutoscalerSpec) (errs field.ErrorList) {
	fld := field.NewPath("spec")
	least := int32(1)
	if old != nil && old.MinReplicas != nil && *old.MinReplicas == 0 {
		least = 0
	}
	if s.MinReplicas != nil && *s.MinReplicas < least {
		errs = append(errs, field.Invalid(fld.Child("minReplicas"), *s.MinReplicas, fmt.Sprintf("must be greater than or equal to %d", least)))
	}
	switch most := fld.Child("maxReplicas"); {
	case s.MaxReplicas == 0:
		errs = append(errs, field.Required(most, "must be set and greater than 0"))
	case s.MaxReplicas < 0:
		errs = append(errs, field.Invalid(most, s.MaxReplicas, "must be greater than or equal to 1"))
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		errs = append(errs, field.Invalid(fld.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	target, described := reference{}, reference{emptyGroup: true}
	switch {
	case old != nil && old.ScaleTargetRef.APIVersion == s.ScaleTargetRef.APIVersion && old.ScaleTargetRef.Kind == s.ScaleTargetRef.Kind:
		target.any = true
	case s.ScaleTargetRef.Kind == "ReplicationController": // the only one in the core group
		target.emptyGroup = true
	}
	if old != nil {
		described.any = slices.ContainsFunc(old.Metrics, func(m autoscalingv2.MetricSpec) bool {
			return m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil && described.check(m.Object.DescribedObject.APIVersion) != nil
		})
	}
	errs = append(errs, target.validate(&s.ScaleTargetRef, fld.Child("scaleTargetRef"))...)
	measured := false
	for i := range s.Metrics {
		m := &s.Metrics[i]
		errs = append(errs, validateMetric(m, described, fld.Child("metrics").Index(i))...)
		measured = measured || m.Type == autoscalingv2.ObjectMetricSourceType || m.Type == autoscalingv2.ExternalMetricSourceType
	}
	if s.MinReplicas != nil && *s.MinReplicas == 0 && !measured {
		errs = append(errs, field.Forbidden(fld.Child("metrics"), "must specify at least one Object or External metric to support scaling to zero replicas"))
	}
	if s.Behavior != nil {
		errs = append(errs, validateScalingRules(s.Behavior.ScaleUp, fld.Child("behavior", "scaleUp"))...)
		errs = append(errs, validateScalingRules(s.Behavior.ScaleDown, fld.Child("behavior", "scaleDown"))...)
	}
	return errs
}

func (r reference) check(apiVersion string) error {
	if r.any {
		return nil
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err == nil && !r.emptyGroup && gv.Group == "" {
		err = errors.New("apiVersion must specify API group")
	}
	return err
}

func (r reference) validate(ref *autoscalingv2.CrossVersionObjectReference, fld *field.Path) (errs field.ErrorList) {
	errs = append(requiredSegment(ref.Kind, "", fld.Child("kind")), requiredSegment(ref.Name, "", fld.Child("name"))...)
	if err := r.check(ref.APIVersion); err != nil {
		errs = append(errs, field.Invalid(fld.Child("apiVersion"), ref.APIVersion, err.Error()))
	}
	return errs
}

func requiredSegment(name, missing string, fld *field.Path) (errs field.ErrorList) {
	if name == "" {
		return field.ErrorList{field.Required(fld, missing)}
	}
	for _, msg := range path.IsValidPathSegmentName(name) {
		errs = append(errs, field.Invalid(fld, name, msg))
	}
	return errs
}

func validateScalingRules(r *autoscalingv2.HPAScalingRules, fld *field.Path) (errs field.ErrorList) {
	if r == nil {
		return nil
	}
	const longestWindow, longestPeriod = 3600, 1800
	if w := r.StabilizationWindowSeconds; w != nil && *w < 0 {
		errs = append(errs, field.Invalid(fld.Child("stabilizationWindowSeconds"), w, "must be greater than or equal to zero"))
	} else if w != nil && *w > longestWindow {
		errs = append(errs, field.Invalid(fld.Child("stabilizationWindowSeconds"), w, fmt.Sprintf("must be less than or equal to %v", longestWindow)))
	}
	selects := []autoscalingv2.ScalingPolicySelect{autoscalingv2.DisabledPolicySelect, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect}
	if r.SelectPolicy != nil && !slices.Contains(selects, *r.SelectPolicy) {
		errs = append(errs, field.NotSupported(fld.Child("selectPolicy"), *r.SelectPolicy, selects))
	}
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(fld.Child("policies"), "must specify at least one Policy"))
	}
	for i, p := range r.Policies {
		at := fld.Child("policies").Index(i)
		if p.Type != autoscalingv2.PodsScalingPolicy && p.Type != autoscalingv2.PercentScalingPolicy {
			errs = append(errs, field.NotSupported(at.Child("type"), p.Type,
				[]autoscalingv2.HPAScalingPolicyType{autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy}))
		}
		if p.Value <= 0 {
			errs = append(errs, field.Invalid(at.Child("value"), p.Value, "must be greater than zero"))
		}
		if p.PeriodSeconds <= 0 {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), p.PeriodSeconds, "must be greater than zero"))
		}
		if p.PeriodSeconds > longestPeriod {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), p.PeriodSeconds, fmt.Sprintf("must be less than or equal to %v", longestPeriod)))
		}
	}
	if r.Tolerance != nil && r.Tolerance.Sign() < 0 {
		errs = append(errs, field.Invalid(fld.Child("tolerance"), r.Tolerance.String(), apivalidation.IsNegativeErrorMsg))
	}
	return errs
}

// validateMetric: one source, and that of the type. Of several sources the first one is checked.
func validateMetric(m *autoscalingv2.MetricSpec, described reference, fld *field.Path) (errs field.ErrorList) {
	types := []autoscalingv2.MetricSourceType{autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType,
		autoscalingv2.ObjectMetricSourceType, autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType}
	if m.Type == "" {
		errs = append(errs, field.Required(fld.Child("type"), "must specify a metric source type"))
	}
	known := slices.Contains(types, m.Type)
	if !known {
		errs = append(errs, field.NotSupported(fld.Child("type"), m.Type, types))
	}
	sources := []struct {
		typ   autoscalingv2.MetricSourceType
		name  string
		set   bool
		check func(*field.Path) field.ErrorList
	}{
		{autoscalingv2.ObjectMetricSourceType, "object", m.Object != nil, func(p *field.Path) field.ErrorList { return validateObjectSource(m.Object, described, p) }},
		{autoscalingv2.ExternalMetricSourceType, "external", m.External != nil, func(p *field.Path) field.ErrorList { return validateExternalSource(m.External, p) }},
		{autoscalingv2.PodsMetricSourceType, "pods", m.Pods != nil, func(p *field.Path) field.ErrorList { return validatePodsSource(m.Pods, p) }},
		{autoscalingv2.ResourceMetricSourceType, "resource", m.Resource != nil, func(p *field.Path) field.ErrorList { return validateResourceSource(m.Resource, p) }},
		{autoscalingv2.ContainerResourceMetricSourceType, "containerResource", m.ContainerResource != nil,
			func(p *field.Path) field.ErrorList { return validateContainerSource(m.ContainerResource, p) }},
	}
	n := 0
	for _, s := range sources {
		if s.set {
			if n++; n == 1 {
				errs = append(errs, s.check(fld.Child(s.name))...)
			}
		}
	}
	for _, s := range sources {
		if s.typ == m.Type && !s.set {
			errs = append(errs, field.Required(fld.Child(s.name), "must populate information for the given metric source"))
		}
	}
	if !known {
		errs = append(errs, field.NotSupported(fld.Child("type"), m.Type, types))
	}
	if n != 1 {
		for _, s := range sources {
			if s.set && s.typ != m.Type {
				errs = append(errs, field.Forbidden(fld.Child(s.name), "must populate the given metric source only"))
			}
		}
	}
	return errs
}

func validateIdentifier(id *autoscalingv2.MetricIdentifier, fld *field.Path) field.ErrorList {
	return requiredSegment(id.Name, "must specify a metric name", fld.Child("metric", "name"))
}

func validateTarget(t *autoscalingv2.MetricTarget, fld *field.Path) (errs field.ErrorList) {
	fld = fld.Child("target")
	if t.Type == "" {
		errs = append(errs, field.Required(fld.Child("type"), "must specify a metric target type"))
	}
	switch t.Type {
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	default:
		errs = append(errs, field.Invalid(fld.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue"))
	}
	if t.Value != nil && t.Value.Sign() != 1 {
		errs = append(errs, field.Invalid(fld.Child("value"), t.Value, "must be positive"))
	}
	if t.AverageValue != nil && t.AverageValue.Sign() != 1 {
		errs = append(errs, field.Invalid(fld.Child("averageValue"), t.AverageValue, "must be positive"))
	}
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(fld.Child("averageUtilization"), t.AverageUtilization, "must be greater than 0"))
	}
	return errs
}

func validateObjectSource(s *autoscalingv2.ObjectMetricSource, described reference, fld *field.Path) field.ErrorList {
	errs := described.validate(&s.DescribedObject, fld.Child("describedObject"))
	errs = append(errs, validateIdentifier(&s.Metric, fld)...)
	errs = append(errs, validateTarget(&s.Target, fld)...)
	if s.Target.Value == nil && s.Target.AverageValue == nil {
		errs = append(errs, field.Required(fld.Child("target", "averageValue"), "must set either a target value or averageValue"))
	}
	return errs
}

func validateExternalSource(s *autoscalingv2.ExternalMetricSource, fld *field.Path) field.ErrorList {
	errs := append(validateIdentifier(&s.Metric, fld), validateTarget(&s.Target, fld)...)
	switch value, average := s.Target.Value != nil, s.Target.AverageValue != nil; {
	case !value && !average:
		errs = append(errs, field.Required(fld.Child("target", "averageValue"), "must set either a target value for metric or a per-pod target"))
	case value && average:
		errs = append(errs, field.Forbidden(fld.Child("target", "value"), "may not set both a target value for metric and a per-pod target"))
	}
	return errs
}

func validatePodsSource(s *autoscalingv2.PodsMetricSource, fld *field.Path) field.ErrorList {
	errs := append(validateIdentifier(&s.Metric, fld), validateTarget(&s.Target, fld)...)
	if s.Target.AverageValue == nil {
		errs = append(errs, field.Required(fld.Child("target", "averageValue"), "must specify a positive target averageValue"))
	}
	return errs
}

func validateResourceSource(s *autoscalingv2.ResourceMetricSource, fld *field.Path) (errs field.ErrorList) {
	if s.Name == "" {
		errs = append(errs, field.Required(fld.Child("name"), "must specify a resource name"))
	}
	return append(errs, validateResourceTarget(&s.Target, fld)...)
}

func validateContainerSource(s *autoscalingv2.ContainerResourceMetricSource, fld *field.Path) (errs field.ErrorList) {
	if s.Name == "" {
		errs = append(errs, field.Required(fld.Child("name"), "must specify a resource name"))
	} else {
		errs = append(errs, podspec.ValidateContainerResourceName(corev1.ResourceName(s.Name), fld.Child("name"))...)
	}
	if s.Container == "" {
		errs = append(errs, field.Required(fld.Child("container"), "must specify a container"))
	} else {
		for _, msg := range validation.IsDNS1123Label(s.Container) {
			errs = append(errs, field.Invalid(fld.Child("container"), s.Container, msg))
		}
	}
	return append(errs, validateResourceTarget(&s.Target, fld)...)
}

func validateResourceTarget(t *autoscalingv2.MetricTarget, fld *field.Path) field.ErrorList {
	errs := validateTarget(t, fld)
	switch utilization, value := t.AverageUtilization != nil, t.AverageValue != nil; {
	case !utilization && !value:
		errs = append(errs, field.Required(fld.Child("target", "averageUtilization"), "must set either a target raw value or a target utilization"))
	case utilization && value:
		errs = append(errs, field.Forbidden(fld.Child("target", "averageValue"), "may not set both a target raw value and a target utilization"))
	}
	return errs
}
