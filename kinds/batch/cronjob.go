package batch

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// CronJob makes a Job again and again.
var CronJob = kinds.Define(kinds.Definition[*batchv1.CronJob, *batchv1.CronJobList]{
	Group: "batch", Version: "v1", Kind: "CronJob", Plural: "cronjobs", ShortNames: []string{"cj"}, Categories: []string{"all"}, Namespaced: true,
	New: func() *batchv1.CronJob { return &batchv1.CronJob{} }, NewList: func() *batchv1.CronJobList { return &batchv1.CronJobList{} },
	Default: func(c *batchv1.CronJob) {
		podspec.SetTemplateDefaults(&c.Spec.JobTemplate.Spec.Template)
		defaultFailurePolicy(c.Spec.JobTemplate.Spec.PodFailurePolicy)
		if c.Spec.ConcurrencyPolicy == "" {
			c.Spec.ConcurrencyPolicy = batchv1.AllowConcurrent
		}
		setDefault(&c.Spec.Suspend, false)
		setDefault(&c.Spec.SuccessfulJobsHistoryLimit, 3)
		setDefault(&c.Spec.FailedJobsHistoryLimit, 1)
	},
	Spec:         func(c *batchv1.CronJob) any { return c.Spec },
	CopyStatus:   func(dst, src *batchv1.CronJob) { dst.Status = src.Status },
	CopySpec:     func(dst, src *batchv1.CronJob) { dst.Spec = src.Spec },
	BeforeCreate: func(c *batchv1.CronJob) { dropJobFields(&c.Spec.JobTemplate.Spec, nil) },
	BeforeUpdate: func(c, old *batchv1.CronJob) { dropJobFields(&c.Spec.JobTemplate.Spec, &old.Spec.JobTemplate.Spec) },
	Validate: func(c *batchv1.CronJob) field.ErrorList {
		errs := validateCronJob(&c.Spec, nil)
		// Jobs are named after it, with the time of their run.
		if len(c.Name) > validation.DNS1035LabelMaxLength-11 {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), c.Name, "must be no more than 52 characters"))
		}
		return errs
	},
	ValidateUpdate: func(c, old *batchv1.CronJob) field.ErrorList { return validateCronJob(&c.Spec, &old.Spec) },
	Warnings: func(c, old *batchv1.CronJob) (out []string) {
		if old == nil {
			out = podspec.NameWarnings(c.Name)
		}
		if old == nil || old.Generation != c.Generation {
			out = append(out, jobWarnings(&c.Spec.JobTemplate.Spec, field.NewPath("spec", "jobTemplate", "spec"))...)
		}
		if old != nil && strings.Contains(c.Spec.Schedule, "TZ") {
			out = append(out, "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, "+
				"see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details")
		}
		return out
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Schedule", "string", batchv1.CronJobSpec{}.SwaggerDoc()["schedule"]),
		kinds.Column("Timezone", "string", batchv1.CronJobSpec{}.SwaggerDoc()["timeZone"]),
		kinds.Column("Suspend", "boolean", batchv1.CronJobSpec{}.SwaggerDoc()["suspend"]),
		kinds.Column("Active", "integer", batchv1.CronJobStatus{}.SwaggerDoc()["active"]),
		kinds.Column("Last Schedule", "string", batchv1.CronJobStatus{}.SwaggerDoc()["lastScheduleTime"]),
		kinds.AgeColumn(),
		kinds.WideColumn("Containers", "string", "Names of each container in the template."),
		kinds.WideColumn("Images", "string", "Images referenced by each container in the template."),
		kinds.WideColumn("Selector", "string", batchv1.JobSpec{}.SwaggerDoc()["selector"]),
	},
	Row: func(c *batchv1.CronJob) []any {
		var last any = "<none>"
		if t := c.Status.LastScheduleTime; t != nil {
			last = kinds.Age(*t)
		}
		zone, suspend := "<none>", "<unset>"
		if c.Spec.TimeZone != nil {
			zone = *c.Spec.TimeZone
		}
		if c.Spec.Suspend != nil {
			suspend = map[bool]string{true: "True", false: "False"}[*c.Spec.Suspend]
		}
		names, images := podspec.ContainerCells(c.Spec.JobTemplate.Spec.Template.Spec.Containers)
		return []any{
			c.Name, c.Spec.Schedule, zone, suspend, int64(len(c.Status.Active)), last, kinds.Age(c.CreationTimestamp),
			names, images, metav1.FormatLabelSelector(c.Spec.JobTemplate.Spec.Selector),
		}
	},
})

// validateCronJob holds for creates (old is nil) and updates.
func validateCronJob(s, old *batchv1.CronJobSpec) (errs field.ErrorList) {
	fld := field.NewPath("spec")
	if s.Schedule == "" {
		errs = append(errs, field.Required(fld.Child("schedule"), ""))
	} else {
		errs = append(errs, validateSchedule(s, old != nil && strings.Contains(old.Schedule, "TZ"), fld.Child("schedule"))...)
	}
	errs = append(errs, notNegative(s.StartingDeadlineSeconds, fld.Child("startingDeadlineSeconds"))...)
	if s.TimeZone != nil && (old == nil || !equalPtr(s.TimeZone, old.TimeZone)) {
		errs = append(errs, validateTimeZone(*s.TimeZone, fld.Child("timeZone"))...)
	}
	switch s.ConcurrencyPolicy {
	case batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent:
	case "":
		errs = append(errs, field.Required(fld.Child("concurrencyPolicy"), ""))
	default:
		errs = append(errs, field.NotSupported(fld.Child("concurrencyPolicy"), s.ConcurrencyPolicy,
			[]batchv1.ConcurrencyPolicy{batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent}))
	}
	job, at := &s.JobTemplate.Spec, fld.Child("jobTemplate", "spec")
	var template *corev1.PodTemplateSpec
	if old != nil {
		template = &old.JobTemplate.Spec.Template
	}
	errs = append(errs, validateJobSpec(job, template, at)...)
	if job.Selector != nil {
		errs = append(errs, field.Invalid(at.Child("selector"), job.Selector, "`selector` will be auto-generated"))
	}
	if job.ManualSelector != nil && *job.ManualSelector {
		errs = append(errs, field.NotSupported(at.Child("manualSelector"), job.ManualSelector, []string{"nil", "false"}))
	}
	errs = append(errs, notNegative(s.SuccessfulJobsHistoryLimit, fld.Child("successfulJobsHistoryLimit"))...)
	return append(errs, notNegative(s.FailedJobsHistoryLimit, fld.Child("failedJobsHistoryLimit"))...)
}

func validateSchedule(s *batchv1.CronJobSpec, zoneAllowed bool, fld *field.Path) (errs field.ErrorList) {
	if _, err := ParseSchedule(s.Schedule); err != nil {
		errs = append(errs, field.Invalid(fld, s.Schedule, err.Error()))
	}
	switch zoned := strings.Contains(s.Schedule, "TZ"); {
	case zoned && !zoneAllowed:
		errs = append(errs, field.Invalid(fld, s.Schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
	case zoned && s.TimeZone != nil:
		errs = append(errs, field.Invalid(fld, s.Schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
	}
	return errs
}

var zoneNamePart = regexp.MustCompile(`^[A-Za-z\.\-_0-9+]{1,14}$`)

func validateTimeZone(zone string, fld *field.Path) (errs field.ErrorList) {
	if zone == "" {
		return field.ErrorList{field.Invalid(fld, zone, "timeZone must be nil or non-empty string")}
	}
	for part := range strings.SplitSeq(zone, "/") {
		if part == "." || part == ".." || strings.HasPrefix(part, "-") || !zoneNamePart.MatchString(part) {
			return field.ErrorList{field.Invalid(fld, zone, fmt.Sprintf("unknown time zone %s", zone))}
		}
	}
	if strings.EqualFold(zone, "Local") {
		errs = append(errs, field.Invalid(fld, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
	}
	if _, err := time.LoadLocation(zone); err != nil {
		errs = append(errs, field.Invalid(fld, zone, err.Error()))
	}
	return errs
}

func notNegative[T int32 | int64](v *T, fld *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	return apivalidation.ValidateNonnegativeField(int64(*v), fld)
}

func setDefault[T any](to **T, value T) {
	if *to == nil {
		*to = &value
	}
}

func equalPtr[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
