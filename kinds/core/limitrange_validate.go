package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds/podspec"
)

func validateLimitRange(l *corev1.LimitRange) fieldErrors {
	var errs fieldErrors
	seen := sets.Set[corev1.LimitType]{}
	for i := range l.Spec.Limits {
		item, fld := &l.Spec.Limits[i], field.NewPath("spec", "limits").Index(i)
		errs = append(errs, validateLimitType(item.Type, fld.Child("type"))...)
		if seen.Has(item.Type) {
			errs = append(errs, field.Duplicate(fld.Child("type"), item.Type))
		}
		seen.Insert(item.Type)
		errs = append(errs, validateLimits(item, fld)...)
	}
	return errs
}

func validateLimitType(t corev1.LimitType, fld *field.Path) (errs fieldErrors) {
	for _, msg := range validation.IsQualifiedName(string(t)) {
		errs = append(errs, field.Invalid(fld, t, msg))
	}
	if len(errs) > 0 || strings.Contains(string(t), "/") {
		return errs
	}
	switch t {
	case corev1.LimitTypePod, corev1.LimitTypeContainer, corev1.LimitTypePersistentVolumeClaim:
		return nil
	}
	return fieldErrors{field.Invalid(fld, t, "must be a standard limit type or fully qualified")}
}

func validateLimits(l *corev1.LimitRangeItem, fld *field.Path) (errs fieldErrors) {
	name := podspec.ValidateResourceName
	if l.Type == corev1.LimitTypePod || l.Type == corev1.LimitTypeContainer {
		name = podspec.ValidateContainerResourceName
	}
	names := sets.Set[corev1.ResourceName]{}
	check := func(child string, list corev1.ResourceList) {
		for _, k := range sortedKeys(list) {
			errs = append(errs, name(k, fld.Child(child).Key(string(k)))...)
			names.Insert(k)
		}
	}
	check("max", l.Max)
	check("min", l.Min)
	defaults, requests := l.Default, l.DefaultRequest
	if l.Type == corev1.LimitTypePod {
		const notForPods = "may not be specified when `type` is 'Pod'"
		if len(defaults) > 0 {
			errs = append(errs, field.Forbidden(fld.Child("default"), notForPods))
		}
		if len(requests) > 0 {
			errs = append(errs, field.Forbidden(fld.Child("defaultRequest"), notForPods))
		}
		defaults, requests = nil, nil
	} else {
		check("default", defaults)
		check("defaultRequest", requests)
	}
	if l.Type == corev1.LimitTypePersistentVolumeClaim {
		_, min := l.Min[corev1.ResourceStorage]
		_, max := l.Max[corev1.ResourceStorage]
		if !min && !max {
			errs = append(errs, field.Required(fld.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
		}
	}
	check("maxLimitRequestRatio", l.MaxLimitRequestRatio)
	for _, k := range sets.List(names) {
		errs = append(errs, limitsAgree(k, l, defaults, requests, fld)...)
	}
	return errs
}

// limitsAgree checks that min <= default request <= default <= max, as far as they are given. Some errors show the bound, not the value: clients know them so.
func limitsAgree(k corev1.ResourceName, l *corev1.LimitRangeItem, defaults, requests corev1.ResourceList, fld *field.Path) (errs fieldErrors) {
	min, hasMin := l.Min[k]
	max, hasMax := l.Max[k]
	limit, hasLimit := defaults[k]
	request, hasRequest := requests[k]
	ratio, hasRatio := l.MaxLimitRequestRatio[k]
	wrong := func(child string, shown resource.Quantity, format string, a, b resource.Quantity) {
		errs = append(errs, field.Invalid(fld.Child(child).Key(string(k)), shown, fmt.Sprintf(format, a.String(), b.String())))
	}
	if hasMin && hasMax && min.Cmp(max) > 0 {
		wrong("min", min, "min value %s is greater than max value %s", min, max)
	}
	if hasRequest && hasMin && min.Cmp(request) > 0 {
		wrong("defaultRequest", request, "min value %s is greater than default request value %s", min, request)
	}
	if hasRequest && hasMax && request.Cmp(max) > 0 {
		wrong("defaultRequest", request, "default request value %s is greater than max value %s", request, max)
	}
	if hasRequest && hasLimit && request.Cmp(limit) > 0 {
		wrong("defaultRequest", request, "default request value %s is greater than default limit value %s", request, limit)
	}
	if hasLimit && hasMin && min.Cmp(limit) > 0 {
		wrong("default", min, "min value %s is greater than default value %s", min, limit)
	}
	if hasLimit && hasMax && limit.Cmp(max) > 0 {
		wrong("default", max, "default value %s is greater than max value %s", limit, max)
	}
	at := fld.Child("maxLimitRequestRatio").Key(string(k))
	if hasRatio && ratio.Cmp(one) < 0 {
		errs = append(errs, field.Invalid(at, ratio, fmt.Sprintf("ratio %s is less than 1", ratio.String())))
	}
	if hasRatio && hasMin && hasMax {
		if is, most := ratios(ratio, min, max); is > most {
			errs = append(errs, field.Invalid(at, ratio, fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), most)))
		}
	}
	if !podspec.MayOvercommit(k) && hasLimit && hasRequest && limit.Cmp(request) != 0 {
		errs = append(errs, field.Invalid(fld.Child("defaultRequest").Key(string(k)), request,
			fmt.Sprintf("default value %s must equal to defaultRequest value %s in %s", limit.String(), request.String(), k)))
	}
	return errs
}

// ratios counts in thousandths, unless a number is too big for that.
func ratios(ratio, min, max resource.Quantity) (is, most float64) {
	if ratio.Value() < resource.MaxMilliValue && min.Value() < resource.MaxMilliValue && max.Value() < resource.MaxMilliValue {
		return float64(ratio.MilliValue()) / 1000, float64(max.MilliValue()) / float64(min.MilliValue())
	}
	return float64(ratio.Value()), float64(max.Value()) / float64(min.Value())
}
