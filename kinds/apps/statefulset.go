package apps

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/autoscaling"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// StatefulSet is a number of pods with names and claims that stay.
var StatefulSet = kinds.Define(kinds.Definition[*appsv1.StatefulSet, *appsv1.StatefulSetList]{
	Group: "apps", Version: "v1", Kind: "StatefulSet", Plural: "statefulsets", ShortNames: []string{"sts"}, Categories: []string{"all"}, Namespaced: true,
	New: func() *appsv1.StatefulSet { return &appsv1.StatefulSet{} }, NewList: func() *appsv1.StatefulSetList { return &appsv1.StatefulSetList{} },
	ValidName:    apivalidation.NameIsDNSLabel,
	Default:      defaultStatefulSet,
	Restore:      nameClaimTemplates,
	Spec:         func(s *appsv1.StatefulSet) any { return s.Spec },
	CopyStatus:   func(dst, src *appsv1.StatefulSet) { dst.Status = src.Status },
	CopySpec:     func(dst, src *appsv1.StatefulSet) { dst.Spec = src.Spec },
	BeforeCreate: func(s *appsv1.StatefulSet) { dropStatefulSetFields(s, nil) },
	BeforeUpdate: dropStatefulSetFields,
	Validate: func(s *appsv1.StatefulSet) fieldErrors {
		return validateStatefulSet(&s.Spec, nil, field.NewPath("spec"))
	},
	ValidateUpdate: validateStatefulSetChange,
	ValidateStatus: validateStatefulSetStatus,
	Warnings: func(s, old *appsv1.StatefulSet) (out []string) {
		if old == nil || old.Generation != s.Generation {
			out = podspec.TemplateWarnings(&s.Spec.Template, templatePath)
		}
		for i := range s.Spec.VolumeClaimTemplates {
			at := field.NewPath("spec", "volumeClaimTemplates").Index(i)
			if old != nil {
				at = at.Child("Spec") // as clients see it
			}
			out = append(out, podspec.ClaimWarnings(&s.Spec.VolumeClaimTemplates[i].Spec, at)...)
		}
		if limit := s.Spec.RevisionHistoryLimit; limit != nil && *limit < 0 {
			out = append(out, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended")
		}
		return out
	},
	Columns: append([]metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("Ready", "string", "Number of the pod with ready state"), kinds.AgeColumn(),
	}, templateColumns("")[:2]...),
	Row: func(s *appsv1.StatefulSet) []any {
		return append([]any{s.Name, fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, orZero(s.Spec.Replicas)), kinds.Age(s.CreationTimestamp)},
			templateCells(&s.Spec.Template, "")[:2]...)
	},
	Subresources: []*kinds.Subresource{autoscaling.Scale(schema.GroupResource{Group: "apps", Resource: "statefulsets"},
		func(s *appsv1.StatefulSet) autoscaling.Parts {
			return autoscaling.Parts{Replicas: &s.Spec.Replicas, Current: s.Status.Replicas, Selector: s.Spec.Selector}
		}, validateStatefulSetChange)},
})

func defaultStatefulSet(s *appsv1.StatefulSet) {
	podspec.SetTemplateDefaults(&s.Spec.Template)
	spec := &s.Spec
	if spec.PodManagementPolicy == "" {
		spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
	}
	if spec.UpdateStrategy.Type == "" {
		spec.UpdateStrategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
		setDefault(&spec.UpdateStrategy.RollingUpdate, appsv1.RollingUpdateStatefulSetStrategy{})
	}
	if r := spec.UpdateStrategy.RollingUpdate; r != nil && spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType {
		setDefault(&r.Partition, 0)
	}
	setDefault(&spec.PersistentVolumeClaimRetentionPolicy, appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{})
	for _, p := range []*appsv1.PersistentVolumeClaimRetentionPolicyType{
		&spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted, &spec.PersistentVolumeClaimRetentionPolicy.WhenScaled,
	} {
		if *p == "" {
			*p = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
		}
	}
	setDefault(&spec.Replicas, 1)
	setDefault(&spec.RevisionHistoryLimit, 10)
	for i := range spec.VolumeClaimTemplates {
		c := &spec.VolumeClaimTemplates[i]
		podspec.SetClaimDefaults(&c.Spec)
		if c.Status.Phase == "" {
			c.Status.Phase = corev1.ClaimPending
		}
	}
	nameClaimTemplates(s)
}

// nameClaimTemplates gives the claims within their type, which clients expect and the encoding at rest does not keep.
func nameClaimTemplates(s *appsv1.StatefulSet) {
	for i := range s.Spec.VolumeClaimTemplates {
		s.Spec.VolumeClaimTemplates[i].SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"))
	}
}

// dropStatefulSetFields: maxUnavailable is behind a gate that is off (MaxUnavailableStatefulSet).
func dropStatefulSetFields(s, old *appsv1.StatefulSet) {
	var template *corev1.PodTemplateSpec
	inUse := false
	if old != nil {
		template = &old.Spec.Template
		inUse = old.Spec.UpdateStrategy.RollingUpdate != nil && old.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable != nil
	}
	if r := s.Spec.UpdateStrategy.RollingUpdate; r != nil && !inUse {
		r.MaxUnavailable = nil
	}
	podspec.DropDisabledTemplateFields(&s.Spec.Template, template)
}

// validateStatefulSet holds for creates (old is nil) and updates. A template that was wrong may stay so, as may names and claims, which never change.
func validateStatefulSet(spec, old *appsv1.StatefulSetSpec, fld *field.Path) fieldErrors {
	checkTemplate := true
	var before *corev1.PodTemplateSpec
	if old != nil {
		before = &old.Template
		checkTemplate = len(statefulSetErrors(old, before, true, true, nil)) == 0
	}
	return statefulSetErrors(spec, before, old != nil, checkTemplate, fld)
}

func statefulSetErrors(spec *appsv1.StatefulSetSpec, before *corev1.PodTemplateSpec, change, checkTemplate bool, fld *field.Path) (errs fieldErrors) {
	switch spec.PodManagementPolicy {
	case "":
		errs = append(errs, field.Required(fld.Child("podManagementPolicy"), ""))
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
	default:
		errs = append(errs, field.Invalid(fld.Child("podManagementPolicy"), spec.PodManagementPolicy,
			fmt.Sprintf("must be '%s' or '%s'", appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement)))
	}
	errs = append(errs, validateStatefulSetStrategy(&spec.UpdateStrategy, fld.Child("updateStrategy"))...)
	if p := spec.PersistentVolumeClaimRetentionPolicy; p != nil {
		at := fld.Child("persistentVolumeClaimRetentionPolicy")
		errs = append(errs, validateRetention(p.WhenDeleted, at.Child("whenDeleted"))...)
		errs = append(errs, validateRetention(p.WhenScaled, at.Child("whenScaled"))...)
	}
	if !change {
		for i := range spec.VolumeClaimTemplates {
			errs = append(errs, podspec.ValidateClaim(&spec.VolumeClaimTemplates[i].Spec, nil, fld.Child("volumeClaimTemplates").Index(i).Child("spec"))...)
		}
	}
	errs = append(errs, apivalidation.ValidateNonnegativeField(int64(orZero(spec.Replicas)), fld.Child("replicas"))...)
	errs = append(errs, apivalidation.ValidateNonnegativeField(int64(spec.MinReadySeconds), fld.Child("minReadySeconds"))...)
	if spec.Ordinals != nil {
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(spec.Ordinals.Start), fld.Child("ordinals.start"))...)
	}
	if !change && spec.ServiceName != "" {
		for _, msg := range validation.IsDNS1123Label(spec.ServiceName) {
			errs = append(errs, field.Invalid(fld.Child("serviceName"), spec.ServiceName, msg))
		}
	}
	if at := fld.Child("selector"); spec.Selector == nil {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, metavalidation.ValidateLabelSelector(spec.Selector, metavalidation.LabelSelectorValidationOptions{}, at)...)
		if len(spec.Selector.MatchLabels)+len(spec.Selector.MatchExpressions) == 0 {
			errs = append(errs, field.Invalid(at, spec.Selector, "empty selector is invalid for statefulset"))
		}
	}
	at := fld.Child("template")
	if selector, err := metav1.LabelSelectorAsSelector(spec.Selector); err != nil {
		errs = append(errs, field.Invalid(fld.Child("selector"), spec.Selector, ""))
	} else {
		t := identified(spec)
		if !selector.Empty() && !selector.Matches(labels.Set(t.Labels)) {
			errs = append(errs, field.Invalid(at.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
		}
		if checkTemplate {
			errs = append(errs, podspec.ValidateTemplateUpdate(t, before, at)...)
		}
		errs = append(errs, podspec.ValidateTemplateMeta(t, before, at)...)
	}
	if p := spec.Template.Spec.RestartPolicy; p != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(at.Child("spec", "restartPolicy"), p, []string{string(corev1.RestartPolicyAlways)}))
	}
	if spec.Template.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(at.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in StatefulSet is not Supported"))
	}
	return errs
}

func validateRetention(p appsv1.PersistentVolumeClaimRetentionPolicyType, fld *field.Path) fieldErrors {
	switch p {
	case appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType:
		return nil
	}
	return fieldErrors{field.NotSupported(fld, p, []string{
		string(appsv1.RetainPersistentVolumeClaimRetentionPolicyType), string(appsv1.DeletePersistentVolumeClaimRetentionPolicyType)})}
}

// identified is the template as pods will have it: with claims as volumes, and without the host names that every pod gets for itself.
func identified(spec *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	t := spec.Template
	t.Spec.Subdomain, t.Spec.Hostname = "", ""
	if len(spec.VolumeClaimTemplates) == 0 {
		return &t
	}
	claimed := map[string]bool{}
	var volumes []corev1.Volume
	for i := range spec.VolumeClaimTemplates {
		name := spec.VolumeClaimTemplates[i].Name
		if !claimed[name] {
			volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}})
		}
		claimed[name] = true
	}
	for _, v := range t.Spec.Volumes {
		if !claimed[v.Name] {
			volumes = append(volumes, v)
		}
	}
	t.Spec.Volumes = volumes
	return &t
}

func validateStatefulSetStrategy(s *appsv1.StatefulSetUpdateStrategy, fld *field.Path) (errs fieldErrors) {
	rolling := fld.Child("rollingUpdate")
	switch s.Type {
	case "":
		return fieldErrors{field.Required(fld, "")}
	case appsv1.OnDeleteStatefulSetStrategyType:
		if s.RollingUpdate != nil {
			return fieldErrors{field.Invalid(rolling, s.RollingUpdate, fmt.Sprintf("only allowed for updateStrategy '%s'", appsv1.RollingUpdateStatefulSetStrategyType))}
		}
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if s.RollingUpdate == nil {
			return nil
		}
		errs = apivalidation.ValidateNonnegativeField(int64(orZero(s.RollingUpdate.Partition)), rolling.Child("partition"))
		if max := s.RollingUpdate.MaxUnavailable; max != nil {
			at := rolling.Child("maxUnavailable")
			errs = append(errs, kinds.ValidateIntOrPercent(*max, at)...)
			if kinds.BareNumber(*max) == 0 {
				errs = append(errs, field.Invalid(at, *max, "cannot be 0"))
			}
			errs = append(errs, kinds.AtMostAll(*max, at)...)
		}
	default:
		return fieldErrors{field.Invalid(fld, s, fmt.Sprintf("must be '%s' or '%s'", appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType))}
	}
	return errs
}

func validateStatefulSetChange(s, old *appsv1.StatefulSet) fieldErrors {
	errs := validateStatefulSet(&s.Spec, &old.Spec, field.NewPath("spec"))
	rest := s.Spec
	rest.Replicas, rest.Template, rest.UpdateStrategy, rest.MinReadySeconds = old.Spec.Replicas, old.Spec.Template, old.Spec.UpdateStrategy, old.Spec.MinReadySeconds
	rest.Ordinals, rest.RevisionHistoryLimit = old.Spec.Ordinals, old.Spec.RevisionHistoryLimit
	rest.PersistentVolumeClaimRetentionPolicy = old.Spec.PersistentVolumeClaimRetentionPolicy
	if !equality.Semantic.DeepEqual(rest, old.Spec) {
		errs = append(errs, field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "+
			"'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"))
	}
	return errs
}

func validateStatefulSetStatus(s, old *appsv1.StatefulSet) fieldErrors {
	st := &s.Status
	c := kinds.Counts{Path: field.NewPath("status")}
	c.NotNegative("replicas", int64(st.Replicas))
	c.NotNegative("readyReplicas", int64(st.ReadyReplicas))
	c.NotNegative("currentReplicas", int64(st.CurrentReplicas))
	c.NotNegative("updatedReplicas", int64(st.UpdatedReplicas))
	c.NotNegative("availableReplicas", int64(st.AvailableReplicas))
	c.NotNegative("observedGeneration", st.ObservedGeneration)
	c.NotNegative("collisionCount", int64(orZero(st.CollisionCount)))
	c.AtMost("readyReplicas", st.ReadyReplicas, st.Replicas, "status.replicas")
	c.AtMost("currentReplicas", st.CurrentReplicas, st.Replicas, "status.replicas")
	c.AtMost("updatedReplicas", st.UpdatedReplicas, st.Replicas, "status.replicas")
	c.AtMost("availableReplicas", st.AvailableReplicas, st.Replicas, "status.replicas")
	c.AtMost("availableReplicas", st.AvailableReplicas, st.ReadyReplicas, "status.readyReplicas")
	return append(c.Errs, notDecremented(st.CollisionCount, old.Status.CollisionCount)...)
}
