package podspec

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	kindmeta "github.com/tenet-run/tenet/kinds/meta"
)

var claimTemplateMeta = sets.New("Annotations", "Labels")

// claimTemplate checks the claim that is made for an ephemeral volume.
func (c *checker) claimTemplate(p *field.Path, t *corev1.PersistentVolumeClaimTemplate) {
	meta := p.Child("metadata")
	c.add(kindmeta.ValidateAnnotations(t.Annotations, meta.Child("annotations")))
	c.add(kindmeta.ValidateLabels(t.Labels, meta.Child("labels")))
	c.onlyFields(meta, t.ObjectMeta, claimTemplateMeta, "cannot be set")
	c.claimSpec(p.Child("spec"), &t.Spec)
}

// claimSpec checks a PersistentVolumeClaimSpec.
func (c *checker) claimSpec(p *field.Path, s *corev1.PersistentVolumeClaimSpec) {
	modes := p.Child("accessModes")
	if len(s.AccessModes) == 0 {
		c.required(modes, "at least 1 access mode is required")
	}
	if s.Selector != nil {
		c.labelSelector(p.Child("selector"), s.Selector, false)
	}
	known := []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod}
	alone, others := false, false
	for _, mode := range s.AccessModes {
		oneOf(c, modes, mode, known...)
		if mode == corev1.ReadWriteOncePod {
			alone = true
		} else if slices.Contains(known, mode) {
			others = true
		}
	}
	if alone && others {
		c.forbidden(modes, "may not use ReadWriteOncePod with other access modes")
	}
	storage := p.Child("resources").Key(string(corev1.ResourceStorage))
	if q, ok := s.Resources.Requests[corev1.ResourceStorage]; !ok {
		c.required(storage, "")
	} else if q.Sign() <= 0 {
		c.invalid(storage, q.String(), "must be greater than zero")
	}
	className := func(name string, value *string) {
		if value != nil && *value != "" {
			c.each(p.Child(name), *value, validation.IsDNS1123Subdomain(*value))
		}
	}
	className("storageClassName", s.StorageClassName)
	if s.VolumeMode != nil {
		oneOf(c, p.Child("volumeMode"), *s.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
	}
	if d := s.DataSource; d != nil {
		c.dataSource(p.Child("dataSource"), d.APIGroup, d.Kind, d.Name)
	}
	if d := s.DataSourceRef; d != nil {
		c.dataSource(p.Child("dataSourceRef"), d.APIGroup, d.Kind, d.Name)
		if d.Namespace != nil && *d.Namespace != "" {
			c.each(p.Child("dataSourceRef", "namespace"), *d.Namespace, validation.IsDNS1123Label(*d.Namespace))
		}
	}
	if d, r := s.DataSource, s.DataSourceRef; d != nil && r != nil {
		if r.Namespace != nil && *r.Namespace != "" {
			c.invalid(p, p.Child("dataSource"), "may not be specified when dataSourceRef.namespace is specified")
		} else if !equalPtr(d.APIGroup, r.APIGroup) || d.Kind != r.Kind || d.Name != r.Name {
			c.invalid(p, p.Child("dataSource"), "must match dataSourceRef")
		}
	}
	className("volumeAttributesClassName", s.VolumeAttributesClassName)
}

func (c *checker) dataSource(p *field.Path, group *string, kind, name string) {
	c.notEmpty(p.Child("name"), name)
	c.notEmpty(p.Child("kind"), kind)
	if group == nil || *group == "" {
		if kind != "PersistentVolumeClaim" {
			c.invalid(p, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
		}
		return
	}
	c.each(p.Child("apiGroup"), *group, validation.IsDNS1123Subdomain(*group))
}

func equalPtr[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
