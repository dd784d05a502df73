package podspec

import (
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

// SetClaimDefaults sets the defaults of a claim.
func SetClaimDefaults(s *corev1.PersistentVolumeClaimSpec) {
	defPtr(&s.VolumeMode, corev1.PersistentVolumeFilesystem)
	roundUp(s.Resources.Limits)
	roundUp(s.Resources.Requests)
}

// ValidateClaim says what is wrong with a claim. What was wrong with old in its selector and data sources may stay; old may be nil.
func ValidateClaim(s, old *corev1.PersistentVolumeClaimSpec, fld *field.Path) field.ErrorList {
	var c checker
	if old != nil {
		wrong := func(check func(c *checker)) bool {
			var c checker
			check(&c)
			return len(c.errs) > 0
		}
		c.anyClaimSelector = old.Selector != nil && wrong(func(c *checker) { c.labelSelector(nil, old.Selector, false) })
		group := func(g *string) bool {
			return g != nil && *g != "" && len(validation.IsDNS1123Subdomain(*g)) > 0
		}
		c.anyDataSourceGroup = old.DataSource != nil && group(old.DataSource.APIGroup) || old.DataSourceRef != nil && group(old.DataSourceRef.APIGroup)
	}
	c.claimSpec(fld, s)
	return c.errs
}

// claimSpec checks a PersistentVolumeClaimSpec.
func (c *checker) claimSpec(p *field.Path, s *corev1.PersistentVolumeClaimSpec) {
	c.accessModes(p.Child("accessModes"), s.AccessModes, "at least 1 access mode is required")
	if s.Selector != nil {
		c.labelSelector(p.Child("selector"), s.Selector, c.anyClaimSelector)
	}
	storage := p.Child("resources").Key(string(corev1.ResourceStorage))
	if q, ok := s.Resources.Requests[corev1.ResourceStorage]; !ok {
		c.required(storage, "")
	} else {
		c.positiveQuantity(storage, q)
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
	if !c.anyDataSourceGroup {
		c.each(p.Child("apiGroup"), *group, validation.IsDNS1123Subdomain(*group))
	}
}

func equalPtr[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
