package storage

import (
	"fmt"

	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// CSINode lists the storage drivers of a node, which it is named after.
var CSINode = kinds.Define(kinds.Definition[*storagev1.CSINode, *storagev1.CSINodeList]{
	Group: "storage.k8s.io", Version: "v1", Kind: "CSINode", Plural: "csinodes",
	ReturnDeleted: true, NoUnconditionalUpdate: true,
	New:            func() *storagev1.CSINode { return &storagev1.CSINode{} },
	NewList:        func() *storagev1.CSINodeList { return &storagev1.CSINodeList{} },
	BeforeCreate:   func(n *storagev1.CSINode) { n.Status = storagev1.CSINodeStatus{} }, // gate CSIVolumeHealth
	BeforeUpdate:   func(n, _ *storagev1.CSINode) { n.Status = storagev1.CSINodeStatus{} },
	Validate:       validateCSINode,
	ValidateUpdate: validateCSINodeChange,
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("Drivers", "integer", "Drivers indicates the number of CSI drivers registered on the node"), kinds.AgeColumn(),
	},
	Row: func(n *storagev1.CSINode) []any {
		return []any{n.Name, int64(len(n.Spec.Drivers)), kinds.Age(n.CreationTimestamp)}
	},
})

func validateCSINode(n *storagev1.CSINode) (errs field.ErrorList) {
	const longest = 256
	names := sets.Set[string]{}
	for i, d := range n.Spec.Drivers {
		fld := field.NewPath("spec", "drivers").Index(i)
		errs = append(errs, podspec.ValidateCSIDriverName(d.Name, fld.Child("name"))...)
		if d.NodeID == "" {
			errs = append(errs, field.Required(fld.Child("nodeID"), ""))
		}
		if len(d.NodeID) > longest {
			errs = append(errs, field.Invalid(fld.Child("nodeID"), d.NodeID, fmt.Sprintf("must be %d characters or less", longest)))
		}
		if a := d.Allocatable; a != nil && a.Count != nil {
			errs = append(errs, apivalidation.ValidateNonnegativeField(int64(*a.Count), fld.Child("allocatable", "count"))...)
		}
		if names.Has(d.Name) {
			errs = append(errs, field.Duplicate(fld.Child("name"), d.Name))
		}
		names.Insert(d.Name)
		keys := sets.Set[string]{}
		for _, key := range d.TopologyKeys {
			if key == "" {
				errs = append(errs, field.Required(fld, ""))
			}
			if keys.Has(key) {
				errs = append(errs, field.Duplicate(fld, key))
			}
			keys.Insert(key)
			for _, msg := range validation.IsQualifiedName(key) {
				errs = append(errs, field.Invalid(fld, key, msg))
			}
		}
	}
	return errs
}

// validateCSINodeChange: drivers come and go, but do not change, apart from how much fits.
func validateCSINodeChange(n, old *storagev1.CSINode) field.ErrorList {
	errs := validateCSINode(n)
	for _, was := range old.Spec.Drivers {
		for _, is := range n.Spec.Drivers {
			if is.Name == was.Name {
				is.Allocatable, was.Allocatable = nil, nil
				errs = append(errs, apivalidation.ValidateImmutableField(&is, &was, field.NewPath("spec", "drivers"))...)
			}
		}
	}
	return errs
}
