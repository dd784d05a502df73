package openapi

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	smd "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// types is the schema of all built-in kinds, unpacked once. It is one for all groups: most of it, a pod's specification, is shared by them.
var types = sync.OnceValues(func() (*converter, error) {
	r, err := gzip.NewReader(bytes.NewReader(file("types.bin.gz")))
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	if _, err := io.Copy(&text, r); err != nil {
		return nil, err
	}
	list, byKind, err := unpack(text.String())
	if err != nil {
		return nil, err
	}
	return &converter{parser: &typed.Parser{Schema: smd.Schema{Types: list}}, byKind: byKind}, nil
})

// TypesUnder returns the named types of the schema whose names begin with a prefix, such as those of apimachinery that objects of all kinds contain. They are shared.
func TypesUnder(prefix string) ([]smd.TypeDef, error) {
	c, err := types()
	if err != nil {
		return nil, fmt.Errorf("openapi: schema of built-in kinds: %w", err)
	}
	var out []smd.TypeDef
	for _, t := range c.parser.Schema.Types {
		if strings.HasPrefix(t.Name, prefix) {
			out = append(out, t)
		}
	}
	return out, nil
}

// TypeConverter converts objects of all built-in kinds and versions, by the kind that the object says it is, to typed values and back. The schema
// is unpacked at the first conversion, a few milliseconds. It may be used by many at once.
func TypeConverter() managedfields.TypeConverter { return lazy{} }

type lazy struct{}

func (lazy) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	c, err := types()
	if err != nil {
		return nil, fmt.Errorf("openapi: schema of built-in kinds: %w", err)
	}
	return c.ObjectToTyped(obj, opts...)
}

func (lazy) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	m, ok := v.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("openapi: an object is a map, not %T", v.AsValue().Unstructured())
	}
	return &unstructured.Unstructured{Object: m}, nil
}

type converter struct {
	parser *typed.Parser
	byKind map[schema.GroupVersionKind]string
}

func (c *converter) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	gvk := obj.GetObjectKind().GroupVersionKind()
	name, ok := c.byKind[gvk]
	if !ok {
		return nil, fmt.Errorf("openapi: no corresponding type for %v", gvk)
	}
	t := c.parser.Type(name)
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return t.FromUnstructured(u.Object, opts...)
	}
	return t.FromStructured(obj, opts...)
}
