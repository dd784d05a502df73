package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) mounts(p *field.Path, ctr *corev1.Container, volumes map[string]*corev1.VolumeSource) {
	points := sets.Set[string]{}
	for i := range ctr.VolumeMounts {
		m, at := &ctr.VolumeMounts[i], p.Index(i)
		c.notEmpty(at.Child("name"), m.Name)
		if volumes[m.Name] == nil {
			c.notFound(at.Child("name"), m.Name)
		}
		c.notEmpty(at.Child("mountPath"), m.MountPath)
		if points.Has(m.MountPath) {
			c.invalid(at.Child("mountPath"), m.MountPath, "must be unique")
		}
		points.Insert(m.MountPath)
		sameName, samePath := false, false
		for _, d := range lastDevices(ctr.VolumeDevices) {
			sameName = sameName || d.Name == m.Name
			samePath = samePath || d.DevicePath == m.MountPath
		}
		if sameName {
			c.invalid(at.Child("name"), m.Name, "must not already exist in volumeDevices")
		}
		if samePath {
			c.invalid(at.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices")
		}
		// The paths below lack the index upstream, and so here.
		if m.SubPath != "" {
			c.descendingPath(p.Child("subPath"), m.SubPath)
		}
		if m.SubPathExpr != "" {
			if m.SubPath != "" {
				c.invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive")
			}
			c.descendingPath(p.Child("subPathExpr"), m.SubPathExpr)
		}
		c.mountPropagation(p.Child("mountPropagation"), m.MountPropagation, ctr)
		c.recursiveReadOnly(p.Child("recursiveReadOnly"), m)
	}
}

func (c *checker) mountPropagation(p *field.Path, mode *corev1.MountPropagationMode, ctr *corev1.Container) {
	if mode == nil {
		return
	}
	oneOf(c, p, *mode, corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
	privileged := ctr.SecurityContext != nil && ctr.SecurityContext.Privileged != nil && *ctr.SecurityContext.Privileged
	if *mode == corev1.MountPropagationBidirectional && !privileged {
		c.forbidden(p, "Bidirectional mount propagation is available only to privileged containers")
	}
}

func (c *checker) recursiveReadOnly(p *field.Path, m *corev1.VolumeMount) {
	if m.RecursiveReadOnly == nil || *m.RecursiveReadOnly == corev1.RecursiveReadOnlyDisabled {
		return
	}
	switch *m.RecursiveReadOnly {
	case corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible:
		if !m.ReadOnly {
			c.forbidden(p, "may only be specified when readOnly is true")
		}
		if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
			c.forbidden(p, "may only be specified when mountPropagation is None or not specified")
		}
	default:
		oneOf(c, p, *m.RecursiveReadOnly, corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)
	}
}

func (c *checker) devices(p *field.Path, ctr *corev1.Container, volumes map[string]*corev1.VolumeSource) {
	paths, names := sets.Set[string]{}, sets.Set[string]{}
	for i := range ctr.VolumeDevices {
		d, at := &ctr.VolumeDevices[i], p.Index(i)
		source := volumes[d.Name]
		c.notEmpty(at.Child("name"), d.Name)
		if names.Has(d.Name) {
			c.invalid(at.Child("name"), d.Name, "must be unique")
		}
		if source == nil {
			c.notFound(at.Child("name"), d.Name)
		} else if source.PersistentVolumeClaim == nil && source.Ephemeral == nil {
			c.invalid(at.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
		}
		c.notEmpty(at.Child("devicePath"), d.DevicePath)
		if paths.Has(d.DevicePath) {
			c.invalid(at.Child("devicePath"), d.DevicePath, "must be unique")
		}
		if hasBackstep(d.DevicePath) {
			c.invalid(at.Child("devicePath"), d.DevicePath, "can not contain backsteps ('..')")
		} else {
			paths.Insert(d.DevicePath)
		}
		sameName, samePath := false, false
		for _, m := range lastMounts(ctr.VolumeMounts) {
			sameName = sameName || m.Name == d.Name
			samePath = samePath || m.MountPath == d.DevicePath
		}
		if sameName {
			c.invalid(at.Child("name"), d.Name, "must not already exist in volumeMounts")
		}
		if samePath {
			c.invalid(at.Child("devicePath"), d.DevicePath, "must not already exist as a path in volumeMounts")
		}
		if d.Name != "" {
			names.Insert(d.Name)
		}
	}
}

// lastMounts and lastDevices keep one entry a name, the last: only that one is compared for conflicts of paths.
func lastMounts(mounts []corev1.VolumeMount) map[string]corev1.VolumeMount {
	last := make(map[string]corev1.VolumeMount, len(mounts))
	for _, m := range mounts {
		last[m.Name] = m
	}
	return last
}

func lastDevices(devices []corev1.VolumeDevice) map[string]corev1.VolumeDevice {
	if len(devices) == 0 {
		return nil
	}
	last := make(map[string]corev1.VolumeDevice, len(devices))
	for _, d := range devices {
		last[d.Name] = d
	}
	return last
}
