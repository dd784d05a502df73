// Package cronjob makes Jobs at the times of a schedule.
//
// It owns the existence of a CronJob's Jobs, and its status. A Job is named after the minute it is for, and says its time in an annotation: whoever died after making one
// finds it again, and no time is served twice, whatever the clock does. A step of the clock is noticed within a minute.
package cronjob

import (
	batchv1 "k8s.io/api/batch/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/batch"
)

// New is the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "cronjob", Component: "cronjob-controller",
		Inputs: []controllers.Input{
			{Kind: batch.CronJob, Keys: controllers.Self},
			{Kind: batch.Job, Keys: controllers.OwnedBy(batch.CronJob)},
		},
		Outputs: []controllers.Output{
			{Kind: batch.Job, Fields: "create at the times of a CronJob, delete when replaced or beyond its history limits"},
			{Kind: batch.CronJob, Fields: "status"},
		},
		Plan: Plan,
	}
}

// ended is the condition by which a Job has finished, or "".
func ended(job *batchv1.Job) batchv1.JobConditionType {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == "True" {
			return c.Type
		}
	}
	return ""
}
