package storage

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// StorageClass says who makes volumes for claims of the class, and how.
var StorageClass = kinds.Define(kinds.Definition[*storagev1.StorageClass, *storagev1.StorageClassList]{
	Group: "storage.k8s.io", Version: "v1", Kind: "StorageClass", Plural: "storageclasses", ShortNames: []string{"sc"},
	ReturnDeleted: true,
	New:           func() *storagev1.StorageClass { return &storagev1.StorageClass{} },
	NewList:       func() *storagev1.StorageClassList { return &storagev1.StorageClassList{} },
	Default: func(c *storagev1.StorageClass) {
		setDefault(&c.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)
		setDefault(&c.VolumeBindingMode, storagev1.VolumeBindingImmediate)
	},
	Validate: validateStorageClass,
	ValidateUpdate: func(c, old *storagev1.StorageClass) field.ErrorList {
		errs := validateStorageClass(c)
		errs = append(errs, apivalidation.ValidateImmutableField(c.Parameters, old.Parameters, field.NewPath("parameters"))...)
		errs = append(errs, apivalidation.ValidateImmutableField(c.Provisioner, old.Provisioner, field.NewPath("provisioner"))...)
		errs = append(errs, apivalidation.ValidateImmutableField(c.ReclaimPolicy, old.ReclaimPolicy, field.NewPath("reclaimPolicy"))...)
		return append(errs, apivalidation.ValidateImmutableField(c.VolumeBindingMode, old.VolumeBindingMode, field.NewPath("volumeBindingMode"))...)
	},
	Warnings: func(c, _ *storagev1.StorageClass) (out []string) {
		for i, term := range c.AllowedTopologies {
			for k, e := range term.MatchLabelExpressions {
				if msg := podspec.DeprecatedNodeLabels[e.Key]; msg != "" {
					at := field.NewPath("allowedTopologies").Index(i).Child("matchLabelExpressions").Index(k).Child("key")
					out = append(out, fmt.Sprintf("%s: %s", at, msg))
				}
			}
		}
		return out
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Provisioner", "string", storagev1.StorageClass{}.SwaggerDoc()["provisioner"]),
		kinds.Column("ReclaimPolicy", "string", storagev1.StorageClass{}.SwaggerDoc()["reclaimPolicy"]),
		kinds.Column("VolumeBindingMode", "string", storagev1.StorageClass{}.SwaggerDoc()["volumeBindingMode"]),
		kinds.Column("AllowVolumeExpansion", "string", storagev1.StorageClass{}.SwaggerDoc()["allowVolumeExpansion"]),
		kinds.AgeColumn(),
	},
	Row: func(c *storagev1.StorageClass) []any {
		name, reclaim, mode := c.Name, corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate
		if isDefault(c.Annotations) {
			name += " (default)"
		}
		if c.ReclaimPolicy != nil {
			reclaim = *c.ReclaimPolicy
		}
		if c.VolumeBindingMode != nil {
			mode = *c.VolumeBindingMode
		}
		return []any{name, c.Provisioner, string(reclaim), string(mode), isTrue(c.AllowVolumeExpansion), kinds.Age(c.CreationTimestamp)}
	},
})

func isDefault(annotations map[string]string) bool {
	return annotations["storageclass.kubernetes.io/is-default-class"] == "true" || annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true"
}

func setDefault[T any](to **T, value T) {
	if *to == nil {
		*to = &value
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

func validateStorageClass(c *storagev1.StorageClass) field.ErrorList {
	errs := validateDriver(c.Provisioner, field.NewPath("provisioner"))
	errs = append(errs, validateParameters(c.Parameters, field.NewPath("parameters"))...)
	if p := c.ReclaimPolicy; p != nil && *p != "" && *p != corev1.PersistentVolumeReclaimDelete && *p != corev1.PersistentVolumeReclaimRetain {
		errs = append(errs, field.NotSupported(field.NewPath("reclaimPolicy"), *p,
			[]corev1.PersistentVolumeReclaimPolicy{corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain}))
	}
	fld := field.NewPath("volumeBindingMode")
	if m := c.VolumeBindingMode; m == nil {
		errs = append(errs, field.Required(fld, ""))
	} else if *m != storagev1.VolumeBindingImmediate && *m != storagev1.VolumeBindingWaitForFirstConsumer {
		errs = append(errs, field.NotSupported(fld, *m,
			[]storagev1.VolumeBindingMode{storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer}))
	}
	return append(errs, validateTopologies(c.AllowedTopologies, field.NewPath("allowedTopologies"))...)
}

// validateDriver is the name of who provides storage, a qualified name in any case.
func validateDriver(name string, fld *field.Path) (errs field.ErrorList) {
	if name == "" {
		return field.ErrorList{field.Required(fld, "")}
	}
	lower := strings.ToLower(name)
	for _, msg := range validation.IsQualifiedName(lower) {
		errs = append(errs, field.Invalid(fld, lower, msg))
	}
	return errs
}

func validateParameters(params map[string]string, fld *field.Path) (errs field.ErrorList) {
	const most, size = 512, 256 << 10
	if len(params) > most {
		return field.ErrorList{field.TooLong(fld, "", most)}
	}
	total := 0
	for k, v := range params {
		if k == "" {
			errs = append(errs, field.Invalid(fld, k, "field can not be empty."))
		}
		total += len(k) + len(v)
	}
	if total > size {
		errs = append(errs, field.TooLong(fld, "", size))
	}
	return errs
}

func validateTopologies(terms []corev1.TopologySelectorTerm, fld *field.Path) (errs field.ErrorList) {
	before := make([]map[string]sets.Set[string], len(terms)) // with empty ones: a term that says nothing is always a duplicate
	for i, term := range terms {
		values, at := map[string]sets.Set[string]{}, fld.Index(i).Child("matchLabelExpressions")
		for k, e := range term.MatchLabelExpressions {
			at := at.Index(k)
			if len(e.Values) == 0 {
				errs = append(errs, field.Required(at.Child("values"), ""))
			}
			set := sets.Set[string]{}
			for n, v := range e.Values {
				if set.Has(v) {
					errs = append(errs, field.Duplicate(at.Child("values").Index(n), v))
				}
				set.Insert(v)
			}
			errs = append(errs, metavalidation.ValidateLabelName(e.Key, at.Child("key"))...)
			if _, twice := values[e.Key]; twice {
				errs = append(errs, field.Duplicate(at.Child("key"), e.Key))
			}
			values[e.Key] = set
		}
		for _, other := range before {
			if equality.Semantic.DeepEqual(values, other) {
				errs = append(errs, field.Duplicate(at, ""))
			}
		}
		before = append(before, values)
	}
	return errs
}
