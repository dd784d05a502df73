package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Containers calls visit for every container of a pod: init, main, ephemeral, in this order, until it returns false.
func Containers(spec *corev1.PodSpec, visit func(*corev1.Container) bool) {
	for i := range spec.InitContainers {
		if !visit(&spec.InitContainers[i]) {
			return
		}
	}
	for i := range spec.Containers {
		if !visit(&spec.Containers[i]) {
			return
		}
	}
	for i := range spec.EphemeralContainers {
		if !visit((*corev1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon)) {
			return
		}
	}
}

// containersAt is Containers with paths.
func containersAt(spec *corev1.PodSpec, p *field.Path, visit func(*corev1.Container, *field.Path)) {
	for i := range spec.InitContainers {
		visit(&spec.InitContainers[i], p.Child("initContainers").Index(i))
	}
	for i := range spec.Containers {
		visit(&spec.Containers[i], p.Child("containers").Index(i))
	}
	for i := range spec.EphemeralContainers {
		visit((*corev1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon), p.Child("ephemeralContainers").Index(i))
	}
}

// anyContainer reports whether some container is as asked.
func anyContainer(spec *corev1.PodSpec, is func(*corev1.Container) bool) bool {
	found := false
	Containers(spec, func(ctr *corev1.Container) bool {
		found = is(ctr)
		return !found
	})
	return found
}

// IsSidecar reports whether an init container keeps running beside the main containers (restartPolicy Always).
func IsSidecar(init *corev1.Container) bool {
	return init != nil && init.RestartPolicy != nil && *init.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// ownUsers reports whether the pod has a user namespace of its own.
func ownUsers(spec *corev1.PodSpec) bool { return spec.HostUsers != nil && !*spec.HostUsers }
