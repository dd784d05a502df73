package podspec

import corev1 "k8s.io/api/core/v1"

// DropDisabledTemplateFields clears fields behind gates that are off by default, unless old uses them already. old may be nil.
func DropDisabledTemplateFields(t, old *corev1.PodTemplateSpec) {
	if old == nil {
		DropDisabledFields(&t.Spec, nil)
		return
	}
	DropDisabledFields(&t.Spec, &old.Spec)
}

// DropDisabledFields is the same for a PodSpec. The gates: ClusterTrustBundleProjection, PodCertificateRequest, GenericWorkload (schedulingGroup),
// ContainerStopSignals, and those that are new in 1.37.
func DropDisabledFields(spec, old *corev1.PodSpec) {
	dropNew(spec)
	if old == nil {
		old = &corev1.PodSpec{}
	}
	bundle := func(s *corev1.VolumeProjection) bool { return s.ClusterTrustBundle != nil }
	if anyProjection(spec, bundle) && !anyProjection(old, bundle) {
		anyProjection(spec, func(s *corev1.VolumeProjection) bool { s.ClusterTrustBundle = nil; return false })
	}
	certificate := func(s *corev1.VolumeProjection) bool { return s.PodCertificate != nil }
	if anyProjection(spec, certificate) && !anyProjection(old, certificate) {
		anyProjection(spec, func(s *corev1.VolumeProjection) bool { s.PodCertificate = nil; return false })
	}
	if old.SchedulingGroup == nil {
		spec.SchedulingGroup = nil
	}
	signal := func(ctr *corev1.Container) bool { return ctr.Lifecycle != nil && ctr.Lifecycle.StopSignal != nil }
	if anyContainer(spec, signal) && !anyContainer(old, signal) {
		Containers(spec, func(ctr *corev1.Container) bool {
			if signal(ctr) {
				ctr.Lifecycle.StopSignal = nil
				if *ctr.Lifecycle == (corev1.Lifecycle{}) {
					ctr.Lifecycle = nil
				}
			}
			return true
		})
	}
}

// anyProjection reports whether some projected source is as asked; it stops at the first.
func anyProjection(spec *corev1.PodSpec, is func(*corev1.VolumeProjection) bool) bool {
	for i := range spec.Volumes {
		if p := spec.Volumes[i].Projected; p != nil {
			for j := range p.Sources {
				if is(&p.Sources[j]) {
					return true
				}
			}
		}
	}
	return false
}

// DropDisabledStatus clears status behind gates that are off: ImageVolumeWithDigest, DRANodeAllocatableResources, CSIVolumeHealth.
func DropDisabledStatus(status, old *corev1.PodStatus) {
	digest := func(m *corev1.VolumeMountStatus) bool { return m.VolumeStatus != nil }
	if anyMountStatus(status, digest) && !anyMountStatus(old, digest) {
		anyMountStatus(status, func(m *corev1.VolumeMountStatus) bool { m.VolumeStatus = nil; return false })
	}
	status.NodeAllocatableResourceClaimStatuses = nil
	status.VolumeHealth = nil
}

func anyMountStatus(status *corev1.PodStatus, is func(*corev1.VolumeMountStatus) bool) bool {
	for _, list := range [][]corev1.ContainerStatus{status.InitContainerStatuses, status.ContainerStatuses, status.EphemeralContainerStatuses} {
		for i := range list {
			for j := range list[i].VolumeMounts {
				if is(&list[i].VolumeMounts[j]) {
					return true
				}
			}
		}
	}
	return false
}
