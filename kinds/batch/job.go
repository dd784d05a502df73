package batch

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// Labels by which a Job finds its pods: those of today, and those from before labels had domains.
const (
	legacyJobName       = "job-name"
	legacyControllerUID = "controller-uid"
)

// Job runs pods until enough of them have succeeded.
var Job = kinds.Define(kinds.Definition[*batchv1.Job, *batchv1.JobList]{
	Group: "batch", Version: "v1", Kind: "Job", Plural: "jobs", Categories: []string{"all"}, Namespaced: true, OrphanByDefault: true,
	New: func() *batchv1.Job { return &batchv1.Job{} }, NewList: func() *batchv1.JobList { return &batchv1.JobList{} },
	Default:    defaultJob,
	Spec:       func(j *batchv1.Job) any { return j.Spec },
	CopyStatus: func(dst, src *batchv1.Job) { dst.Status = src.Status },
	CopySpec: func(dst, src *batchv1.Job) {
		dst.Spec = src.Spec
		labelAsPods(dst)
	},
	BeforeCreate: func(j *batchv1.Job) {
		if j.Spec.ManualSelector == nil || !*j.Spec.ManualSelector {
			generateSelector(j)
		}
		dropJobFields(&j.Spec, nil)
	},
	BeforeUpdate: func(j, old *batchv1.Job) { dropJobFields(&j.Spec, &old.Spec) },
	Validate:     func(j *batchv1.Job) field.ErrorList { return validateJob(j, nil) },
	ValidateUpdate: func(j, old *batchv1.Job) field.ErrorList {
		return append(validateJob(j, old), validateJobChange(j, old)...)
	},
	ValidateStatus: validateJobStatus,
	Warnings: func(j, old *batchv1.Job) []string {
		switch {
		case old == nil:
			return append(podspec.NameWarnings(j.Name), jobWarnings(&j.Spec, field.NewPath("spec"))...)
		case old.Generation != j.Generation:
			return jobWarnings(&j.Spec, field.NewPath("spec"))
		}
		return nil
	},
	Fields: map[string]func(*batchv1.Job) string{
		"status.successful": func(j *batchv1.Job) string { return strconv.Itoa(int(j.Status.Succeeded)) },
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Status", "string", "Status of the job."),
		kinds.Column("Completions", "string", batchv1.JobStatus{}.SwaggerDoc()["succeeded"]),
		kinds.Column("Duration", "string", "Time required to complete the job."),
		kinds.AgeColumn(),
		kinds.WideColumn("Containers", "string", "Names of each container in the template."),
		kinds.WideColumn("Images", "string", "Images referenced by each container in the template."),
		kinds.WideColumn("Selector", "string", batchv1.JobSpec{}.SwaggerDoc()["selector"]),
	},
	Row: jobRow,
})

func defaultJob(j *batchv1.Job) {
	s := &j.Spec
	podspec.SetTemplateDefaults(&s.Template)
	if s.Completions == nil && s.Parallelism == nil {
		setDefault(&s.Completions, 1)
	}
	setDefault(&s.Parallelism, 1)
	if s.BackoffLimitPerIndex != nil {
		setDefault(&s.BackoffLimit, math.MaxInt32)
	}
	setDefault(&s.BackoffLimit, 6)
	labelAsPods(j)
	setDefault(&s.CompletionMode, batchv1.NonIndexedCompletion)
	setDefault(&s.Suspend, false)
	if s.PodFailurePolicy != nil {
		setDefault(&s.PodReplacementPolicy, batchv1.Failed)
	}
	defaultFailurePolicy(s.PodFailurePolicy)
	setDefault(&s.PodReplacementPolicy, batchv1.TerminatingOrFailed)
	setDefault(&s.ManualSelector, false)
}

// labelAsPods: a Job without labels has those of its pods.
func labelAsPods(j *batchv1.Job) {
	if labels := j.Spec.Template.Labels; labels != nil && len(j.Labels) == 0 {
		j.Labels = maps.Clone(labels)
	}
}

func defaultFailurePolicy(p *batchv1.PodFailurePolicy) {
	if p == nil {
		return
	}
	for i := range p.Rules {
		for k := range p.Rules[i].OnPodConditions {
			if c := &p.Rules[i].OnPodConditions[k]; c.Status == "" {
				c.Status = corev1.ConditionTrue
			}
		}
	}
}

// dropJobFields clears fields behind gates that are off (WorkloadWithJob, and those of the template).
func dropJobFields(s, old *batchv1.JobSpec) {
	var template *corev1.PodTemplateSpec
	if old != nil {
		template = &old.Template
	}
	podspec.DropDisabledTemplateFields(&s.Template, template)
	s.Scheduling = nil
}

// generateSelector labels pods with the Job's name and UID and selects by UID. Labels that are there already are refused later if they are wrong.
func generateSelector(j *batchv1.Job) {
	labels := maps.Clone(j.Spec.Template.Labels)
	copied := len(j.Labels) == 0 || maps.Equal(j.Labels, labels) // a Job without labels of its own has those of its pods
	if labels == nil {
		labels = map[string]string{}
	}
	for key, value := range ownLabels(j, true) {
		if _, set := labels[key]; !set {
			labels[key] = value
		}
	}
	j.Spec.Template.Labels = labels
	if copied {
		j.Labels = maps.Clone(labels)
	}
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	if j.Spec.Selector.MatchLabels == nil {
		j.Spec.Selector.MatchLabels = map[string]string{}
	}
	if _, set := j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel]; !set {
		j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel] = string(j.UID)
	}
}

// ownLabels are what the pods of a Job are labelled with. Old Jobs have the labels without domain only.
func ownLabels(j *batchv1.Job, all bool) map[string]string {
	labels := map[string]string{legacyJobName: j.Name, legacyControllerUID: string(j.UID)}
	if all {
		labels[batchv1.JobNameLabel], labels[batchv1.ControllerUidLabel] = j.Name, string(j.UID)
	}
	return labels
}

func jobWarnings(s *batchv1.JobSpec, fld *field.Path) (out []string) {
	if indexed(s) && s.Completions != nil && *s.Completions > manyCompletions && s.Parallelism != nil && *s.Parallelism > manyAtOnce {
		out = append(out, fld.String()+": In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "+
			"Kubernetes might not be able to track completedIndexes when a big number of indexes fail")
	}
	return append(out, podspec.TemplateWarnings(&s.Template, fld.Child("template"))...)
}

func indexed(s *batchv1.JobSpec) bool {
	return s.CompletionMode != nil && *s.CompletionMode == batchv1.IndexedCompletion
}

// runs is the cell of a Job that has begun and not ended.
type runs struct{ since time.Time }

func (r runs) At(now time.Time) any { return duration.HumanDuration(now.Sub(r.since)) }

func jobRow(j *batchv1.Job) []any {
	var completions string
	switch {
	case j.Spec.Completions != nil:
		completions = fmt.Sprintf("%d/%d", j.Status.Succeeded, *j.Spec.Completions)
	case j.Spec.Parallelism != nil && *j.Spec.Parallelism > 1:
		completions = fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, *j.Spec.Parallelism)
	default:
		completions = fmt.Sprintf("%d/1", j.Status.Succeeded)
	}
	var took any = ""
	switch s := &j.Status; {
	case s.StartTime == nil:
	case s.CompletionTime == nil:
		took = runs{s.StartTime.Time}
	default:
		took = duration.HumanDuration(s.CompletionTime.Sub(s.StartTime.Time))
	}
	status := "Running"
	switch first := func(t batchv1.JobConditionType) bool { return firstCondition(j, t) }; {
	case first(batchv1.JobComplete):
		status = "Complete"
	case first(batchv1.JobFailed):
		status = "Failed"
	case j.DeletionTimestamp != nil:
		status = "Terminating"
	case first(batchv1.JobSuspended):
		status = "Suspended"
	case first(batchv1.JobFailureTarget):
		status = "FailureTarget"
	case first(batchv1.JobSuccessCriteriaMet):
		status = "SuccessCriteriaMet"
	}
	names, images := podspec.ContainerCells(j.Spec.Template.Spec.Containers)
	return []any{j.Name, status, completions, took, kinds.Age(j.CreationTimestamp), names, images, metav1.FormatLabelSelector(j.Spec.Selector)}
}

// firstCondition: of several conditions of one type the first one counts in columns.
func firstCondition(j *batchv1.Job, t batchv1.JobConditionType) bool {
	for _, c := range j.Status.Conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
