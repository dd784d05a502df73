package quota

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// inScope: pods have all scopes but that of volume attributes, which claims have; no other object is in any scope.
func inScope(r corev1.ScopedResourceSelectorRequirement, obj kinds.Object) bool {
	switch o := obj.(type) {
	case *corev1.Pod:
		switch r.ScopeName {
		case corev1.ResourceQuotaScopeTerminating:
			return Terminating(o)
		case corev1.ResourceQuotaScopeNotTerminating:
			return !Terminating(o)
		case corev1.ResourceQuotaScopeBestEffort:
			return podspec.QOSClass(o) == corev1.PodQOSBestEffort
		case corev1.ResourceQuotaScopeNotBestEffort:
			return podspec.QOSClass(o) != corev1.PodQOSBestEffort
		case corev1.ResourceQuotaScopePriorityClass:
			return selects(r, o.Spec.PriorityClassName)
		case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
			return crossesNamespaces(o.Spec.Affinity)
		}
	case *corev1.PersistentVolumeClaim:
		if r.ScopeName == corev1.ResourceQuotaScopeVolumeAttributesClass {
			return selects(r, attributesClasses(o)...)
		}
	}
	return false
}

// Terminating reports whether a pod ends by itself after some time.
func Terminating(pod *corev1.Pod) bool {
	return pod.Spec.ActiveDeadlineSeconds != nil && *pod.Spec.ActiveDeadlineSeconds >= 0
}

// selects reports whether one of the names, or their absence, satisfies the requirement. An empty name is none.
func selects(r corev1.ScopedResourceSelectorRequirement, names ...string) bool {
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	in := func(n string) bool { return slices.Contains(r.Values, n) }
	switch r.Operator {
	case corev1.ScopeSelectorOpExists:
		return len(names) > 0
	case corev1.ScopeSelectorOpDoesNotExist:
		return len(names) == 0
	case corev1.ScopeSelectorOpIn:
		return slices.ContainsFunc(names, in)
	case corev1.ScopeSelectorOpNotIn:
		return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return !in(n) })
	}
	return false
}

// attributesClasses are the classes that a claim has, asks for, or is being changed to.
func attributesClasses(c *corev1.PersistentVolumeClaim) []string {
	var names []string
	for _, name := range []*string{c.Spec.VolumeAttributesClassName, c.Status.CurrentVolumeAttributesClassName} {
		if name != nil {
			names = append(names, *name)
		}
	}
	if m := c.Status.ModifyVolumeStatus; m != nil {
		names = append(names, m.TargetVolumeAttributesClassName)
	}
	return names
}

func crossesNamespaces(a *corev1.Affinity) bool {
	if a == nil {
		return false
	}
	crosses := func(t *corev1.PodAffinityTerm) bool { return len(t.Namespaces) > 0 || t.NamespaceSelector != nil }
	any := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) bool {
		return slices.ContainsFunc(required, func(t corev1.PodAffinityTerm) bool { return crosses(&t) }) ||
			slices.ContainsFunc(preferred, func(t corev1.WeightedPodAffinityTerm) bool { return crosses(&t.PodAffinityTerm) })
	}
	p, n := a.PodAffinity, a.PodAntiAffinity
	return p != nil && any(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution) ||
		n != nil && any(n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)
}
