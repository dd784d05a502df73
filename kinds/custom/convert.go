package custom

import (
	"errors"
	"fmt"
	"maps"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// conversions call a definition's webhook.
type conversions struct {
	// unsafe may change what it is given.
	unsafe runtime.ObjectConvertor
}

// to gives an object in another version of the definition, as the schema of that version allows. It may share memory with u, and returns u itself when it
// is in that version already.
func (d *Definition) to(u *unstructured.Unstructured, version string) (*unstructured.Unstructured, error) {
	from, want := u.GetAPIVersion(), schema.GroupVersion{Group: d.group, Version: version}
	if from == want.String() || from == "" {
		return u, nil
	}
	var out *unstructured.Unstructured
	if !d.webhook {
		out = &unstructured.Unstructured{Object: maps.Clone(u.Object)}
		out.SetAPIVersion(want.String())
		if !d.preserve {
			out = out.DeepCopy() // pruning goes deep
		}
	} else {
		c, err := d.converter()
		if err != nil {
			return nil, err
		}
		converted, err := c.unsafe.ConvertToVersion(u.DeepCopy(), want)
		if err != nil {
			return nil, err
		}
		var ok bool
		if out, ok = converted.(*unstructured.Unstructured); !ok {
			return nil, fmt.Errorf("custom: conversion of %s gave %T", d.names.Kind, converted)
		}
	}
	return out, d.fit(version, out)
}

func (d *Definition) converter() (*conversions, error) {
	d.mark()
	if d.opts.Idle != nil {
		defer d.opts.Idle.hold(d)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.convert != nil {
		return d.convert, nil
	}
	if d.opts.Converters == nil {
		return nil, errors.New("custom: webhooks cannot be called")
	}
	factory, err := d.opts.Converters()
	if err != nil {
		return nil, err
	}
	crd, err := d.full()
	if err != nil {
		return nil, err
	}
	for i := range crd.Spec.Versions {
		crd.Spec.Versions[i].Schema = &apiextensionsv1.CustomResourceValidation{}
	}
	_, unsafe, err := factory.NewConverter(crd)
	if err != nil {
		return nil, err
	}
	d.convert = &conversions{unsafe}
	return d.convert, nil
}
