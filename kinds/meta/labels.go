package meta

import (
	"maps"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateLabels says what is wrong with labels, or a selector of them, in the order of their keys: upstream's own order is that of a map, another each time.
func ValidateLabels(labels map[string]string, fld *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabels(labels, fld)
	if len(errs) < 2 {
		return errs
	}
	errs = nil
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		errs = append(errs, metavalidation.ValidateLabels(map[string]string{k: labels[k]}, fld)...)
	}
	return errs
}

// ValidateAnnotations is the same for annotations, and for their size together.
func ValidateAnnotations(annotations map[string]string, fld *field.Path) field.ErrorList {
	errs := apivalidation.ValidateAnnotations(annotations, fld)
	if len(errs) > 1 {
		slices.SortStableFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Error(), b.Error()) })
	}
	return errs
}

// inOrder puts the errors of one field, which come in the order of a map, into the order of their text.
func inOrder(errs field.ErrorList) field.ErrorList {
	for i := 0; i < len(errs); {
		j := i + 1
		for j < len(errs) && errs[j].Field == errs[i].Field {
			j++
		}
		if f := errs[i].Field; f == "metadata.labels" || f == "metadata.annotations" {
			slices.SortStableFunc(errs[i:j], func(a, b *field.Error) int { return strings.Compare(a.Error(), b.Error()) })
		}
		i = j
	}
	return errs
}
