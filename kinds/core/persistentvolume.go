package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// PersistentVolume is storage that lives longer than the pods that use it.
var PersistentVolume = kinds.Define(kinds.Definition[*corev1.PersistentVolume, *corev1.PersistentVolumeList]{
	Group: "", Version: "v1", Kind: "PersistentVolume", Plural: "persistentvolumes", ShortNames: []string{"pv"},
	ReturnDeleted: true,
	New:           func() *corev1.PersistentVolume { return &corev1.PersistentVolume{} },
	NewList:       func() *corev1.PersistentVolumeList { return &corev1.PersistentVolumeList{} },
	Default: func(v *corev1.PersistentVolume) {
		if v.Status.Phase == "" {
			v.Status.Phase = corev1.VolumePending
		}
		podspec.SetPersistentVolumeDefaults(&v.Spec)
	},
	CopyStatus:   func(dst, src *corev1.PersistentVolume) { dst.Status = src.Status },
	CopySpec:     func(dst, src *corev1.PersistentVolume) { dst.Spec = src.Spec },
	BeforeCreate: func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumePending },
	Stamp:        stampPhase,
	Validate:     func(v *corev1.PersistentVolume) fieldErrors { return validatePersistentVolume(v, nil) },
	ValidateUpdate: func(v, old *corev1.PersistentVolume) fieldErrors {
		return append(validatePersistentVolume(v, old), validatePersistentVolumeChange(v, old)...)
	},
	Warnings: persistentVolumeWarnings,
	Fields: map[string]func(*corev1.PersistentVolume) string{
		"name": func(v *corev1.PersistentVolume) string { return v.Name }, // as old clients have it
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Capacity", "string", corev1.PersistentVolumeSpec{}.SwaggerDoc()["capacity"]),
		kinds.Column("Access Modes", "string", corev1.PersistentVolumeSpec{}.SwaggerDoc()["accessModes"]),
		kinds.Column("Reclaim Policy", "string", corev1.PersistentVolumeSpec{}.SwaggerDoc()["persistentVolumeReclaimPolicy"]),
		kinds.Column("Status", "string", corev1.PersistentVolumeStatus{}.SwaggerDoc()["phase"]),
		kinds.Column("Claim", "string", corev1.PersistentVolumeSpec{}.SwaggerDoc()["claimRef"]),
		kinds.Column("StorageClass", "string", "StorageClass of the pv"),
		kinds.Column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pv"),
		kinds.Column("Reason", "string", corev1.PersistentVolumeStatus{}.SwaggerDoc()["reason"]),
		kinds.AgeColumn(),
		kinds.WideColumn("VolumeMode", "string", corev1.PersistentVolumeSpec{}.SwaggerDoc()["volumeMode"]),
	},
	Row: func(v *corev1.PersistentVolume) []any {
		claim := ""
		if ref := v.Spec.ClaimRef; ref != nil {
			claim = ref.Namespace + "/" + ref.Name
		}
		size := v.Spec.Capacity[corev1.ResourceStorage]
		phase := string(v.Status.Phase)
		if v.DeletionTimestamp != nil {
			phase = "Terminating"
		}
		return []any{
			v.Name, size.String(), accessModes(v.Spec.AccessModes), string(v.Spec.PersistentVolumeReclaimPolicy), phase, claim,
			classOf(v.Annotations, &v.Spec.StorageClassName), orUnset(v.Spec.VolumeAttributesClassName), v.Status.Reason, kinds.Age(v.CreationTimestamp),
			orUnset(v.Spec.VolumeMode),
		}
	},
})

// stampPhase notes when the phase last changed, unless the writer says so itself.
func stampPhase(v, old *corev1.PersistentVolume, now metav1.Time) {
	s := &v.Status
	switch {
	case old == nil:
		s.LastPhaseTransitionTime = &now
	case s.Phase == old.Status.Phase:
		if s.LastPhaseTransitionTime == nil {
			s.LastPhaseTransitionTime = old.Status.LastPhaseTransitionTime
		}
	case s.LastPhaseTransitionTime == nil || s.LastPhaseTransitionTime.Equal(old.Status.LastPhaseTransitionTime):
		s.LastPhaseTransitionTime = &now
	}
}

const betaMountOptions = "volume.beta.kubernetes.io/mount-options"

// validatePersistentVolume holds for creates (old is nil) and updates.
func validatePersistentVolume(v, old *corev1.PersistentVolume) fieldErrors {
	var before *corev1.PersistentVolumeSpec
	if old != nil {
		before = &old.Spec
	}
	errs := podspec.ValidatePersistentVolume(&v.Spec, before, v.Name, field.NewPath("spec"))
	if _, ok := v.Annotations[betaMountOptions]; ok && !mountOptionsKnown(&v.Spec) {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations", betaMountOptions), "may not specify mount options for this volume type"))
	}
	return errs
}

func mountOptionsKnown(s *corev1.PersistentVolumeSpec) bool {
	return s.GCEPersistentDisk != nil || s.AWSElasticBlockStore != nil || s.Glusterfs != nil || s.NFS != nil || s.RBD != nil || s.Quobyte != nil ||
		s.ISCSI != nil || s.Cinder != nil || s.CephFS != nil || s.AzureFile != nil || s.VsphereVolume != nil || s.AzureDisk != nil || s.PhotonPersistentDisk != nil
}

func validatePersistentVolumeChange(v, old *corev1.PersistentVolume) (errs fieldErrors) {
	source, was := v.Spec.PersistentVolumeSource, old.Spec.PersistentVolumeSource
	if was.CSI != nil && was.CSI.ControllerExpandSecretRef == nil && source.CSI != nil && source.CSI.ControllerExpandSecretRef != nil {
		csi := *source.CSI // the secret may be given later
		csi.ControllerExpandSecretRef = nil
		source.CSI = &csi
	}
	if !equality.Semantic.DeepEqual(source, was) {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "persistentvolumesource"),
			fmt.Sprintf("spec.persistentvolumesource is immutable after creation\n%v", diff.Diff(was, source))))
	}
	errs = append(errs, apivalidation.ValidateImmutableField(v.Spec.VolumeMode, old.Spec.VolumeMode, field.NewPath("volumeMode"))...)
	if old.Spec.NodeAffinity != nil && !sameNodes(v.Spec.NodeAffinity, old.Spec.NodeAffinity) {
		errs = append(errs, field.Invalid(field.NewPath("nodeAffinity"), v.Spec.NodeAffinity, "field is immutable, except for updating from beta label to GA"))
	}
	if old.Spec.VolumeAttributesClassName != nil && v.Spec.VolumeAttributesClassName == nil {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "volumeAttributesClassName"), "update from non-nil value to nil is forbidden"))
	}
	return errs
}

// newNodeLabels are what labels of nodes were called when they were new.
var newNodeLabels = map[string]string{
	corev1.LabelFailureDomainBetaZone: corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaRegion: corev1.LabelTopologyRegion,
	"beta.kubernetes.io/os": corev1.LabelOSStable, "beta.kubernetes.io/arch": corev1.LabelArchStable, corev1.LabelInstanceType: corev1.LabelInstanceTypeStable,
}

// sameNodes: keys may have moved to the new names of labels.
func sameNodes(a, old *corev1.VolumeNodeAffinity) bool {
	if a == nil || a.Required == nil || old.Required == nil || len(a.Required.NodeSelectorTerms) != len(old.Required.NodeSelectorTerms) {
		return equality.Semantic.DeepEqual(a, old)
	}
	was := old.DeepCopy()
	for i := range was.Required.NodeSelectorTerms {
		for _, pair := range [][2][]corev1.NodeSelectorRequirement{
			{a.Required.NodeSelectorTerms[i].MatchExpressions, was.Required.NodeSelectorTerms[i].MatchExpressions},
			{a.Required.NodeSelectorTerms[i].MatchFields, was.Required.NodeSelectorTerms[i].MatchFields},
		} {
			for j := 0; j < min(len(pair[0]), len(pair[1])); j++ {
				if key := pair[0][j].Key; newNodeLabels[pair[1][j].Key] == key {
					pair[1][j].Key = key
				}
			}
		}
	}
	return equality.Semantic.DeepEqual(a, was)
}

func persistentVolumeWarnings(v, _ *corev1.PersistentVolume) (out []string) {
	warn := func(is bool, p *field.Path, text string) {
		if is {
			out = append(out, p.String()+": "+text)
		}
	}
	spec, annotations := field.NewPath("spec"), field.NewPath("metadata", "annotations")
	_, class := v.Annotations[corev1.BetaStorageClassAnnotation]
	warn(class, annotations.Key(corev1.BetaStorageClassAnnotation), `deprecated since v1.8; use "storageClassName" attribute instead`)
	_, options := v.Annotations[betaMountOptions]
	warn(options, annotations.Key(betaMountOptions), `deprecated since v1.31; use "mountOptions" attribute instead`)
	warn(v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle, spec.Child("persistentVolumeReclaimPolicy"),
		"The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.")
	if a := v.Spec.NodeAffinity; a != nil && a.Required != nil {
		out = append(out, podspec.NodeSelectorWarnings(a.Required, spec.Child("nodeAffinity", "required"))...)
	}
	s := &v.Spec
	warn(s.CephFS != nil, spec.Child("cephfs"), "deprecated in v1.28, non-functional in v1.31+")
	warn(s.PhotonPersistentDisk != nil, spec.Child("photonPersistentDisk"), "deprecated in v1.11, non-functional in v1.16+")
	warn(s.ScaleIO != nil, spec.Child("scaleIO"), "deprecated in v1.16, non-functional in v1.22+")
	warn(s.StorageOS != nil, spec.Child("storageOS"), "deprecated in v1.22, non-functional in v1.25+")
	warn(s.Glusterfs != nil, spec.Child("glusterfs"), "deprecated in v1.25, non-functional in v1.26+")
	warn(s.RBD != nil, spec.Child("rbd"), "deprecated in v1.28, non-functional in v1.31+")
	return out
}

// accessModes is the short form of kubectl: RWO,ROX,RWX,RWOP.
func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	var out []string
	for _, m := range []struct {
		mode  corev1.PersistentVolumeAccessMode
		short string
	}{{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"}, {corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"}} {
		for _, has := range modes {
			if has == m.mode {
				out = append(out, m.short)
				break
			}
		}
	}
	return strings.Join(out, ",")
}

// classOf is the storage class; the annotation that was there before the field goes first.
func classOf(annotations map[string]string, name *string) string {
	if class, ok := annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	if name == nil {
		return ""
	}
	return *name
}

func orUnset[T ~string](s *T) string {
	if s == nil {
		return "<unset>"
	}
	return string(*s)
}
