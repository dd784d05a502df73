package custom

import (
	"errors"
	"sync"

	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	structuraldefaulting "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// compiled is the schema of one version, compiled. It is immutable and used by many at once.
type compiled struct {
	// structural is nil when there is no schema, or none that is structural.
	structural *structuralschema.Structural
	// validator checks all of an object, statusValidator its status; the latter may be nil.
	validator, statusValidator apiservervalidation.SchemaValidator
	// rules are the CEL programs, compiled when the first object is checked; nil when there are none.
	rules func() *cel.Validator
	// types is the type of objects for managedFields.
	types func() (typed.ParseableType, error)
	// printed and selected are the paths of columns and selectable fields, parsed when they are first needed.
	printed  func() []column
	selected func() map[string]selectable
}

func compile(crd *apiextensionsv1.CustomResourceDefinition, name string) (*compiled, error) {
	var spec *apiextensionsv1.CustomResourceDefinitionVersion
	for i := range crd.Spec.Versions {
		if crd.Spec.Versions[i].Name == name {
			spec = &crd.Spec.Versions[i]
		}
	}
	if spec == nil {
		return nil, errors.New("there is no such version")
	}
	v := &compiled{}
	props, err := schemaOf(spec)
	if err != nil {
		return nil, err
	}
	if props != nil {
		s, err := structuralschema.NewStructural(props)
		if err != nil && !crd.Spec.PreserveUnknownFields {
			return nil, err
		}
		if s != nil && !crd.Spec.PreserveUnknownFields {
			s = s.DeepCopy() // defaults are shared with props
			if err := structuraldefaulting.PruneDefaults(s); err != nil {
				return nil, err
			}
		}
		v.structural = s
	}
	if v.validator, _, err = apiservervalidation.NewSchemaValidator(props); err != nil {
		return nil, err
	}
	if hasStatus(spec) && props != nil {
		if status, ok := props.Properties["status"]; ok {
			if v.statusValidator, _, err = apiservervalidation.NewSchemaValidator(&status); err != nil {
				return nil, err
			}
		}
	}
	v.rules = sync.OnceValue(func() *cel.Validator { return cel.NewValidator(v.structural, true, celconfig.PerCallLimit) })
	v.types = sync.OnceValues(func() (typed.ParseableType, error) { return mergeType(crd, name) })
	v.printed = sync.OnceValue(func() []column { return columns(spec) })
	v.selected = sync.OnceValue(func() map[string]selectable { return selectables(spec) })
	return v, nil
}

// schemaOf is the schema of a version in upstream's internal form; nil when there is none.
func schemaOf(spec *apiextensionsv1.CustomResourceDefinitionVersion) (*internal.JSONSchemaProps, error) {
	if spec.Schema == nil || spec.Schema.OpenAPIV3Schema == nil {
		return nil, nil
	}
	out := &internal.CustomResourceValidation{}
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(spec.Schema, out, nil); err != nil {
		return nil, err
	}
	return out.OpenAPIV3Schema, nil
}

func hasStatus(v *apiextensionsv1.CustomResourceDefinitionVersion) bool {
	return v.Subresources != nil && v.Subresources.Status != nil
}

func scaleOf(v *apiextensionsv1.CustomResourceDefinitionVersion) *apiextensionsv1.CustomResourceSubresourceScale {
	if v.Subresources == nil {
		return nil
	}
	return v.Subresources.Scale
}
