package networking

import (
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func each(value string, msgs []string, fld *field.Path) (errs field.ErrorList) {
	for _, msg := range msgs {
		errs = append(errs, field.Invalid(fld, value, msg))
	}
	return errs
}

// segment is a name that must be there and can stand in a URL.
func segment(name string, fld *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(fld, "")}
	}
	return each(name, path.IsValidPathSegmentName(name), fld)
}

// validateReference is a reference to an object of any type.
func validateReference(group *string, kind, name string, fld *field.Path) (errs field.ErrorList) {
	if group != nil {
		errs = each(*group, validation.IsDNS1123Subdomain(*group), fld.Child("apiGroup"))
	}
	errs = append(errs, segment(kind, fld.Child("kind"))...)
	return append(errs, segment(name, fld.Child("name"))...)
}
