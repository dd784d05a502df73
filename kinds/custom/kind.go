package custom

import (
	"errors"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// New makes the kind that a definition stands for. rest is the definition at rest; the kind keeps it, and nothing of crd's schemas. It fails for a definition
// whose names were not accepted.
func New(crd *apiextensionsv1.CustomResourceDefinition, rest []byte, opts Options) (*kinds.Kind, error) {
	names := crd.Status.AcceptedNames
	if names.Plural == "" || names.Singular == "" || names.Kind == "" || names.ListKind == "" {
		return nil, fmt.Errorf("custom: the names of definition %s were not accepted", crd.Name)
	}
	d := &Definition{
		Name: crd.Name, UID: crd.UID, Generation: crd.Generation, group: crd.Spec.Group, names: *names.DeepCopy(), preserve: crd.Spec.PreserveUnknownFields,
		Terminating: crd.DeletionTimestamp != nil || apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Terminating),
		webhook:     crd.Spec.Conversion != nil && crd.Spec.Conversion.Strategy == apiextensionsv1.WebhookConverter, opts: opts,
	}
	d.Rest(rest)
	for i := range crd.Spec.Versions {
		v := crd.Spec.Versions[i]
		v.Schema = nil
		d.versions = append(d.versions, *v.DeepCopy())
		if v.Storage {
			d.storage = v.Name
		}
	}
	if d.storage == "" {
		return nil, errors.New("custom: definition " + crd.Name + " has no storage version")
	}
	k := &kinds.Kind{
		Kind: names.Kind, Plural: names.Plural, Singular: names.Singular, ShortNames: d.names.ShortNames, Categories: d.names.Categories, ListKind: names.ListKind,
		Namespaced: crd.Spec.Scope == apiextensionsv1.NamespaceScoped,
		Storage:    kinds.Storage{Prefix: Prefix(crd), GVK: d.gvk(d.storage), Codec: codec{d}},
		New:        func() kinds.Object { return d.empty(d.storage) },
		NewList:    func() runtime.Object { return d.emptyList(d.storage) },
		ValidName:  apivalidation.NameIsDNSSubdomain,
		Warnings:   finalizerWarnings,
		Types:      mergeTypes{d}, Origin: d,
	}
	hub := d.door(d.storage)
	k.BeforeCreate, k.BeforeUpdate, k.Validate, k.ValidateUpdate = hub.BeforeCreate, hub.BeforeUpdate, hub.Validate, hub.ValidateUpdate
	k.Table, k.Subresources, k.Hub = hub.Table, hub.Subresources, hub
	for i := range d.versions {
		v := &d.versions[i]
		if !v.Served {
			continue
		}
		if hasStatus(v) {
			k.Resets = []string{"status"}
		}
		s := hub
		if v.Name != d.storage {
			s = d.door(v.Name)
		}
		k.Served = append(k.Served, s)
	}
	if len(k.Served) == 0 {
		return nil, fmt.Errorf("custom: no version of definition %s is served", crd.Name)
	}
	sortVersions(k.Served)
	return k, nil
}

// Prefix is where the objects of a definition rest.
func Prefix(crd *apiextensionsv1.CustomResourceDefinition) string {
	return crd.Spec.Group + "/" + crd.Spec.Names.Plural
}

func (d *Definition) empty(version string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(d.gvk(version))
	return u
}

func (d *Definition) emptyList(version string) *unstructured.UnstructuredList {
	l := &unstructured.UnstructuredList{Object: map[string]any{}}
	gvk := d.gvk(version)
	gvk.Kind = d.names.ListKind
	l.SetGroupVersionKind(gvk)
	return l
}

// door is how the definition serves one version.
func (d *Definition) door(name string) *kinds.Served {
	var v *apiextensionsv1.CustomResourceDefinitionVersion
	for i := range d.versions {
		if d.versions[i].Name == name {
			v = &d.versions[i]
		}
	}
	w := &work{d: d, name: name, status: hasStatus(v), scale: scaleOf(v)}
	s := &kinds.Served{
		Group: d.group, Version: name, Own: true,
		New:     func() kinds.Object { return d.empty(name) },
		NewList: func() runtime.Object { return d.emptyList(name) },
		Default: func(obj kinds.Object) { d.setDefaults(name, obj.(*unstructured.Unstructured)) },
		Coerce: func(obj kinds.Object, strict bool) ([]string, error) {
			return d.coerce(name, obj.(*unstructured.Unstructured), strict)
		},
		BeforeCreate: w.beforeCreate, BeforeUpdate: w.beforeUpdate,
		Validate:       func(obj kinds.Object) field.ErrorList { return w.validate(obj) },
		ValidateUpdate: func(obj, old kinds.Object) field.ErrorList { return w.validateUpdate(obj, old) },
		Table:          w.table(),
	}
	if v.Deprecated {
		s.Deprecated = d.deprecation(v)
	}
	if name != d.storage {
		convert := func(in kinds.Object, to string) (kinds.Object, error) {
			out, err := d.to(in.(*unstructured.Unstructured), to)
			if err != nil {
				return nil, err
			}
			return out, nil
		}
		s.ToHub = func(in kinds.Object) (kinds.Object, error) { return convert(in, d.storage) }
		s.FromHub = func(in kinds.Object) (kinds.Object, error) { return convert(in, name) }
	}
	if w.status {
		s.Subresources = append(s.Subresources, w.statusDoor())
	}
	if w.scale != nil {
		s.Subresources = append(s.Subresources, w.scaleDoor())
	}
	if len(v.SelectableFields) > 0 {
		s.Selectable = map[string]func(kinds.Object) string{}
		for _, f := range v.SelectableFields {
			field := trimDot(f.JSONPath)
			s.Selectable[field] = func(obj kinds.Object) string { return w.selected(field, obj) }
		}
	}
	return s
}

// in gives a hub object in the version that is worked in.
func (w *work) in(obj kinds.Object) (*unstructured.Unstructured, error) {
	return w.d.to(obj.(*unstructured.Unstructured), w.name)
}

// work is what is done with objects in one version.
type work struct {
	d      *Definition
	name   string
	status bool
	scale  *apiextensionsv1.CustomResourceSubresourceScale
}

var metadataDoc = metav1.ObjectMeta{}.SwaggerDoc()
