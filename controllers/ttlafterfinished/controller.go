// Package ttlafterfinished deletes Jobs, with all that they own, some time after they have finished.
package ttlafterfinished

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/batch"
)

// New is the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "ttlafterfinished", Component: "ttl-after-finished-controller",
		Inputs:  []controllers.Input{{Kind: batch.Job, Keys: controllers.Self}},
		Outputs: []controllers.Output{{Kind: batch.Job, Fields: "delete when ttlSecondsAfterFinished have passed"}},
		Plan:    Plan,
	}
}

// Plan deletes a Job when its time has come, and comes back then when it has not.
func Plan(s controllers.Snapshot, key controllers.Key, now time.Time) (p controllers.Plan) {
	job, ok := controllers.As[*batchv1.Job](s, batch.Job, key.Namespace, key.Name)
	if !ok || job.DeletionTimestamp != nil || job.Spec.TTLSecondsAfterFinished == nil {
		return p
	}
	for _, c := range job.Status.Conditions {
		if c.Type != batchv1.JobComplete && c.Type != batchv1.JobFailed || c.Status != corev1.ConditionTrue || c.LastTransitionTime.IsZero() {
			continue
		}
		left := c.LastTransitionTime.Add(time.Duration(*job.Spec.TTLSecondsAfterFinished) * time.Second).Sub(now)
		if left > 0 {
			p.RequeueAfter = left
			return p
		}
		d := controllers.DeleteOf(batch.Job, job)
		// The version too: the time may just have been prolonged.
		d.ResourceVersion, d.Propagation = job.ResourceVersion, metav1.DeletePropagationForeground
		p.Deletes = []controllers.Delete{d}
		return p
	}
	return p
}
