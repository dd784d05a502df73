package apiextensions

import (
	"fmt"
	"maps"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// warnings name formats that are not known, and sets of what is no scalar, as far as old had none of them.
func warnings(c, old *apiextensionsv1.CustomResourceDefinition) []string {
	formats, sets := doubtful(c)
	var hadFormats, hadSets []string
	if old != nil {
		hadFormats, hadSets = doubtful(old)
	}
	var out []string
	for _, f := range formats {
		if !slices.Contains(hadFormats, f) {
			out = append(out, fmt.Sprintf("unrecognized format %q", f))
		}
	}
	for _, w := range sets {
		if !slices.Contains(hadSets, w) {
			out = append(out, w)
		}
	}
	return out
}

// doubtful finds formats that are not known, and the warnings about sets, in the schemas of a definition.
func doubtful(c *apiextensionsv1.CustomResourceDefinition) (formats, sets []string) {
	version := environment.DefaultCompatibilityVersion()
	seen := map[string]bool{}
	for i := range c.Spec.Versions {
		if s := c.Spec.Versions[i].Schema; s != nil {
			each(s.OpenAPIV3Schema, func(p *apiextensionsv1.JSONSchemaProps) {
				if p.Format != "" {
					formats = append(formats, apiservervalidation.GetUnrecognizedFormats(&spec.Schema{SchemaProps: spec.SchemaProps{Format: p.Format, Type: []string{p.Type}}}, version)...)
				}
				if p.XListType == nil || *p.XListType != "set" || p.Items == nil || p.Items.Schema == nil {
					return
				}
				if t := p.Items.Schema.Type; t == "object" || t == "array" {
					seen[fmt.Sprintf("x-kubernetes-list-type: set for items of type %q is not supported by server-side apply or CEL validation rules", t)] = true
				}
			})
		}
	}
	return formats, slices.Sorted(maps.Keys(seen))
}

// each calls f for a schema and all schemas in it.
func each(s *apiextensionsv1.JSONSchemaProps, f func(*apiextensionsv1.JSONSchemaProps)) {
	if s == nil {
		return
	}
	f(s)
	list := func(all []apiextensionsv1.JSONSchemaProps) {
		for i := range all {
			each(&all[i], f)
		}
	}
	byName := func(all map[string]apiextensionsv1.JSONSchemaProps) {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			p := all[name]
			each(&p, f)
		}
	}
	if s.Items != nil {
		each(s.Items.Schema, f)
		list(s.Items.JSONSchemas)
	}
	list(s.AllOf)
	list(s.AnyOf)
	list(s.OneOf)
	each(s.Not, f)
	byName(s.Properties)
	byName(s.PatternProperties)
	byName(s.Definitions)
	for _, extra := range []*apiextensionsv1.JSONSchemaPropsOrBool{s.AdditionalProperties, s.AdditionalItems} {
		if extra != nil {
			each(extra.Schema, f)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Dependencies)) {
		each(s.Dependencies[name].Schema, f)
	}
}
