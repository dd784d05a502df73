package core

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

func validateNode(n *corev1.Node) field.ErrorList {
	fld := field.NewPath("metadata") // upstream's path for taints, too
	errs := validateNodeAnnotations(n.Annotations, fld.Child("annotations"))
	errs = append(errs, validateTaints(n.Spec.Taints, fld.Child("taints"))...)
	errs = append(errs, validateNodeResources(n)...)
	if s := n.Status.NodeInfo.Swap; s != nil && s.Capacity != nil && *s.Capacity <= 0 {
		errs = append(errs, field.Invalid(fld.Child("nodeSwapStatus", "capacity"), *s.Capacity, "must be greater than zero"))
	}
	errs = append(errs, validateDeclaredFeatures(n.Status.DeclaredFeatures)...)
	cidrs := field.NewPath("spec", "podCIDRs")
	for i, c := range n.Spec.PodCIDRs {
		errs = append(errs, validation.IsValidCIDRForLegacyField(cidrs.Index(i), c, true, nil)...)
	}
	if len(n.Spec.PodCIDRs) > 1 {
		dual, err := netutils.IsDualStackCIDRStrings(n.Spec.PodCIDRs)
		if err != nil {
			errs = append(errs, field.InternalError(cidrs, fmt.Errorf("invalid PodCIDRs. failed to check with dual stack with error:%v", err)))
		}
		if !dual || len(n.Spec.PodCIDRs) > 2 {
			errs = append(errs, field.Invalid(cidrs, n.Spec.PodCIDRs, "may specify no more than one CIDR for each IP family"))
		}
	}
	return errs
}

// validateNodeChange is the part of an update's validation that status writes have, too.
func validateNodeChange(n, old *corev1.Node) field.ErrorList {
	fld := field.NewPath("metadata")
	errs := validateNodeAnnotations(n.Annotations, fld.Child("annotations"))
	errs = append(errs, validateNodeResources(n)...)
	errs = append(errs, validateDeclaredFeatures(n.Status.DeclaredFeatures)...)
	for i, a := range n.Status.Addresses {
		if slices.Contains(n.Status.Addresses[:i], a) {
			errs = append(errs, field.Duplicate(field.NewPath("status", "addresses").Index(i), a))
		}
	}
	if len(old.Spec.PodCIDRs) > 0 {
		frozen := field.Forbidden(field.NewPath("spec", "podCIDRs"), "node updates may not change podCIDR except from \"\" to valid")
		if len(old.Spec.PodCIDRs) != len(n.Spec.PodCIDRs) {
			errs = append(errs, frozen)
		} else {
			for i, c := range old.Spec.PodCIDRs {
				if c != n.Spec.PodCIDRs[i] {
					errs = append(errs, frozen)
				}
			}
		}
	}
	if old.Spec.ProviderID != "" && old.Spec.ProviderID != n.Spec.ProviderID {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "providerID"), "node updates may not change providerID except from \"\" to valid"))
	}
	errs = append(errs, validateTaints(n.Spec.Taints, fld.Child("taints"))...)
	if n.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "externalID"), "may not be updated"))
	}
	return errs
}

// validateNodeAnnotations checks the two annotations that once were API.
func validateNodeAnnotations(annotations map[string]string, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	const taintsKey = "scheduler.alpha.kubernetes.io/taints"
	if text := annotations[taintsKey]; text != "" {
		var taints []corev1.Taint
		if err := json.Unmarshal([]byte(text), &taints); err != nil {
			errs = append(errs, field.Invalid(fld, taintsKey, err.Error()))
		} else {
			errs = append(errs, validateTaints(taints, fld.Child(taintsKey))...)
		}
	}
	if text := annotations[corev1.PreferAvoidPodsAnnotationKey]; text != "" {
		var avoid corev1.AvoidPods
		if err := json.Unmarshal([]byte(text), &avoid); err != nil {
			return append(errs, field.Invalid(fld.Child("AvoidPods"), corev1.PreferAvoidPodsAnnotationKey, err.Error()))
		}
		for i, a := range avoid.PreferAvoidPods {
			fld := fld.Child(corev1.PreferAvoidPodsAnnotationKey).Index(i).Child("PodSignature")
			if c := a.PodSignature.PodController; c == nil {
				errs = append(errs, field.Required(fld, ""))
			} else if c.Controller == nil || !*c.Controller {
				errs = append(errs, field.Invalid(fld.Child("PodController", "Controller"), c.Controller, "must point to a controller"))
			}
		}
	}
	return errs
}

func validateTaints(taints []corev1.Taint, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[[2]string]bool{}
	for i, t := range taints {
		fld := fld.Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(t.Key, fld.Child("key"))...)
		if msgs := validation.IsValidLabelValue(t.Value); len(msgs) > 0 {
			errs = append(errs, field.Invalid(fld.Child("value"), t.Value, strings.Join(msgs, ";")))
		}
		switch t.Effect {
		case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		case "":
			errs = append(errs, field.Required(fld.Child("effect"), ""))
		default:
			errs = append(errs, field.NotSupported(fld.Child("effect"), t.Effect,
				[]corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}))
		}
		if id := [2]string{t.Key, string(t.Effect)}; seen[id] {
			e := field.Duplicate(fld, t)
			e.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, e)
		} else {
			seen[id] = true
		}
	}
	return errs
}

func validateNodeResources(n *corev1.Node) field.ErrorList {
	fld := field.NewPath("status")
	return append(validateQuantities(n.Status.Capacity, fld.Child("capacity")), validateQuantities(n.Status.Allocatable, fld.Child("allocatable"))...)
}

func validateQuantities(list corev1.ResourceList, fld *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedKeys(list) {
		q := list[name]
		if q.Cmp(resource.Quantity{}) < 0 {
			errs = append(errs, field.Invalid(fld.Child(string(name)), q.String(), apivalidation.IsNegativeErrorMsg))
		}
		if countsThings(name) && q.MilliValue()%1000 != 0 {
			errs = append(errs, field.Invalid(fld.Child(string(name)), q, "must be an integer"))
		}
	}
	return errs
}

// countsThings reports a resource that comes in whole pieces: pods, and extended resources such as vendor.example/gpu.
func countsThings(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceSecrets,
		corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers:
		return true
	}
	s := string(name)
	if !strings.Contains(s, "/") || strings.Contains(s, corev1.ResourceDefaultNamespacePrefix) || strings.HasPrefix(s, corev1.DefaultResourceRequestsPrefix) {
		return false
	}
	return len(validation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+s)) == 0
}

var declaredFeature = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*(\/[a-zA-Z][a-zA-Z0-9]*)*$`)

func validateDeclaredFeatures(names []string) field.ErrorList {
	fld := field.NewPath("status", "declaredFeatures")
	var errs field.ErrorList
	for i, name := range names {
		if len(name) > validation.DNS1123SubdomainMaxLength {
			errs = append(errs, field.Invalid(fld.Index(i), name, fmt.Sprintf("invalid feature name %q: must be no more than %d characters",
				name, validation.DNS1123SubdomainMaxLength)))
		} else if !declaredFeature.MatchString(name) {
			errs = append(errs, field.Invalid(fld.Index(i), name, fmt.Sprintf("invalid feature name %q: must start with an UpperCamelCase segment, with "+
				"subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes", name)))
		}
		if i+1 < len(names) {
			if next := names[i+1]; name == next {
				errs = append(errs, field.Duplicate(fld.Index(i+1), next))
			} else if name > next {
				errs = append(errs, field.Invalid(fld.Index(i+1), next, "list must be sorted alphabetically"))
			}
		}
	}
	return errs
}

func nodeWarnings(n, _ *corev1.Node) []string {
	var warnings []string
	if n.Spec.ConfigSource != nil {
		warnings = append(warnings, "spec.configSource: the feature is removed")
	}
	if n.Spec.DoNotUseExternalID != "" {
		warnings = append(warnings, "spec.externalID: this field is deprecated, and is unused by Kubernetes")
	}
	for i, c := range n.Spec.PodCIDRs {
		warnings = append(warnings, validation.GetWarningsForCIDR(field.NewPath("spec", "podCIDRs").Index(i), c)...)
	}
	return warnings
}
