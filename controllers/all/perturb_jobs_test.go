package all_test

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/batch"
	"github.com/tenet-run/tenet/kinds/core"
)

// jobs: Jobs succeed, fail for good, by index and by policy, are suspended and go on, get other parallelism, lose a pod to somebody, are deleted, and expire; CronJobs make more.
var jobs = story{
	name: "jobs", writes: 80,
	show: []*kinds.Kind{batch.CronJob, batch.Job, core.Pod},
	act: func(ctx context.Context, c *cluster) {
		c.must(ctx, batch.Job, job("plain", 5, 2, map[string]string{"test/ends": "2s"}, nil))
		c.must(ctx, batch.Job, job("fails", 1, 1, map[string]string{"test/ends": "1s", "test/exit": "1"}, func(s *batchv1.JobSpec) { s.BackoffLimit = number(1) }))
		byIndex := batchv1.IndexedCompletion
		c.must(ctx, batch.Job, job("indexed", 4, 3, map[string]string{"test/ends": "2s", "test/exit-1": "7"}, func(s *batchv1.JobSpec) {
			s.CompletionMode, s.BackoffLimitPerIndex = &byIndex, number(1)
		}))
		c.must(ctx, batch.Job, job("first", 3, 3, map[string]string{"test/ends": "2s", "test/ends-1": "80s", "test/ends-2": "80s"}, func(s *batchv1.JobSpec) {
			s.CompletionMode, s.SuccessPolicy = &byIndex, &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededCount: number(1)}}}
		}))
		c.must(ctx, batch.Job, job("stops", 2, 2, nil, nil))
		c.must(ctx, batch.Job, job("wide", 9, 4, nil, nil))
		c.must(ctx, batch.Job, job("gone", 2, 2, nil, nil))
		c.must(ctx, batch.Job, job("short", 1, 1, map[string]string{"test/ends": "1s"}, func(s *batchv1.JobSpec) { s.TTLSecondsAfterFinished = number(10) }))
		late := int64(30)
		c.must(ctx, batch.Job, job("late", 1, 1, nil, func(s *batchv1.JobSpec) { s.ActiveDeadlineSeconds = &late }))
		c.must(ctx, batch.CronJob, cronJob("often", batchv1.AllowConcurrent, map[string]string{"test/ends": "3s"}))
		c.must(ctx, batch.CronJob, cronJob("replaced", batchv1.ReplaceConcurrent, nil))
		time.Sleep(7500 * time.Millisecond)
		spec := func(name string, change map[string]any) {
			c.patch(ctx, batch.Job, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}, "", map[string]any{"spec": change})
		}
		spec("stops", map[string]any{"suspend": true})
		spec("wide", map[string]any{"parallelism": 2})
		c.remove(ctx, batch.Job, "gone", metav1.DeletePropagationBackground)
		time.Sleep(10 * time.Second)
		spec("stops", map[string]any{"suspend": false})
		spec("wide", map[string]any{"parallelism": 3})
		time.Sleep(5 * time.Second)
		for _, obj := range c.cache.List(core.Pod, "default", nil) {
			if controllers.PodActive(obj.(*corev1.Pod)) && obj.GetLabels()[batchv1.JobNameLabel] == "wide" {
				c.remove(ctx, core.Pod, obj.GetName(), "")
				break
			}
		}
		time.Sleep(200 * time.Second)
	},
}

func number(n int32) *int32 { return &n }

func job(name string, completions, parallelism int32, annotations map[string]string, change func(*batchv1.JobSpec)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: batchv1.JobSpec{
			Completions: &completions, Parallelism: &parallelism,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}, Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "img:1"}},
			}},
		},
	}
	if change != nil {
		change(&j.Spec)
	}
	return j
}

func cronJob(name string, policy batchv1.ConcurrencyPolicy, annotations map[string]string) *batchv1.CronJob {
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: batchv1.CronJobSpec{
			Schedule: "* * * * *", ConcurrencyPolicy: policy, SuccessfulJobsHistoryLimit: number(1),
			JobTemplate: batchv1.JobTemplateSpec{Spec: job(name, 1, 1, annotations, nil).Spec},
		},
	}
}
