package storage

import (
	"fmt"
	"maps"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// CSIStorageCapacity tells how much storage of a class there is for some nodes.
var CSIStorageCapacity = kinds.Define(kinds.Definition[*storagev1.CSIStorageCapacity, *storagev1.CSIStorageCapacityList]{
	Group: "storage.k8s.io", Version: "v1", Kind: "CSIStorageCapacity", Plural: "csistoragecapacities", Namespaced: true, NoUnconditionalUpdate: true,
	New:      func() *storagev1.CSIStorageCapacity { return &storagev1.CSIStorageCapacity{} },
	NewList:  func() *storagev1.CSIStorageCapacityList { return &storagev1.CSIStorageCapacityList{} },
	Validate: func(c *storagev1.CSIStorageCapacity) field.ErrorList { return validateCapacity(c, nil) },
	ValidateUpdate: func(c, old *storagev1.CSIStorageCapacity) field.ErrorList {
		errs := validateCapacity(c, old)
		if !equality.Semantic.DeepEqual(c.NodeTopology, old.NodeTopology) {
			errs = append(errs, field.Invalid(field.NewPath("nodeTopology"), c.NodeTopology, "field is immutable"))
		}
		if c.StorageClassName != old.StorageClassName {
			errs = append(errs, field.Invalid(field.NewPath("storageClassName"), c.StorageClassName, "field is immutable"))
		}
		return errs
	},
	Warnings: func(c, _ *storagev1.CSIStorageCapacity) (out []string) {
		if c.NodeTopology == nil {
			return nil
		}
		fld := field.NewPath("nodeTopology")
		for i, e := range c.NodeTopology.MatchExpressions {
			if msg := podspec.DeprecatedNodeLabels[e.Key]; msg != "" {
				out = append(out, fmt.Sprintf("%s: %s is %s", fld.Child("matchExpressions").Index(i).Child("key"), e.Key, msg))
			}
		}
		for _, label := range slices.Sorted(maps.Keys(c.NodeTopology.MatchLabels)) {
			if msg := podspec.DeprecatedNodeLabels[label]; msg != "" {
				out = append(out, fmt.Sprintf("%s: %s", fld.Child("matchLabels").Child(label), msg))
			}
		}
		return out
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("StorageClassName", "string", storagev1.CSIStorageCapacity{}.SwaggerDoc()["storageClassName"]),
		kinds.Column("Capacity", "string", storagev1.CSIStorageCapacity{}.SwaggerDoc()["capacity"]),
	},
	Row: func(c *storagev1.CSIStorageCapacity) []any {
		capacity := "<unset>"
		if c.Capacity != nil {
			capacity = c.Capacity.String()
		}
		return []any{c.Name, c.StorageClassName, capacity}
	},
})

// validateCapacity holds for creates (old is nil) and updates.
func validateCapacity(c, old *storagev1.CSIStorageCapacity) field.ErrorList {
	var options metavalidation.LabelSelectorValidationOptions
	if old != nil {
		options.AllowInvalidLabelValueInSelector = len(metavalidation.ValidateLabelSelector(old.NodeTopology, options, nil)) > 0
	}
	errs := metavalidation.ValidateLabelSelector(c.NodeTopology, options, field.NewPath("nodeTopology"))
	for _, msg := range validation.IsDNS1123Subdomain(c.StorageClassName) {
		errs = append(errs, field.Invalid(field.NewPath("storageClassName"), c.StorageClassName, msg))
	}
	if c.Capacity != nil && c.Capacity.Sign() < 0 {
		errs = append(errs, field.Invalid(field.NewPath("capacity"), c.Capacity.String(), apivalidation.IsNegativeErrorMsg))
	}
	return errs
}
