package podspec

import corev1 "k8s.io/api/core/v1"

const fileMode int32 = 0644

func setVolumeDefaults(v *corev1.Volume) {
	s := &v.VolumeSource
	if *s == (corev1.VolumeSource{}) {
		s.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if s.HostPath != nil {
		defPtr(&s.HostPath.Type, corev1.HostPathUnset)
	}
	if s.Secret != nil {
		defPtr(&s.Secret.DefaultMode, fileMode)
	}
	if s.ConfigMap != nil {
		defPtr(&s.ConfigMap.DefaultMode, fileMode)
	}
	if s.DownwardAPI != nil {
		defPtr(&s.DownwardAPI.DefaultMode, fileMode)
		for i := range s.DownwardAPI.Items {
			setFieldRefDefaults(s.DownwardAPI.Items[i].FieldRef)
		}
	}
	if s.Projected != nil {
		setProjectedDefaults(s.Projected)
	}
	if s.Image != nil && s.Image.PullPolicy == "" {
		s.Image.PullPolicy = pullPolicy(s.Image.Reference)
	}
	if s.Ephemeral != nil && s.Ephemeral.VolumeClaimTemplate != nil {
		SetClaimDefaults(&s.Ephemeral.VolumeClaimTemplate.Spec)
	}
	if s.ISCSI != nil {
		def(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		def(&s.RBD.RBDPool, "rbd")
		def(&s.RBD.RadosUser, "admin")
		def(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.AzureDisk != nil {
		defPtr(&s.AzureDisk.CachingMode, corev1.AzureDataDiskCachingReadWrite)
		defPtr(&s.AzureDisk.FSType, "ext4")
		defPtr(&s.AzureDisk.ReadOnly, false)
		defPtr(&s.AzureDisk.Kind, corev1.AzureSharedBlobDisk)
	}
	if s.ScaleIO != nil {
		def(&s.ScaleIO.StorageMode, "ThinProvisioned")
		def(&s.ScaleIO.FSType, "xfs")
	}
}

func setProjectedDefaults(p *corev1.ProjectedVolumeSource) {
	defPtr(&p.DefaultMode, fileMode)
	for i := range p.Sources {
		if d := p.Sources[i].DownwardAPI; d != nil {
			for j := range d.Items {
				setFieldRefDefaults(d.Items[j].FieldRef)
			}
		}
		if t := p.Sources[i].ServiceAccountToken; t != nil {
			defPtr(&t.ExpirationSeconds, 60*60)
		}
	}
}
