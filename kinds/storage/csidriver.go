package storage

import (
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// CSIDriver tells what a storage driver can do and wants to know.
var CSIDriver = kinds.Define(kinds.Definition[*storagev1.CSIDriver, *storagev1.CSIDriverList]{
	Group: "storage.k8s.io", Version: "v1", Kind: "CSIDriver", Plural: "csidrivers",
	ReturnDeleted: true, NoUnconditionalUpdate: true,
	New:     func() *storagev1.CSIDriver { return &storagev1.CSIDriver{} },
	NewList: func() *storagev1.CSIDriverList { return &storagev1.CSIDriverList{} },
	Default: func(d *storagev1.CSIDriver) {
		s := &d.Spec
		setDefault(&s.AttachRequired, true)
		setDefault(&s.PodInfoOnMount, false)
		setDefault(&s.StorageCapacity, false)
		setDefault(&s.FSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
		if len(s.VolumeLifecycleModes) == 0 {
			s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
		}
		setDefault(&s.RequiresRepublish, false)
		setDefault(&s.SELinuxMount, false)
	},
	// The generation counts changes, but begins with none.
	BeforeCreate: func(d *storagev1.CSIDriver) { d.Spec.PreventPodSchedulingIfMissing = nil },
	BeforeUpdate: func(d, old *storagev1.CSIDriver) {
		if old.Spec.PreventPodSchedulingIfMissing == nil { // gate VolumeLimitScaling
			d.Spec.PreventPodSchedulingIfMissing = nil
		}
		d.Generation = old.Generation
		if !equality.Semantic.DeepEqual(d.Spec, old.Spec) {
			d.Generation++
		}
	},
	Validate: validateCSIDriver,
	ValidateUpdate: func(d, old *storagev1.CSIDriver) field.ErrorList {
		fld := field.NewPath("spec")
		errs := validateCSIDriver(d)
		errs = append(errs, apivalidation.ValidateImmutableField(d.Spec.AttachRequired, old.Spec.AttachRequired, fld.Child("attachedRequired"))...)
		return append(errs, apivalidation.ValidateImmutableField(d.Spec.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes, fld.Child("volumeLifecycleModes"))...)
	},
	Warnings: func(d, old *storagev1.CSIDriver) []string {
		if len(d.Spec.TokenRequests) == 0 || d.Spec.ServiceAccountTokenInSecrets != nil ||
			old != nil && equality.Semantic.DeepEqual(d.Spec.TokenRequests, old.Spec.TokenRequests) {
			return nil
		}
		return []string{"spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"}
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("AttachRequired", "boolean", storagev1.CSIDriverSpec{}.SwaggerDoc()["attachRequired"]),
		kinds.Column("PodInfoOnMount", "boolean", storagev1.CSIDriverSpec{}.SwaggerDoc()["podInfoOnMount"]),
		kinds.Column("StorageCapacity", "boolean", storagev1.CSIDriverSpec{}.SwaggerDoc()["storageCapacity"]),
		kinds.Column("TokenRequests", "string", storagev1.CSIDriverSpec{}.SwaggerDoc()["tokenRequests"]),
		kinds.Column("RequiresRepublish", "boolean", storagev1.CSIDriverSpec{}.SwaggerDoc()["requiresRepublish"]),
		kinds.Column("Modes", "string", storagev1.CSIDriverSpec{}.SwaggerDoc()["volumeLifecycleModes"]),
		kinds.AgeColumn(),
	},
	Row: func(d *storagev1.CSIDriver) []any {
		tokens, modes := "<unset>", "<none>"
		if d.Spec.TokenRequests != nil {
			var audiences []string
			for _, t := range d.Spec.TokenRequests {
				audiences = append(audiences, t.Audience)
			}
			tokens = strings.Join(audiences, ",")
		}
		if len(d.Spec.VolumeLifecycleModes) > 0 {
			var list []string
			for _, m := range d.Spec.VolumeLifecycleModes {
				list = append(list, string(m))
			}
			modes = strings.Join(list, ",")
		}
		return []any{
			d.Name, d.Spec.AttachRequired == nil || *d.Spec.AttachRequired, isTrue(d.Spec.PodInfoOnMount), isTrue(d.Spec.StorageCapacity),
			tokens, isTrue(d.Spec.RequiresRepublish), modes, kinds.Age(d.CreationTimestamp),
		}
	},
})

func validateCSIDriver(d *storagev1.CSIDriver) (errs field.ErrorList) {
	s, fld := &d.Spec, field.NewPath("spec")
	required := func(b *bool, name string) {
		if b == nil {
			errs = append(errs, field.Required(fld.Child(name), ""))
		}
	}
	required(s.AttachRequired, "attachedRequired") // as clients know it
	required(s.PodInfoOnMount, "podInfoOnMount")
	required(s.StorageCapacity, "storageCapacity")
	policies := []storagev1.FSGroupPolicy{storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy}
	if p := s.FSGroupPolicy; p != nil && !slices.Contains(policies, *p) {
		errs = append(errs, field.NotSupported(fld.Child("fsGroupPolicy"), *p, policies))
	}
	audiences := sets.Set[string]{}
	for i, t := range s.TokenRequests {
		at := fld.Child("tokenRequests").Index(i)
		if audiences.Has(t.Audience) {
			errs = append(errs, field.Duplicate(at.Child("audience"), t.Audience))
			continue
		}
		audiences.Insert(t.Audience)
		if n := t.ExpirationSeconds; n != nil && *n < 600 {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *n, "may not specify a duration less than 10 minutes"))
		} else if n != nil && *n > 1<<32 {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *n, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	for _, m := range s.VolumeLifecycleModes {
		if m != storagev1.VolumeLifecyclePersistent && m != storagev1.VolumeLifecycleEphemeral {
			errs = append(errs, field.NotSupported(fld.Child("volumeLifecycleModes"), m,
				[]string{string(storagev1.VolumeLifecyclePersistent), string(storagev1.VolumeLifecycleEphemeral)}))
		}
	}
	required(s.SELinuxMount, "seLinuxMount")
	if n := s.NodeAllocatableUpdatePeriodSeconds; n != nil && *n < 10 {
		errs = append(errs, field.Invalid(fld.Child("nodeAllocatableUpdatePeriodSeconds"), *n, "must be greater than or equal to 10 seconds"))
	}
	if s.ServiceAccountTokenInSecrets != nil && len(s.TokenRequests) == 0 {
		errs = append(errs, field.Invalid(fld.Child("serviceAccountTokenInSecrets"), s.ServiceAccountTokenInSecrets,
			"serviceAccountTokenInSecrets is set but no tokenRequests are specified"))
	}
	return errs
}
