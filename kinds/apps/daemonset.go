package apps

import (
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// DaemonSet is one pod for each node. An annotation counts changes of its template, as the first versions did.
var DaemonSet = kinds.Define(kinds.Definition[*appsv1.DaemonSet, *appsv1.DaemonSetList]{
	Group: "apps", Version: "v1", Kind: "DaemonSet", Plural: "daemonsets", ShortNames: []string{"ds"}, Categories: []string{"all"}, Namespaced: true,
	New: func() *appsv1.DaemonSet { return &appsv1.DaemonSet{} }, NewList: func() *appsv1.DaemonSetList { return &appsv1.DaemonSetList{} },
	Default:    defaultDaemonSet,
	Spec:       func(d *appsv1.DaemonSet) any { return d.Spec },
	CopyStatus: func(dst, src *appsv1.DaemonSet) { dst.Status = src.Status },
	CopySpec: func(dst, src *appsv1.DaemonSet) {
		dst.Spec = src.Spec
		setTemplateGeneration(dst, templateGeneration(src))
	},
	BeforeCreate: func(d *appsv1.DaemonSet) {
		podspec.DropDisabledTemplateFields(&d.Spec.Template, nil)
		setTemplateGeneration(d, max(templateGeneration(d), 1))
	},
	BeforeUpdate: func(d, old *appsv1.DaemonSet) {
		podspec.DropDisabledTemplateFields(&d.Spec.Template, &old.Spec.Template)
		n := templateGeneration(old)
		if !equality.Semantic.DeepEqual(d.Spec.Template, old.Spec.Template) {
			n++
		}
		setTemplateGeneration(d, n)
	},
	Validate: func(d *appsv1.DaemonSet) fieldErrors { return validateDaemonSet(&d.Spec, nil) },
	ValidateUpdate: func(d, old *appsv1.DaemonSet) fieldErrors {
		errs := apivalidation.ValidateImmutableField(d.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))
		return append(errs, validateDaemonSet(&d.Spec, &old.Spec)...)
	},
	ValidateStatus: validateDaemonSetStatus,
	Warnings: func(d, old *appsv1.DaemonSet) []string {
		if old != nil && templateGeneration(d) == templateGeneration(old) {
			return nil
		}
		return podspec.TemplateWarnings(&d.Spec.Template, templatePath)
	},
	Columns: append([]metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Desired", "integer", appsv1.DaemonSetStatus{}.SwaggerDoc()["desiredNumberScheduled"]),
		kinds.Column("Current", "integer", appsv1.DaemonSetStatus{}.SwaggerDoc()["currentNumberScheduled"]),
		kinds.Column("Ready", "integer", appsv1.DaemonSetStatus{}.SwaggerDoc()["numberReady"]),
		kinds.Column("Up-to-date", "integer", appsv1.DaemonSetStatus{}.SwaggerDoc()["updatedNumberScheduled"]),
		kinds.Column("Available", "integer", appsv1.DaemonSetStatus{}.SwaggerDoc()["numberAvailable"]),
		kinds.Column("Node Selector", "string", corev1.PodSpec{}.SwaggerDoc()["nodeSelector"]),
		kinds.AgeColumn(),
	}, templateColumns(appsv1.DaemonSetSpec{}.SwaggerDoc()["selector"])...),
	Row: func(d *appsv1.DaemonSet) []any {
		s := &d.Status
		return append([]any{
			d.Name, int64(s.DesiredNumberScheduled), int64(s.CurrentNumberScheduled), int64(s.NumberReady), int64(s.UpdatedNumberScheduled),
			int64(s.NumberAvailable), labels.FormatLabels(d.Spec.Template.Spec.NodeSelector), kinds.Age(d.CreationTimestamp),
		}, templateCells(&d.Spec.Template, metav1.FormatLabelSelector(d.Spec.Selector))...)
	},
})

func defaultDaemonSet(d *appsv1.DaemonSet) {
	podspec.SetTemplateDefaults(&d.Spec.Template)
	s := &d.Spec.UpdateStrategy
	if s.Type == "" {
		s.Type = appsv1.RollingUpdateDaemonSetStrategyType
	}
	if s.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		setDefault(&s.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
		setDefault(&s.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		setDefault(&s.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	}
	setDefault(&d.Spec.RevisionHistoryLimit, 10)
}

func templateGeneration(d *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func setTemplateGeneration(d *appsv1.DaemonSet, n int64) {
	text := strconv.FormatInt(n, 10)
	if d.Annotations[appsv1.DeprecatedTemplateGeneration] == text {
		return
	}
	annotations := maps.Clone(d.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[appsv1.DeprecatedTemplateGeneration] = text
	d.Annotations = annotations
}

// validateDaemonSet holds for creates (old is nil) and updates.
func validateDaemonSet(spec, old *appsv1.DaemonSetSpec) fieldErrors {
	fld := field.NewPath("spec")
	var before *corev1.PodTemplateSpec
	var options metavalidation.LabelSelectorValidationOptions
	if old != nil {
		before = &old.Template
		options.AllowInvalidLabelValueInSelector = metavalidation.LabelSelectorHasInvalidLabelValue(old.Selector)
	}
	errs := metavalidation.ValidateLabelSelector(spec.Selector, options, fld.Child("selector"))
	at := fld.Child("template")
	if selector, err := metav1.LabelSelectorAsSelector(spec.Selector); err == nil && !selector.Matches(labels.Set(spec.Template.Labels)) {
		errs = append(errs, field.Invalid(at.Child("metadata", "labels"), spec.Template.Labels, "`selector` does not match template `labels`"))
	}
	if spec.Selector != nil && len(spec.Selector.MatchLabels)+len(spec.Selector.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(fld.Child("selector"), spec.Selector, "empty selector is invalid for daemonset"))
	}
	errs = append(errs, podspec.ValidateTemplateUpdate(&spec.Template, before, at)...)
	if p := spec.Template.Spec.RestartPolicy; p != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(at.Child("spec", "restartPolicy"), p, []string{string(corev1.RestartPolicyAlways)}))
	}
	if spec.Template.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(at.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in DaemonSet is not Supported"))
	}
	errs = append(errs, apivalidation.ValidateNonnegativeField(int64(spec.MinReadySeconds), fld.Child("minReadySeconds"))...)
	errs = append(errs, validateDaemonSetStrategy(&spec.UpdateStrategy, fld.Child("updateStrategy"))...)
	return append(errs, apivalidation.ValidateNonnegativeField(int64(orZero(spec.RevisionHistoryLimit)), fld.Child("revisionHistoryLimit"))...)
}

// validateDaemonSetStrategy: a node has one pod too many or one too few during an update, not both.
func validateDaemonSetStrategy(s *appsv1.DaemonSetUpdateStrategy, fld *field.Path) (errs fieldErrors) {
	switch s.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
		return nil
	case appsv1.RollingUpdateDaemonSetStrategyType:
	default:
		return fieldErrors{field.NotSupported(fld, s, []string{string(appsv1.RollingUpdateDaemonSetStrategyType), string(appsv1.OnDeleteDaemonSetStrategyType)})}
	}
	fld = fld.Child("rollingUpdate")
	if s.RollingUpdate == nil {
		return fieldErrors{field.Required(fld, "")}
	}
	unavailable, surge := orZero(s.RollingUpdate.MaxUnavailable), orZero(s.RollingUpdate.MaxSurge)
	errs = kinds.ValidateIntOrPercent(unavailable, fld.Child("maxUnavailable"))
	errs = append(errs, kinds.ValidateIntOrPercent(surge, fld.Child("maxSurge"))...)
	errs = append(errs, kinds.AtMostAll(unavailable, fld.Child("maxUnavailable"))...)
	errs = append(errs, kinds.AtMostAll(surge, fld.Child("maxSurge"))...)
	switch fewer, more := kinds.BareNumber(unavailable) != 0, kinds.BareNumber(surge) != 0; {
	case fewer && more:
		errs = append(errs, field.Invalid(fld.Child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero"))
	case !fewer && !more:
		errs = append(errs, field.Required(fld.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
	}
	return errs
}

func validateDaemonSetStatus(d, old *appsv1.DaemonSet) fieldErrors {
	s := &d.Status
	c := kinds.Counts{Path: field.NewPath("status")}
	c.NotNegative("currentNumberScheduled", int64(s.CurrentNumberScheduled))
	c.NotNegative("numberMisscheduled", int64(s.NumberMisscheduled))
	c.NotNegative("desiredNumberScheduled", int64(s.DesiredNumberScheduled))
	c.NotNegative("numberReady", int64(s.NumberReady))
	c.NotNegative("observedGeneration", s.ObservedGeneration)
	c.NotNegative("updatedNumberScheduled", int64(s.UpdatedNumberScheduled))
	c.NotNegative("numberAvailable", int64(s.NumberAvailable))
	c.NotNegative("numberUnavailable", int64(s.NumberUnavailable))
	c.NotNegative("collisionCount", int64(orZero(s.CollisionCount)))
	return append(c.Errs, notDecremented(s.CollisionCount, old.Status.CollisionCount)...)
}
