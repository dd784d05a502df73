package storage

import (
	"math"

	storagev1 "k8s.io/api/storage/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// VolumeAttachment asks a storage driver to attach a volume to a node, or to detach it when it is deleted.
var VolumeAttachment = kinds.Define(kinds.Definition[*storagev1.VolumeAttachment, *storagev1.VolumeAttachmentList]{
	Group: "storage.k8s.io", Version: "v1", Kind: "VolumeAttachment", Plural: "volumeattachments",
	ReturnDeleted: true, NoUnconditionalUpdate: true,
	New:     func() *storagev1.VolumeAttachment { return &storagev1.VolumeAttachment{} },
	NewList: func() *storagev1.VolumeAttachmentList { return &storagev1.VolumeAttachmentList{} },
	Default: func(a *storagev1.VolumeAttachment) {
		if s := a.Spec.Source.InlineVolumeSpec; s != nil {
			podspec.SetPersistentVolumeSourceDefaults(s)
		}
	},
	CopyStatus: func(dst, src *storagev1.VolumeAttachment) { dst.Status = src.Status },
	CopySpec: func(dst, src *storagev1.VolumeAttachment) {
		dst.Spec = src.Spec
		metav1.ResetObjectMetaForStatus(&dst.ObjectMeta, &src.ObjectMeta)
	},
	StatusResets:   []string{"metadata"},
	Validate:       validateAttachment,
	ValidateUpdate: validateAttachmentChange,
	ValidateStatus: validateAttachmentChange,
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		{Name: "Attacher", Type: "string", Format: "name", Description: storagev1.VolumeAttachmentSpec{}.SwaggerDoc()["attacher"]},
		kinds.Column("PV", "string", storagev1.VolumeAttachmentSource{}.SwaggerDoc()["persistentVolumeName"]),
		kinds.Column("Node", "string", storagev1.VolumeAttachmentSpec{}.SwaggerDoc()["nodeName"]),
		kinds.Column("Attached", "boolean", storagev1.VolumeAttachmentStatus{}.SwaggerDoc()["attached"]),
		kinds.AgeColumn(),
	},
	Row: func(a *storagev1.VolumeAttachment) []any {
		volume := ""
		if name := a.Spec.Source.PersistentVolumeName; name != nil {
			volume = *name
		}
		return []any{a.Name, a.Spec.Attacher, volume, a.Spec.NodeName, a.Status.Attached, kinds.Age(a.CreationTimestamp)}
	},
})

func validateAttachmentChange(a, old *storagev1.VolumeAttachment) field.ErrorList {
	return append(validateAttachment(a), apivalidation.ValidateImmutableField(a.Spec, old.Spec, field.NewPath("spec"))...)
}

func validateAttachment(a *storagev1.VolumeAttachment) field.ErrorList {
	fld := field.NewPath("spec")
	errs := podspec.ValidateCSIDriverName(a.Spec.Attacher, fld.Child("attacher"))
	source := fld.Child("source")
	switch inline, name := a.Spec.Source.InlineVolumeSpec, a.Spec.Source.PersistentVolumeName; {
	case inline == nil && name == nil:
		errs = append(errs, field.Required(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case inline != nil && name != nil:
		errs = append(errs, field.Forbidden(source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case name != nil && *name == "":
		errs = append(errs, field.Required(source.Child("persistentVolumeName"), "must specify non empty persistentVolumeName"))
	case inline != nil:
		errs = append(errs, podspec.ValidateInlinePersistentVolume(inline, source.Child("inlineVolumeSpec"))...)
	}
	for _, msg := range validation.IsDNS1123Subdomain(a.Spec.NodeName) {
		errs = append(errs, field.Invalid(fld.Child("nodeName"), a.Spec.NodeName, msg))
	}
	status, size := field.NewPath("status"), 0
	for k, v := range a.Status.AttachmentMetadata {
		size += len(k) + len(v)
	}
	if size > 256<<10 {
		errs = append(errs, field.TooLong(status.Child("attachmentMetadata"), "", 256<<10))
	}
	errs = append(errs, validateVolumeError(a.Status.AttachError, status.Child("attachError"))...)
	errs = append(errs, validateVolumeError(a.Status.DetachError, status.Child("detachError"))...)
	if name := a.Spec.Source.PersistentVolumeName; name != nil {
		for _, msg := range validation.IsDNS1123Subdomain(*name) {
			errs = append(errs, field.Invalid(field.NewPath("spec.source.persistentVolumeName"), *name, msg))
		}
	}
	return errs
}

func validateVolumeError(e *storagev1.VolumeError, fld *field.Path) (errs field.ErrorList) {
	if e == nil {
		return nil
	}
	if len(e.Message) > 1024 {
		errs = append(errs, field.TooLong(fld.Child("message"), "", 256<<10)) // the limit that clients are told
	}
	if e.ErrorCode != nil && *e.ErrorCode < 0 {
		errs = append(errs, field.Invalid(fld.Child("errorCode"), *e.ErrorCode, validation.InclusiveRangeError(0, math.MaxInt32)))
	}
	return errs
}
