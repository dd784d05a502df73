package apiextensions

import (
	"fmt"
	"maps"
	"slices"

	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// warnings name formats that are not known, and sets of what is no scalar, as far as old had none of them.
func warnings(c, old *apiextensionsv1.CustomResourceDefinition) []string {
	now, err := toInternal(c)
	if err != nil {
		return nil
	}
	formats, sets := unknownFormats(&now.Spec), compoundSets(&now.Spec)
	hadFormats, hadSets := map[string]bool{}, []string(nil)
	if old != nil {
		before, err := toInternal(old)
		if err != nil {
			return nil
		}
		for _, f := range unknownFormats(&before.Spec) {
			hadFormats[f] = true
		}
		hadSets = compoundSets(&before.Spec)
	}
	var out []string
	for _, f := range formats {
		if !hadFormats[f] {
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

// eachSchema calls f for every schema inside a definition.
func eachSchema(s *internal.CustomResourceDefinitionSpec, f func(*internal.JSONSchemaProps)) {
	visit := func(v *internal.CustomResourceValidation) {
		if v != nil && v.OpenAPIV3Schema != nil {
			validation.SchemaHas(v.OpenAPIV3Schema, func(p *internal.JSONSchemaProps) bool { f(p); return false })
		}
	}
	visit(s.Validation)
	for i := range s.Versions {
		visit(s.Versions[i].Schema)
	}
}

func unknownFormats(s *internal.CustomResourceDefinitionSpec) []string {
	version := environment.DefaultCompatibilityVersion()
	var out []string
	eachSchema(s, func(p *internal.JSONSchemaProps) {
		if p.Format != "" {
			out = append(out, apiservervalidation.GetUnrecognizedFormats(&spec.Schema{SchemaProps: spec.SchemaProps{Format: p.Format, Type: []string{p.Type}}}, version)...)
		}
	})
	return out
}

func compoundSets(s *internal.CustomResourceDefinitionSpec) []string {
	seen := map[string]bool{}
	eachSchema(s, func(p *internal.JSONSchemaProps) {
		if p.XListType == nil || *p.XListType != "set" || p.Items == nil || p.Items.Schema == nil {
			return
		}
		if t := p.Items.Schema.Type; t == "object" || t == "array" {
			seen[fmt.Sprintf("x-kubernetes-list-type: set for items of type %q is not supported by server-side apply or CEL validation rules", t)] = true
		}
	})
	return slices.Sorted(maps.Keys(seen))
}
