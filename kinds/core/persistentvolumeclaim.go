package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// PersistentVolumeClaim asks for storage and is bound to a PersistentVolume that has it.
var PersistentVolumeClaim = kinds.Define(kinds.Definition[*corev1.PersistentVolumeClaim, *corev1.PersistentVolumeClaimList]{
	Group: "", Version: "v1", Kind: "PersistentVolumeClaim", Plural: "persistentvolumeclaims", ShortNames: []string{"pvc"}, Namespaced: true,
	ReturnDeleted: true,
	New:           func() *corev1.PersistentVolumeClaim { return &corev1.PersistentVolumeClaim{} },
	NewList:       func() *corev1.PersistentVolumeClaimList { return &corev1.PersistentVolumeClaimList{} },
	Default: func(c *corev1.PersistentVolumeClaim) {
		if c.Status.Phase == "" {
			c.Status.Phase = corev1.ClaimPending
		}
		podspec.SetClaimDefaults(&c.Spec)
		roundUp(c.Status.Capacity)
		roundUp(c.Status.AllocatedResources)
	},
	CopyStatus: func(dst, src *corev1.PersistentVolumeClaim) { dst.Status = src.Status },
	CopySpec:   func(dst, src *corev1.PersistentVolumeClaim) { dst.Spec = src.Spec },
	BeforeCreate: func(c *corev1.PersistentVolumeClaim) {
		c.Status.Phase = corev1.ClaimPending
		keepDataSource(&c.Spec, nil)
	},
	BeforeUpdate: func(c, old *corev1.PersistentVolumeClaim) { keepDataSource(&c.Spec, &old.Spec) },
	Validate: func(c *corev1.PersistentVolumeClaim) fieldErrors {
		return podspec.ValidateClaim(&c.Spec, nil, specPath)
	},
	ValidateUpdate: validateClaimChange,
	ValidateStatus: validateClaimStatus,
	Warnings: func(c, _ *corev1.PersistentVolumeClaim) (out []string) {
		if _, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
			out = append(out, "metadata.annotations["+corev1.BetaStorageClassAnnotation+`]: deprecated since v1.8; use "storageClassName" attribute instead`)
		}
		return append(out, podspec.ClaimWarnings(&c.Spec, specPath)...)
	},
	Fields: map[string]func(*corev1.PersistentVolumeClaim) string{
		"name": func(c *corev1.PersistentVolumeClaim) string { return c.Name }, // as old clients have it
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Status", "string", corev1.PersistentVolumeClaimStatus{}.SwaggerDoc()["phase"]),
		kinds.Column("Volume", "string", corev1.PersistentVolumeClaimSpec{}.SwaggerDoc()["volumeName"]),
		kinds.Column("Capacity", "string", corev1.PersistentVolumeClaimStatus{}.SwaggerDoc()["capacity"]),
		kinds.Column("Access Modes", "string", corev1.PersistentVolumeClaimStatus{}.SwaggerDoc()["accessModes"]),
		kinds.Column("StorageClass", "string", "StorageClass of the pvc"),
		kinds.Column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pvc"),
		kinds.AgeColumn(),
		kinds.WideColumn("VolumeMode", "string", corev1.PersistentVolumeClaimSpec{}.SwaggerDoc()["volumeMode"]),
	},
	Row: func(c *corev1.PersistentVolumeClaim) []any {
		phase, capacity, modes := string(c.Status.Phase), "", ""
		if c.DeletionTimestamp != nil {
			phase = "Terminating"
		}
		if c.Spec.VolumeName != "" {
			q := c.Status.Capacity[corev1.ResourceStorage]
			capacity, modes = q.String(), accessModes(c.Status.AccessModes)
		}
		return []any{
			c.Name, phase, c.Spec.VolumeName, capacity, modes, classOf(c.Annotations, c.Spec.StorageClassName),
			orUnset(c.Spec.VolumeAttributesClassName), kinds.Age(c.CreationTimestamp), orUnset(c.Spec.VolumeMode),
		}
	},
})

// keepDataSource makes dataSource and dataSourceRef say the same. The older field never held anything but claims and snapshots, and dropped the rest
// without a word; references into other namespaces are behind a gate that is off. old may be nil.
func keepDataSource(s, old *corev1.PersistentVolumeClaimSpec) {
	crosses := func(r *corev1.TypedObjectReference) bool { return r != nil && r.Namespace != nil && *r.Namespace != "" }
	if crosses(s.DataSourceRef) && (old == nil || old.DataSourceRef == nil) {
		s.DataSourceRef = nil
	}
	had := old != nil && (old.DataSource != nil || old.DataSourceRef != nil)
	if d := s.DataSource; d != nil && !had && s.DataSourceRef == nil {
		group := ""
		if d.APIGroup != nil {
			group = *d.APIGroup
		}
		if !(d.Kind == "PersistentVolumeClaim" && group == "") && !(d.Kind == "VolumeSnapshot" && group == "snapshot.storage.k8s.io") {
			s.DataSource = nil
		}
	}
	alignDataSource(s)
}

func alignDataSource(s *corev1.PersistentVolumeClaimSpec) {
	copied := func(group *string) *string {
		if group == nil {
			return nil
		}
		g := *group
		return &g
	}
	switch d, r := s.DataSource, s.DataSourceRef; {
	case d != nil && r == nil:
		s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: copied(d.APIGroup), Kind: d.Kind, Name: d.Name}
	case r != nil && d == nil && (r.Namespace == nil || *r.Namespace == ""):
		s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: copied(r.APIGroup), Kind: r.Kind, Name: r.Name}
	}
}
