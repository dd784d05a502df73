// Package job runs pods until enough of them have succeeded, or too many have failed.
//
// It owns the existence of a Job's pods, their controller reference and tracking finalizer, and the Job's status. A pod that ended is counted once and is never
// lost, whoever deletes it and wherever the process dies: its finalizer keeps it until status.uncountedTerminatedPods has its UID, and the UID stays there until the
// finalizer is gone; only then it is a number. What a plan finds is what it goes by: the conditions SuccessCriteriaMet and FailureTarget say that a Job will end,
// and Complete or Failed follow when all pods are counted and none is terminating any more.
//
// Jobs with another managedBy are left alone, with their pods.
package job

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/batch"
	"github.com/tenet-run/tenet/kinds/core"
)

// gather is how long changes of pods are gathered, so that pods that end together are counted together. Upstream waits a second.
const gather = 100 * time.Millisecond

// New is the controller. Its keys are Jobs, and pods (with a Kind) that no Job waits for.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "job", Component: "job-controller",
		Inputs: []controllers.Input{
			{Kind: batch.Job, Keys: jobKeys},
			{Kind: core.Pod, Keys: podKeys, Delay: gather},
		},
		Outputs: []controllers.Output{
			{Kind: core.Pod, Fields: "create and delete to match a Job"},
			{Kind: core.Pod, Fields: "metadata.ownerReferences[Job]"},
			{Kind: core.Pod, Fields: "metadata.finalizers[" + batchv1.JobTrackingFinalizer + "]"},
			{Kind: batch.Job, Fields: "status"},
		},
		Plan: Plan,
	}
}

// jobKeys names the Job, and the pods that a Job leaves behind.
func jobKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	keys := []controllers.Key{controllers.KeyOf(c.Object())}
	if c.New == nil {
		for _, pod := range client.All[*corev1.Pod](r.Owned(core.Pod, c.Old.GetNamespace(), c.Old.GetUID())) {
			if tracked(pod) {
				keys = append(keys, podKey(pod))
			}
		}
	}
	return keys
}

var ownerKeys = controllers.OwnedBy(batch.Job)

// podKeys names the Jobs that own a pod, or may adopt it, and the pod itself when it has the finalizer of a Job that is not there.
func podKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	keys := ownerKeys(r, k, c)
	pod, ok := c.New.(*corev1.Pod)
	if !ok {
		return keys
	}
	ref := metav1.GetControllerOfNoCopy(pod)
	if tracked(pod) && orphaned(r, pod, ref) {
		keys = append(keys, podKey(pod))
	}
	if ref != nil || pod.DeletionTimestamp != nil || len(pod.Labels) == 0 {
		return keys
	}
	for _, job := range controllers.All[*batchv1.Job](r, batch.Job, pod.Namespace) {
		selector, err := metav1.LabelSelectorAsSelector(job.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(pod.Labels)) {
			keys = append(keys, controllers.KeyOf(job))
		}
	}
	return keys
}

func podKey(pod *corev1.Pod) controllers.Key {
	return controllers.Key{Kind: core.Pod, Namespace: pod.Namespace, Name: pod.Name}
}

func tracked(pod *corev1.Pod) bool {
	return slices.Contains(pod.Finalizers, batchv1.JobTrackingFinalizer)
}

// orphaned reports whether no Job will ever count a pod: it has no controller, or one that was a Job and is gone or finished.
func orphaned(r controllers.Reader, pod *corev1.Pod, ref *metav1.OwnerReference) bool {
	if ref == nil {
		return true
	}
	if !kinds.IsKind(batch.Job, ref.APIVersion, ref.Kind) {
		return false
	}
	job, ok := controllers.As[*batchv1.Job](r, batch.Job, pod.Namespace, ref.Name)
	if !ok || job.UID != ref.UID {
		return true
	}
	return !elsewhere(job) && finished(job)
}

// elsewhere reports whether another controller manages the Job.
func elsewhere(job *batchv1.Job) bool {
	return job.Spec.ManagedBy != nil && *job.Spec.ManagedBy != batchv1.JobControllerName
}

func finished(job *batchv1.Job) bool {
	return isTrue(job, batchv1.JobComplete) || isTrue(job, batchv1.JobFailed)
}
