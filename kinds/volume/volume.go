// Package volume says which PersistentVolume fits which PersistentVolumeClaim, and how the two say that they belong together. It is pure. The controller that
// binds claims at once and the scheduler, which chooses volumes for claims that wait for their first consumer, decide with it, so that they agree.
package volume

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Annotations that tell how far a binding has come, and who made it. They are upstream's: provisioners read and write them.
const (
	BindCompleted     = "pv.kubernetes.io/bind-completed"          // on a claim that was bound once
	BoundByController = "pv.kubernetes.io/bound-by-controller"     // on either side: not by a user
	ProvisionedBy     = "pv.kubernetes.io/provisioned-by"          // on a volume that was made for a claim: by whom
	SelectedNode      = "volume.kubernetes.io/selected-node"       // on a claim: where its first consumer goes
	Provisioner       = "volume.kubernetes.io/storage-provisioner" // on a claim: who is to make its volume
	BetaProvisioner   = "volume.beta.kubernetes.io/storage-provisioner"
	DefaultClass      = "storageclass.kubernetes.io/is-default-class" // on a class
	BetaDefaultClass  = "storageclass.beta.kubernetes.io/is-default-class"
	// NoProvisioner is the provisioner of classes whose volumes somebody makes by hand.
	NoProvisioner = "kubernetes.io/no-provisioner"
)

// ClassOf is the name of a claim's class; "": none.
func ClassOf(c *corev1.PersistentVolumeClaim) string {
	if class, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	if c.Spec.StorageClassName != nil {
		return *c.Spec.StorageClassName
	}
	return ""
}

// HasClass reports whether a claim says something about its class, be it that it wants none.
func HasClass(c *corev1.PersistentVolumeClaim) bool {
	_, ok := c.Annotations[corev1.BetaStorageClassAnnotation]
	return ok || c.Spec.StorageClassName != nil
}

// ClassOfVolume is the name of a volume's class; "": none.
func ClassOfVolume(v *corev1.PersistentVolume) string {
	if class, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	return v.Spec.StorageClassName
}

// IsDefault reports whether a class is for claims that say nothing about theirs.
func IsDefault(c *storagev1.StorageClass) bool {
	return c.Annotations[DefaultClass] == "true" || c.Annotations[BetaDefaultClass] == "true"
}

// Default is the newest of the default classes, or nil.
func Default(classes []*storagev1.StorageClass) *storagev1.StorageClass {
	var best *storagev1.StorageClass
	for _, c := range classes {
		if IsDefault(c) && (best == nil || cmp.Or(best.CreationTimestamp.Compare(c.CreationTimestamp.Time), cmp.Compare(c.Name, best.Name)) < 0) {
			best = c
		}
	}
	return best
}

// Waits reports whether claims of a class are bound only when a pod that uses them is scheduled. A class that is not there does not wait.
func Waits(c *storagev1.StorageClass) bool {
	return c != nil && c.VolumeBindingMode != nil && *c.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// IsFor reports whether a volume is bound to, or reserved for, a claim.
func IsFor(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
	r := v.Spec.ClaimRef
	return r != nil && r.Name == c.Name && r.Namespace == c.Namespace && (r.UID == "" || r.UID == c.UID)
}

// Mode is how a volume is used: as a file system unless said otherwise.
func Mode(m *corev1.PersistentVolumeMode) corev1.PersistentVolumeMode {
	if m == nil {
		return corev1.PersistentVolumeFilesystem
	}
	return *m
}

// Unfit says why a volume that is not reserved cannot serve a claim that asks for it by name, in upstream's words; "": it can.
func Unfit(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) string {
	return unfit(v, c, true)
}

// unfit leaves the class out where it does not matter: whoever reserved a volume for a claim knows about it.
func unfit(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim, class bool) string {
	size, want := v.Spec.Capacity[corev1.ResourceStorage], c.Spec.Resources.Requests[corev1.ResourceStorage]
	switch {
	case v.DeletionTimestamp != nil:
		return "the volume is marked for deletion \"" + v.Name + "\""
	case size.Cmp(want) < 0:
		return "requested PV is too small"
	case class && ClassOfVolume(v) != ClassOf(c):
		return "storageClassName does not match"
	case attributes(v.Spec.VolumeAttributesClassName) != attributes(c.Spec.VolumeAttributesClassName):
		return "volumeAttributesClassName does not match"
	case Mode(v.Spec.VolumeMode) != Mode(c.Spec.VolumeMode):
		return "incompatible volumeMode"
	case !serves(v, c):
		return "incompatible accessMode"
	}
	return ""
}

func attributes(name *string) string {
	if name == nil {
		return ""
	}
	return *name
}

// serves reports whether a volume can be accessed in all the ways that a claim asks for.
func serves(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
	return !slices.ContainsFunc(c.Spec.AccessModes, func(m corev1.PersistentVolumeAccessMode) bool { return !slices.Contains(v.Spec.AccessModes, m) })
}

// Best is the volume that a claim gets: one that is reserved for it, else of those that are available, fit, and pass allowed, the one that can do the least more
// than is asked for: fewest access modes, then smallest. reservedOnly leaves out those that are not reserved. It is nil when there is none. allowed may be nil.
func Best(c *corev1.PersistentVolumeClaim, volumes []*corev1.PersistentVolume, reservedOnly bool, allowed func(*corev1.PersistentVolume) bool) *corev1.PersistentVolume {
	selector, err := metav1.LabelSelectorAsSelector(c.Spec.Selector)
	if err != nil {
		return nil
	}
	if c.Spec.Selector == nil {
		selector = labels.Everything()
	}
	var best *corev1.PersistentVolume
	for _, v := range volumes {
		reserved := IsFor(v, c)
		switch {
		case v.Spec.ClaimRef != nil && !reserved, unfit(v, c, !reserved) != "", allowed != nil && !allowed(v):
		case reserved:
			return v
		case reservedOnly || v.Status.Phase != corev1.VolumeAvailable || !selector.Matches(labels.Set(v.Labels)):
		case best == nil || less(v, best):
			best = v
		}
	}
	return best
}

func less(a, b *corev1.PersistentVolume) bool {
	x, y := a.Spec.Capacity[corev1.ResourceStorage], b.Spec.Capacity[corev1.ResourceStorage]
	return cmp.Or(len(a.Spec.AccessModes)-len(b.Spec.AccessModes), x.Cmp(y), cmp.Compare(a.Name, b.Name)) < 0
}
