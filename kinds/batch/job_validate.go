package batch

import (
	"fmt"
	"maps"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds/podspec"
)

const (
	manyCompletions = 100_000
	manyAtOnce      = 10_000
	mostAtOnce      = 100_000
	mostFailed      = 100_000
	mostRules       = 20
	mostExitCodes   = 255
	mostPatterns    = 20
	mostIndexText   = 64 * 1024
)

// validateJob holds for creates (old is nil) and updates.
func validateJob(j, old *batchv1.Job) field.ErrorList {
	errs := validateOwnLabels(j, old)
	errs = append(errs, validateSelectedSpec(j, old)...)
	if n := j.Spec.Completions; indexed(&j.Spec) && n != nil && *n > 0 {
		// The last pod's host name must be one.
		host := fmt.Sprintf("%s-%d", j.Name, *n-1)
		if len(validation.IsDNS1123Label(host)) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), j.Name, "will not able to create pod with invalid DNS label: "+host))
		}
	}
	return errs
}

// validateOwnLabels: unless its user takes care of that, the pods of a Job have its labels and its selector selects them.
func validateOwnLabels(j, old *batchv1.Job) (errs field.ErrorList) {
	if j.Spec.ManualSelector != nil && *j.Spec.ManualSelector || j.Spec.Selector == nil {
		return nil
	}
	all := true
	if old != nil {
		_, name := old.Spec.Template.Labels[batchv1.JobNameLabel]
		_, uid := old.Spec.Template.Labels[batchv1.ControllerUidLabel]
		all = name && uid
	}
	if j.UID == "" {
		errs = append(errs, field.Required(field.NewPath("metadata", "uid"), ""))
	}
	own := ownLabels(j, all)
	at := field.NewPath("spec", "template", "metadata", "labels")
	for _, key := range slices.Sorted(maps.Keys(own)) {
		switch value, has := j.Spec.Template.Labels[key]; {
		case !has:
			errs = append(errs, field.Required(at.Key(key), fmt.Sprintf("must be '%s'", own[key])))
		case value != own[key]:
			errs = append(errs, field.Invalid(at.Key(key), j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", own[key])))
		}
	}
	if selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !selector.Matches(labels.Set(own)) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "selector"), j.Spec.Selector, "`selector` not auto-generated"))
	}
	return errs
}

// validateSelectedSpec is validateJobSpec and the selector, which templates of Jobs do not have.
func validateSelectedSpec(j, old *batchv1.Job) field.ErrorList {
	fld := field.NewPath("spec")
	var before *corev1.PodTemplateSpec
	var options metavalidation.LabelSelectorValidationOptions
	if old != nil {
		before = &old.Spec.Template
		options.AllowInvalidLabelValueInSelector = metavalidation.LabelSelectorHasInvalidLabelValue(old.Spec.Selector)
	}
	errs := validateJobSpec(&j.Spec, before, fld)
	if j.Spec.Selector == nil {
		errs = append(errs, field.Required(fld.Child("selector"), ""))
	} else {
		errs = append(errs, metavalidation.ValidateLabelSelector(j.Spec.Selector, options, fld.Child("selector"))...)
	}
	if selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !selector.Matches(labels.Set(j.Spec.Template.Labels)) {
		errs = append(errs, field.Invalid(fld.Child("template", "metadata", "labels"), j.Spec.Template.Labels, "`selector` does not match template `labels`"))
	}
	return errs
}

func validateJobSpec(s *batchv1.JobSpec, old *corev1.PodTemplateSpec, fld *field.Path) field.ErrorList {
	errs := notNegative(s.Parallelism, fld.Child("parallelism"))
	errs = append(errs, notNegative(s.Completions, fld.Child("completions"))...)
	errs = append(errs, notNegative(s.ActiveDeadlineSeconds, fld.Child("activeDeadlineSeconds"))...)
	errs = append(errs, notNegative(s.BackoffLimit, fld.Child("backoffLimit"))...)
	errs = append(errs, notNegative(s.TTLSecondsAfterFinished, fld.Child("ttlSecondsAfterFinished"))...)
	errs = append(errs, notNegative(s.BackoffLimitPerIndex, fld.Child("backoffLimitPerIndex"))...)
	errs = append(errs, notNegative(s.MaxFailedIndexes, fld.Child("maxFailedIndexes"))...)
	if s.MaxFailedIndexes != nil && s.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Required(fld.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
	}
	if s.ManagedBy != nil {
		errs = append(errs, validation.IsDomainPrefixedPath(fld.Child("managedBy"), *s.ManagedBy)...)
		if len(*s.ManagedBy) > 63 {
			errs = append(errs, field.TooLong(fld.Child("managedBy"), "", 63))
		}
	}
	errs = append(errs, validateCompletionMode(s, fld)...)
	if s.PodFailurePolicy != nil {
		errs = append(errs, validateFailurePolicy(s, fld.Child("podFailurePolicy", "rules"))...)
	}
	if s.SuccessPolicy != nil {
		if at := fld.Child("successPolicy"); !indexed(s) {
			errs = append(errs, field.Invalid(at, *s.SuccessPolicy, "requires indexed completion mode"))
		} else {
			errs = append(errs, validateSuccessPolicy(s, at.Child("rules"))...)
		}
	}
	if p := s.PodReplacementPolicy; p != nil {
		if at := fld.Child("podReplacementPolicy"); s.PodFailurePolicy != nil {
			if *p != batchv1.Failed {
				errs = append(errs, field.NotSupported(at, *p, []batchv1.PodReplacementPolicy{batchv1.Failed}))
			}
		} else if *p != batchv1.Failed && *p != batchv1.TerminatingOrFailed {
			errs = append(errs, field.NotSupported(at, *p, []batchv1.PodReplacementPolicy{batchv1.Failed, batchv1.TerminatingOrFailed}))
		}
	}
	errs = append(errs, podspec.ValidateTemplateUpdate(&s.Template, old, fld.Child("template"))...)
	at := fld.Child("template", "spec", "restartPolicy")
	switch p := s.Template.Spec.RestartPolicy; {
	case p == corev1.RestartPolicyAlways || p == "": // which is the default
		errs = append(errs, field.Required(at, fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)))
	case p != corev1.RestartPolicyOnFailure && p != corev1.RestartPolicyNever:
		errs = append(errs, field.NotSupported(at, p, []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}))
	case s.PodFailurePolicy != nil && p != corev1.RestartPolicyNever:
		errs = append(errs, field.Invalid(at, p, fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever)))
	}
	return errs
}

// validateCompletionMode: what only indexed Jobs have, and how much of it.
func validateCompletionMode(s *batchv1.JobSpec, fld *field.Path) (errs field.ErrorList) {
	failed := fld.Child("maxFailedIndexes")
	if s.CompletionMode != nil && *s.CompletionMode != batchv1.NonIndexedCompletion && !indexed(s) {
		return field.ErrorList{field.NotSupported(fld.Child("completionMode"), s.CompletionMode,
			[]batchv1.CompletionMode{batchv1.NonIndexedCompletion, batchv1.IndexedCompletion})}
	}
	if !indexed(s) {
		if s.BackoffLimitPerIndex != nil {
			errs = append(errs, field.Invalid(fld.Child("backoffLimitPerIndex"), *s.BackoffLimitPerIndex, "requires indexed completion mode"))
		}
		if s.MaxFailedIndexes != nil {
			errs = append(errs, field.Invalid(failed, *s.MaxFailedIndexes, "requires indexed completion mode"))
		}
		return errs
	}
	if s.Completions == nil {
		errs = append(errs, field.Required(fld.Child("completions"), fmt.Sprintf("when completion mode is %s", batchv1.IndexedCompletion)))
	}
	if s.Parallelism != nil && *s.Parallelism > mostAtOnce {
		errs = append(errs, field.Invalid(fld.Child("parallelism"), *s.Parallelism,
			fmt.Sprintf("must be less than or equal to %d when completion mode is %s", mostAtOnce, batchv1.IndexedCompletion)))
	}
	if s.Completions != nil && s.MaxFailedIndexes != nil && *s.MaxFailedIndexes > *s.Completions {
		errs = append(errs, field.Invalid(failed, *s.MaxFailedIndexes, "must be less than or equal to completions"))
	}
	if s.MaxFailedIndexes != nil && *s.MaxFailedIndexes > mostFailed {
		errs = append(errs, field.Invalid(failed, *s.MaxFailedIndexes, fmt.Sprintf("must be less than or equal to %d", mostFailed)))
	}
	if s.Completions == nil || *s.Completions <= manyCompletions || s.BackoffLimitPerIndex == nil {
		return errs
	}
	many := fmt.Sprintf("must be less than or equal to %d when completions are above %d and used with backoff limit per index", manyAtOnce, manyCompletions)
	if s.MaxFailedIndexes == nil {
		errs = append(errs, field.Required(failed, fmt.Sprintf("must be specified when completions is above %d", manyCompletions)))
	}
	if s.Parallelism != nil && *s.Parallelism > manyAtOnce {
		errs = append(errs, field.Invalid(fld.Child("parallelism"), *s.Parallelism, many))
	}
	if s.MaxFailedIndexes != nil && *s.MaxFailedIndexes > manyAtOnce {
		errs = append(errs, field.Invalid(failed, *s.MaxFailedIndexes, many))
	}
	return errs
}

func validateFailurePolicy(s *batchv1.JobSpec, fld *field.Path) (errs field.ErrorList) {
	rules := s.PodFailurePolicy.Rules
	if len(rules) > mostRules {
		errs = append(errs, field.TooMany(fld, len(rules), mostRules))
	}
	names := sets.Set[string]{}
	for _, list := range [][]corev1.Container{s.Template.Spec.Containers, s.Template.Spec.InitContainers} {
		for i := range list {
			names.Insert(list[i].Name)
		}
	}
	actions := []batchv1.PodFailurePolicyAction{batchv1.PodFailurePolicyActionCount, batchv1.PodFailurePolicyActionFailIndex,
		batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore}
	for i := range rules {
		r, at := &rules[i], fld.Index(i)
		switch action := at.Child("action"); {
		case r.Action == "":
			errs = append(errs, field.Required(action, fmt.Sprintf("valid values: %q", actions)))
		case r.Action == batchv1.PodFailurePolicyActionFailIndex:
			if s.BackoffLimitPerIndex == nil {
				errs = append(errs, field.Invalid(action, r.Action, "requires the backoffLimitPerIndex to be set"))
			}
		case !slices.Contains(actions, r.Action):
			errs = append(errs, field.NotSupported(action, r.Action, actions))
		}
		if r.OnExitCodes != nil {
			errs = append(errs, validateExitCodes(r.OnExitCodes, names, at.Child("onExitCodes"))...)
		}
		errs = append(errs, validatePatterns(r.OnPodConditions, at.Child("onPodConditions"))...)
		if r.OnExitCodes != nil && len(r.OnPodConditions) > 0 {
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported"))
		}
		if r.OnExitCodes == nil && len(r.OnPodConditions) == 0 {
			errs = append(errs, field.Invalid(at, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required"))
		}
	}
	return errs
}

func validatePatterns(patterns []batchv1.PodFailurePolicyOnPodConditionsPattern, fld *field.Path) (errs field.ErrorList) {
	if len(patterns) > mostPatterns {
		errs = append(errs, field.TooMany(fld, len(patterns), mostPatterns))
	}
	statuses := []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown}
	for i, p := range patterns {
		for _, msg := range validation.IsQualifiedName(string(p.Type)) {
			errs = append(errs, field.Invalid(fld.Index(i).Child("type"), string(p.Type), msg))
		}
		if at := fld.Index(i).Child("status"); p.Status == "" {
			errs = append(errs, field.Required(at, fmt.Sprintf("valid values: %q", statuses)))
		} else if !slices.Contains(statuses, p.Status) {
			errs = append(errs, field.NotSupported(at, p.Status, statuses))
		}
	}
	return errs
}

func validateExitCodes(r *batchv1.PodFailurePolicyOnExitCodesRequirement, names sets.Set[string], fld *field.Path) (errs field.ErrorList) {
	operators := []batchv1.PodFailurePolicyOnExitCodesOperator{batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn}
	if at := fld.Child("operator"); r.Operator == "" {
		errs = append(errs, field.Required(at, fmt.Sprintf("valid values: %q", operators)))
	} else if !slices.Contains(operators, r.Operator) {
		errs = append(errs, field.NotSupported(at, r.Operator, operators))
	}
	if r.ContainerName != nil && !names.Has(*r.ContainerName) {
		errs = append(errs, field.Invalid(fld.Child("containerName"), *r.ContainerName, "must be one of the container or initContainer names in the pod template"))
	}
	at := fld.Child("values")
	if len(r.Values) == 0 {
		errs = append(errs, field.Invalid(at, r.Values, "at least one value is required"))
	} else if len(r.Values) > mostExitCodes {
		errs = append(errs, field.TooMany(at, len(r.Values), mostExitCodes))
	}
	seen := sets.Set[int32]{}
	for i, v := range r.Values {
		if r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && v == 0 {
			errs = append(errs, field.Invalid(at.Index(i), v, "must not be 0 for the In operator"))
		}
		if seen.Has(v) {
			errs = append(errs, field.Duplicate(at.Index(i), v))
		}
		seen.Insert(v)
	}
	if !slices.IsSorted(r.Values) {
		errs = append(errs, field.Invalid(at, r.Values, "must be ordered"))
	}
	return errs
}

func validateSuccessPolicy(s *batchv1.JobSpec, fld *field.Path) (errs field.ErrorList) {
	rules := s.SuccessPolicy.Rules
	if len(rules) == 0 {
		errs = append(errs, field.Required(fld, "at least one rules must be specified when the successPolicy is specified"))
	}
	if len(rules) > mostRules {
		errs = append(errs, field.TooMany(fld, len(rules), mostRules))
	}
	var completions int32
	if s.Completions != nil {
		completions = *s.Completions
	}
	for i := range rules {
		r, at := &rules[i], fld.Index(i)
		if r.SucceededCount == nil && r.SucceededIndexes == nil {
			errs = append(errs, field.Required(at, "at least one of succeededCount or succeededIndexes must be specified"))
		}
		var total int32
		if r.SucceededIndexes != nil {
			at := at.Child("succeededIndexes")
			if len(*r.SucceededIndexes) > mostIndexText {
				errs = append(errs, field.TooLong(at, "", mostIndexText))
			}
			var err error
			if total, err = countIndexes(*r.SucceededIndexes, completions); err != nil {
				errs = append(errs, field.Invalid(at, *r.SucceededIndexes, fmt.Sprintf("error parsing succeededIndexes: %s", err)))
			}
		}
		if n := r.SucceededCount; n != nil {
			at := at.Child("succeededCount")
			errs = append(errs, notNegative(n, at)...)
			if *n > completions {
				errs = append(errs, field.Invalid(at, *n, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", completions)))
			}
			if r.SucceededIndexes != nil && *n > total {
				errs = append(errs, field.Invalid(at, *n,
					fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", total)))
			}
		}
	}
	return errs
}
