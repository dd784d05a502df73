package storage

import (
	"maps"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// VolumeAttributesClass is how a volume works (how fast, say), which a claim may change later.
var VolumeAttributesClass = kinds.Define(kinds.Definition[*storagev1.VolumeAttributesClass, *storagev1.VolumeAttributesClassList]{
	Group: "storage.k8s.io", Version: "v1", Kind: "VolumeAttributesClass", Plural: "volumeattributesclasses", ShortNames: []string{"vac"},
	ReturnDeleted: true,
	New:           func() *storagev1.VolumeAttributesClass { return &storagev1.VolumeAttributesClass{} },
	NewList:       func() *storagev1.VolumeAttributesClassList { return &storagev1.VolumeAttributesClassList{} },
	Validate:      validateAttributesClass,
	ValidateUpdate: func(c, old *storagev1.VolumeAttributesClass) (errs field.ErrorList) {
		if c.DriverName != old.DriverName {
			errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
		}
		if !maps.Equal(c.Parameters, old.Parameters) {
			errs = append(errs, field.Forbidden(field.NewPath("parameters"), "updates to parameters are forbidden."))
		}
		return append(errs, validateAttributesClass(c)...)
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("DriverName", "string", storagev1.VolumeAttributesClass{}.SwaggerDoc()["driverName"]), kinds.AgeColumn(),
	},
	Row: func(c *storagev1.VolumeAttributesClass) []any {
		return []any{c.Name, c.DriverName, kinds.Age(c.CreationTimestamp)}
	},
})

func validateAttributesClass(c *storagev1.VolumeAttributesClass) field.ErrorList {
	fld := field.NewPath("parameters")
	errs := append(validateDriver(c.DriverName, field.NewPath("driverName")), validateParameters(c.Parameters, fld)...)
	if len(c.Parameters) == 0 {
		errs = append(errs, field.Required(fld, "must contain at least one key/value pair"))
	}
	return errs
}
