package podspec

import corev1 "k8s.io/api/core/v1"

// dropNew clears the alpha fields that came with 1.37: EvictionRequestAPI, AtomicWriteVolumeUserFields, EmptyDirVolumeMode, VolumeBindMountOptions,
// H2CContainerProbe, GRPCContainerProbeTLS. No stored object has them.
func dropNew(spec *corev1.PodSpec) {
	spec.EvictionResponders = nil
	for i := range spec.Volumes {
		dropNewVolume(&spec.Volumes[i].VolumeSource)
	}
	get := func(a *corev1.HTTPGetAction) {
		if a != nil {
			a.Protocol = nil
		}
	}
	Containers(spec, func(ctr *corev1.Container) bool {
		for i := range ctr.VolumeMounts {
			ctr.VolumeMounts[i].BindMountOptions = nil
		}
		for _, probe := range []*corev1.Probe{ctr.LivenessProbe, ctr.ReadinessProbe, ctr.StartupProbe} {
			if probe != nil {
				get(probe.HTTPGet)
				if probe.GRPC != nil {
					probe.GRPC.Mode = nil
				}
			}
		}
		if l := ctr.Lifecycle; l != nil {
			if l.PostStart != nil {
				get(l.PostStart.HTTPGet)
			}
			if l.PreStop != nil {
				get(l.PreStop.HTTPGet)
			}
		}
		return true
	})
}

func dropNewVolume(s *corev1.VolumeSource) {
	keys := func(items []corev1.KeyToPath) {
		for i := range items {
			items[i].User = nil
		}
	}
	files := func(items []corev1.DownwardAPIVolumeFile) {
		for i := range items {
			items[i].User = nil
		}
	}
	switch {
	case s.EmptyDir != nil:
		s.EmptyDir.Mode = nil
	case s.Secret != nil:
		s.Secret.DefaultUser = nil
		keys(s.Secret.Items)
	case s.ConfigMap != nil:
		s.ConfigMap.DefaultUser = nil
		keys(s.ConfigMap.Items)
	case s.DownwardAPI != nil:
		s.DownwardAPI.DefaultUser = nil
		files(s.DownwardAPI.Items)
	case s.Projected != nil:
		s.Projected.DefaultUser = nil
		for i := range s.Projected.Sources {
			p := &s.Projected.Sources[i]
			if p.Secret != nil {
				keys(p.Secret.Items)
			}
			if p.ConfigMap != nil {
				keys(p.ConfigMap.Items)
			}
			if p.DownwardAPI != nil {
				files(p.DownwardAPI.Items)
			}
			if p.ServiceAccountToken != nil {
				p.ServiceAccountToken.User = nil
			}
			if p.ClusterTrustBundle != nil {
				p.ClusterTrustBundle.User = nil
			}
			if p.PodCertificate != nil {
				p.PodCertificate.User = nil
			}
		}
	}
}
