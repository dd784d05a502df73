package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// validateJobChange: a Job's template does not change, but that a suspended Job may be placed and sized anew before it goes on.
func validateJobChange(j, old *batchv1.Job) field.ErrorList {
	fld := field.NewPath("spec")
	fixed := func(name string, is, was any) field.ErrorList {
		return apivalidation.ValidateImmutableField(is, was, fld.Child(name))
	}
	errs := validateSelectedSpec(j, old)
	switch s, was := &j.Spec, &old.Spec; {
	case !indexed(s):
		errs = append(errs, fixed("completions", s.Completions, was.Completions)...)
	case equality.Semantic.DeepEqual(s.Completions, was.Completions) || s.Completions == nil:
	case s.Parallelism == nil || *s.Completions != *s.Parallelism:
		errs = append(errs, field.Invalid(fld.Child("completions"), s.Completions, "can only be modified in tandem with spec.parallelism"))
	}
	errs = append(errs, fixed("selector", j.Spec.Selector, old.Spec.Selector)...)
	errs = append(errs, validateTemplateChange(j, old, fld)...)
	errs = append(errs, fixed("completionMode", j.Spec.CompletionMode, old.Spec.CompletionMode)...)
	errs = append(errs, fixed("podFailurePolicy", j.Spec.PodFailurePolicy, old.Spec.PodFailurePolicy)...)
	errs = append(errs, fixed("backoffLimitPerIndex", j.Spec.BackoffLimitPerIndex, old.Spec.BackoffLimitPerIndex)...)
	errs = append(errs, fixed("managedBy", j.Spec.ManagedBy, old.Spec.ManagedBy)...)
	return append(errs, fixed("successPolicy", j.Spec.SuccessPolicy, old.Spec.SuccessPolicy)...)
}

func validateTemplateChange(j, old *batchv1.Job, fld *field.Path) field.ErrorList {
	is := &j.Spec.Template
	suspended := old.Spec.Suspend != nil && *old.Spec.Suspend
	rested := suspended && (old.Status.StartTime == nil || isTrue(old, batchv1.JobSuspended)) && old.Status.Active == 0
	if !rested {
		return apivalidation.ValidateImmutableField(is, &old.Spec.Template, fld.Child("template"))
	}
	was := old.Spec.Template.DeepCopy()
	was.Spec.Affinity = withNodeAffinity(was.Spec.Affinity, is.Spec.Affinity)
	was.Spec.NodeSelector, was.Spec.Tolerations, was.Spec.SchedulingGates = is.Spec.NodeSelector, is.Spec.Tolerations, is.Spec.SchedulingGates
	takeResources(was.Spec.Containers, is.Spec.Containers)
	takeResources(was.Spec.InitContainers, is.Spec.InitContainers)
	return apivalidation.ValidateImmutableField(is.Spec, was.Spec, fld.Child("template.spec"))
}

// withNodeAffinity is an affinity with another's part about nodes.
func withNodeAffinity(a, from *corev1.Affinity) *corev1.Affinity {
	switch {
	case from == nil && a != nil:
		a.NodeAffinity = nil
		if *a == (corev1.Affinity{}) {
			return nil
		}
	case from != nil && a == nil:
		return &corev1.Affinity{NodeAffinity: from.NodeAffinity}
	case from != nil:
		a.NodeAffinity = from.NodeAffinity
	}
	return a
}

func takeResources(to, from []corev1.Container) {
	if len(to) != len(from) {
		return
	}
	for i := range to {
		if to[i].Name == from[i].Name {
			to[i].Resources = from[i].Resources
		}
	}
}

func isTrue(j *batchv1.Job, t batchv1.JobConditionType) bool {
	return hasCondition(j, t, corev1.ConditionTrue)
}

func hasCondition(j *batchv1.Job, t batchv1.JobConditionType, status corev1.ConditionStatus) bool {
	for _, c := range j.Status.Conditions {
		if c.Type == t && c.Status == status {
			return true
		}
	}
	return false
}

// validateJobStatus: only what a write changes is checked, because a change of spec may leave status wrong for a while, and whoever manages the Job must be
// able to put it right step by step.
func validateJobStatus(j, old *batchv1.Job) field.ErrorList {
	fld := field.NewPath("status")
	s, was := &j.Status, &old.Status
	c := kinds.Counts{Path: fld}
	c.NotNegative("active", int64(s.Active))
	c.NotNegative("succeeded", int64(s.Succeeded))
	c.NotNegative("failed", int64(s.Failed))
	if s.Ready != nil {
		c.NotNegative("ready", int64(*s.Ready))
	}
	if s.Terminating != nil {
		c.NotNegative("terminating", int64(*s.Terminating))
	}
	errs := append(c.Errs, validateUncounted(s.UncountedTerminatedPods, fld.Child("uncountedTerminatedPods"))...)
	invalid := func(is bool, name string, value any, text string) {
		if is {
			errs = append(errs, field.Invalid(fld.Child(name), value, text))
		}
	}
	required := func(is bool, name, text string) {
		if is {
			errs = append(errs, field.Required(fld.Child(name), text))
		}
	}
	condition := func(is bool, text string) { invalid(is, "conditions", field.OmitValueType{}, text) }

	complete, failed := isTrue(j, batchv1.JobComplete), isTrue(j, batchv1.JobFailed)
	target, met := isTrue(j, batchv1.JobFailureTarget), isTrue(j, batchv1.JobSuccessCriteriaMet)
	wasComplete, wasMet := isTrue(old, batchv1.JobComplete), isTrue(old, batchv1.JobSuccessCriteriaMet)
	finished := complete || failed
	completeChanged, failedChanged := complete != wasComplete, failed != isTrue(old, batchv1.JobFailed)
	finishedChanged := finished != (wasComplete || isTrue(old, batchv1.JobFailed))
	startChanged, endChanged := !s.StartTime.Equal(was.StartTime), !s.CompletionTime.Equal(was.CompletionTime)
	activeChanged, readyChanged := s.Active != was.Active, !equalPtr(s.Ready, was.Ready)
	completedChanged, failedIndexesChanged := s.CompletedIndexes != was.CompletedIndexes, !equalPtr(s.FailedIndexes, was.FailedIndexes)
	completions := int32(0)
	if j.Spec.Completions != nil {
		completions = *j.Spec.Completions
	}

	if completeChanged || failedChanged {
		condition(complete && failed, "cannot set Complete=True and Failed=true conditions")
	}
	if completeChanged || target != isTrue(old, batchv1.JobFailureTarget) {
		condition(complete && target, "cannot set Complete=True and FailureTarget=true conditions")
	}
	if completeChanged || endChanged {
		invalid(s.CompletionTime != nil && !complete, "completionTime", s.CompletionTime, "cannot set completionTime when there is no Complete=True condition")
		required(s.CompletionTime == nil && complete, "completionTime", "completionTime is required for Complete jobs")
	}
	if startChanged || endChanged {
		invalid(s.StartTime != nil && s.CompletionTime != nil && s.CompletionTime.Before(s.StartTime), "completionTime", s.CompletionTime,
			"must be equal to or after `startTime`")
	}
	if failedChanged || failedIndexesChanged {
		condition(failed && !target, "cannot set Failed=True condition without the FailureTarget=true condition")
	}
	if completeChanged || met != wasMet {
		condition(complete && !met, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
	}
	if finishedChanged || activeChanged {
		invalid(s.Active > 0 && finished, "active", s.Active, "active>0 is invalid for finished job")
	}
	never := j.Spec.Suspend != nil && *j.Spec.Suspend && j.Spec.Completions != nil && completions == 0 // done before it began
	if (finishedChanged || startChanged) && !never {
		required(s.StartTime == nil && finished, "startTime", "startTime is required for finished job")
	}
	u := s.UncountedTerminatedPods
	if finishedChanged || !equality.Semantic.DeepEqual(u, was.UncountedTerminatedPods) {
		invalid(finished && u != nil && len(u.Failed)+len(u.Succeeded) > 0, "uncountedTerminatedPods", u, "must be empty for finished job")
	}
	if completedChanged && j.Spec.Completions != nil {
		if _, err := countIndexes(s.CompletedIndexes, completions); err != nil {
			invalid(true, "completedIndexes", s.CompletedIndexes, fmt.Sprintf("error parsing completedIndexes: %s", err))
		}
	}
	if failedIndexesChanged && j.Spec.Completions != nil && j.Spec.BackoffLimitPerIndex != nil && s.FailedIndexes != nil {
		if _, err := countIndexes(*s.FailedIndexes, completions); err != nil {
			invalid(true, "failedIndexes", s.FailedIndexes, fmt.Sprintf("error parsing failedIndexes: %s", err))
		}
	}
	if completedChanged {
		invalid(s.CompletedIndexes != "" && !indexed(&j.Spec), "completedIndexes", s.CompletedIndexes,
			"cannot set non-empty completedIndexes when non-indexed completion mode")
	}
	if s.FailedIndexes != nil {
		invalid(failedIndexesChanged && j.Spec.BackoffLimitPerIndex == nil, "failedIndexes", *s.FailedIndexes,
			"cannot set non-null failedIndexes when backoffLimitPerIndex is null")
		if (failedIndexesChanged || completedChanged) && j.Spec.Completions != nil {
			if err := overlap(s.CompletedIndexes, *s.FailedIndexes, completions); err != nil {
				invalid(true, "failedIndexes", *s.FailedIndexes, err.Error())
			}
		}
	}
	if finishedChanged || !equalPtr(s.Terminating, was.Terminating) {
		invalid(s.Terminating != nil && *s.Terminating > 0 && finished, "terminating", s.Terminating, "terminating>0 is invalid for finished job")
	}
	if readyChanged || activeChanged {
		invalid(s.Ready != nil && *s.Ready > s.Active, "ready", s.Ready, "cannot set more ready pods than active")
	}
	condition(met && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions")
	condition(met && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
	condition(j.Spec.SuccessPolicy != nil && !met && complete, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True")

	for _, t := range []batchv1.JobConditionType{batchv1.JobFailed, batchv1.JobComplete, batchv1.JobFailureTarget} {
		condition(isTrue(old, t) && !isTrue(j, t), fmt.Sprintf("cannot disable the terminal %s=True condition", t))
	}
	invalid(s.Failed < was.Failed, "failed", s.Failed, "cannot decrease the failed counter")
	// An indexed Job that is scaled down may lose some that have succeeded.
	invalid(s.Succeeded < was.Succeeded && !(indexed(&j.Spec) && equalPtr(j.Spec.Completions, j.Spec.Parallelism)), "succeeded", s.Succeeded,
		"cannot decrease the succeeded counter")
	invalid(s.CompletionTime != nil && was.CompletionTime != nil && endChanged, "completionTime", s.CompletionTime, "field is immutable")
	resumes := isTrue(old, batchv1.JobSuspended) && hasCondition(j, batchv1.JobSuspended, corev1.ConditionFalse)
	invalid(startChanged && !resumes && was.StartTime != nil && !(j.Spec.Suspend != nil && *j.Spec.Suspend), "startTime", s.StartTime,
		"field is immutable for unsuspended job once set")
	condition(wasMet && !met, "cannot disable the SuccessCriteriaMet=True condition")
	condition(wasComplete && !wasMet && met, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions")
	return errs
}

func validateUncounted(u *batchv1.UncountedTerminatedPods, fld *field.Path) (errs field.ErrorList) {
	if u == nil {
		return nil
	}
	seen := sets.Set[types.UID]{}
	check := func(list []types.UID, fld *field.Path) {
		for i, uid := range list {
			switch {
			case uid == "":
				errs = append(errs, field.Invalid(fld.Index(i), uid, "must not be empty"))
			case seen.Has(uid):
				errs = append(errs, field.Duplicate(fld.Index(i), uid))
			}
			seen.Insert(uid)
		}
	}
	check(u.Succeeded, fld.Child("succeeded"))
	check(u.Failed, fld.Child("failed"))
	return errs
}
