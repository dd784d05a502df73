package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// MergeLabelKeys puts what matchLabelKeys and mismatchLabelKeys say about a new pod's labels into the selectors beside them.
func MergeLabelKeys(spec *corev1.PodSpec, labels map[string]string) {
	merge := func(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator) {
		if s == nil {
			return // matches nothing
		}
		for _, key := range keys {
			if value, ok := labels[key]; ok {
				s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: []string{value}})
			}
		}
	}
	if spec.Affinity != nil {
		forAffinityTerms(spec.Affinity, func(t *corev1.PodAffinityTerm) {
			merge(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn)
			merge(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn)
		})
	}
	for i := range spec.TopologySpreadConstraints {
		t := &spec.TopologySpreadConstraints[i]
		merge(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn)
	}
}

// forAppArmorAnnotations visits containers whose profile is given by the annotation of old only, with the profile it stands for; nil when it is not valid.
func forAppArmorAnnotations(pod *corev1.Pod, visit func(ctr *corev1.Container, key string, profile *corev1.AppArmorProfile)) {
	if len(pod.Annotations) == 0 || isWindows(&pod.Spec) {
		return
	}
	Containers(&pod.Spec, func(ctr *corev1.Container) bool {
		key := appArmorAnnotations + ctr.Name
		value, ok := pod.Annotations[key]
		if !ok || ctr.SecurityContext != nil && ctr.SecurityContext.AppArmorProfile != nil {
			return true
		}
		profile := appArmorOfAnnotation(value)
		var c checker
		if c.appArmor(nil, profile); len(c.errs) > 0 {
			profile = nil
		}
		visit(ctr, key, profile)
		return true
	})
}

func podAppArmor(pod *corev1.Pod) *corev1.AppArmorProfile {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.AppArmorProfile
}

// AppArmorFields sets the field of containers of a new pod whose AppArmor profile is given as an annotation and differs from the pod's.
func AppArmorFields(pod *corev1.Pod) {
	forAppArmorAnnotations(pod, func(ctr *corev1.Container, _ string, profile *corev1.AppArmorProfile) {
		if profile == nil || equality.Semantic.DeepEqual(profile, podAppArmor(pod)) {
			return
		}
		if ctr.SecurityContext == nil {
			ctr.SecurityContext = &corev1.SecurityContext{}
		}
		ctr.SecurityContext.AppArmorProfile = profile
	})
}

// AppArmorWarnings are for pods that AppArmorFields changes, before it has.
func AppArmorWarnings(pod *corev1.Pod) []string {
	w := &warner{}
	forAppArmorAnnotations(pod, func(_ *corev1.Container, key string, profile *corev1.AppArmorProfile) {
		if profile == nil || !equality.Semantic.DeepEqual(profile, podAppArmor(pod)) {
			w.add(field.NewPath("metadata", "annotations").Key(key), appArmorDeprecated)
		}
	})
	return w.out
}
