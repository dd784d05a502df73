package job

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/batch"
)

// track says in status what there is, once pods have been made and deleted: first that pods ended, by their UIDs, and what comes of it; when that is written, it
// takes their finalizers away; and a later plan, which sees that, makes numbers of the UIDs and declares the end.
func (w *work) track(deletes []controllers.Delete, out controllers.Outcome, managed bool) controllers.Plan {
	job, st := w.job, &w.job.Status
	w.count(deletes, out)
	if w.end != nil && out.Err != nil {
		w.end = nil // some of its pods may still be there
	}
	if w.end == nil {
		w.complete(managed)
	}
	letGo, all := w.tally()
	if indexed(job) {
		st.Succeeded = int32(w.haveSucceeded.total())
		st.CompletedIndexes = w.haveSucceeded.String()
		st.FailedIndexes = nil
		if w.failedIndexes != nil {
			text := w.failedIndexes.String()
			st.FailedIndexes = &text
		}
	}
	if w.end != nil {
		w.conclude(all && len(letGo) == 0)
	}

	p := controllers.Plan{Remember: w.s.Memory, Events: w.events}
	if !equality.Semantic.DeepEqual(w.was.Status, *st) {
		p.StatusUpdates = []controllers.Update{{Kind: batch.Job, Object: job}}
	}
	p.Then = func(out controllers.Outcome) controllers.Plan {
		if out.Err != nil {
			return controllers.Plan{Remember: w.s.Memory}
		}
		p := controllers.Plan{Remember: w.backoff}
		for _, pod := range letGo {
			p.Patches = append(p.Patches, untrack(pod))
		}
		return p
	}
	return p
}

// count says how many pods are active, ready and terminating after the writes, as far as that is known.
func (w *work) count(deletes []controllers.Delete, out controllers.Outcome) {
	active, ready, terminating := int32(len(w.active)), w.ready, w.terminating
	if out.Err == nil {
		for _, pod := range w.active {
			if slices.ContainsFunc(deletes, func(d controllers.Delete) bool { return d.UID == pod.UID }) {
				active, terminating = active-1, terminating+1
				if controllers.PodReady(pod) != nil {
					ready--
				}
			}
		}
	}
	for _, obj := range out.Created {
		if obj != nil {
			active++
		}
	}
	st := &w.job.Status
	st.Active, st.Ready, st.Terminating = active, &ready, &terminating
}

// complete finds out whether enough pods have succeeded, and if not, whether the Job was suspended or resumed.
func (w *work) complete(managed bool) {
	job, st := w.job, &w.job.Status
	enough := w.succeeded > 0
	if job.Spec.Completions != nil {
		enough = w.succeeded >= *job.Spec.Completions
	}
	switch {
	case enough && st.Active == 0:
		w.end = w.condition(batchv1.JobSuccessCriteriaMet, batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods")
	case !managed:
	case suspended(job):
		if w.setSuspended(corev1.ConditionTrue, "JobSuspended", "Job suspended") {
			w.say(corev1.EventTypeNormal, "Suspended", "Job suspended")
			st.StartTime = nil
		}
	case w.setSuspended(corev1.ConditionFalse, "JobResumed", "Job resumed"):
		w.say(corev1.EventTypeNormal, "Resumed", "Job resumed")
		st.StartTime = &metav1.Time{Time: w.now} // the deadline is for the time that a Job is active at a stretch
	}
}

// setSuspended reports whether it changed the condition. That a Job was never suspended is not said.
func (w *work) setSuspended(status corev1.ConditionStatus, reason, message string) bool {
	c := condition(w.job, batchv1.JobSuspended)
	if c == nil && status == corev1.ConditionFalse || c != nil && c.Status == status && c.Reason == reason && c.Message == message {
		return false
	}
	is := w.condition(batchv1.JobSuspended, reason, message)
	is.Status = status
	if c == nil {
		w.job.Status.Conditions = append(w.job.Status.Conditions, *is)
	} else {
		*c = *is
	}
	return true
}

func (w *work) say(eventType, reason, message string) {
	w.events = append(w.events, controllers.Event{Kind: batch.Job, About: w.job, Type: eventType, Reason: reason, Message: message})
}

// tally makes numbers of the UIDs whose pods have no finalizer any more, and notes the UIDs of those that ended since. letGo are the pods that can go once that is
// written; all: no pod is left for the next time.
func (w *work) tally() (letGo []*corev1.Pod, all bool) {
	held := map[types.UID]bool{}
	for _, pod := range w.pods {
		held[pod.UID] = tracked(pod)
	}
	st := &w.job.Status
	u := st.UncountedTerminatedPods
	settle := func(list *[]types.UID, n *int32) {
		left := slices.DeleteFunc(slices.Clone(*list), func(uid types.UID) bool { return !held[uid] })
		*n += int32(len(*list) - len(left))
		*list = left
	}
	settle(&u.Succeeded, &st.Succeeded)
	settle(&u.Failed, &st.Failed)

	byIndex := indexed(w.job)
	pods := w.pods
	if byIndex {
		pods = w.byIndex(pods)
	}
	failing := w.end != nil && w.end.Type != batchv1.JobSuccessCriteriaMet
	fresh := 0 // indexes that succeeded; they are told by status.completedIndexes
	for _, pod := range pods {
		failed := w.podFailed(pod)
		if !tracked(pod) || !w.canGo(pod, failed) {
			continue
		}
		letGo = append(letGo, pod)
		i, placed := w.index(pod)
		switch {
		case pod.Status.Phase == corev1.PodSucceeded && !w.uncountedBad[pod.UID]:
			if byIndex && placed && !w.hadSucceeded.has(i) {
				fresh++
			}
			if !byIndex && !w.uncountedOK[pod.UID] {
				u.Succeeded = append(u.Succeeded, pod.UID)
			}
		case failed || failing: // of a Job that failed, what did not end is a failure too
			if !w.uncountedBad[pod.UID] && (!byIndex || placed) && matchFailure(w.job.Spec.PodFailurePolicy, pod).counts {
				u.Failed = append(u.Failed, pod.UID)
			}
		}
		if fresh+len(u.Succeeded)+len(u.Failed) >= maxUncounted {
			return letGo, false
		}
	}
	return letGo, true
}

// canGo reports whether a pod's finalizer has done its work: the pod ended or the Job did. The last failed pod of an index is kept until another one is made,
// which takes over its count of failures.
func (w *work) canGo(pod *corev1.Pod, failed bool) bool {
	switch {
	case w.job.DeletionTimestamp != nil || w.end != nil || pod.Status.Phase == corev1.PodSucceeded:
		return true
	case !failed:
		return false
	}
	i, ok := indexOf(pod)
	return !ok || w.kept[i] == nil || w.kept[i].UID != pod.UID
}

// conclude adds the condition that says how the Job will end, or, when that stands there already and nothing is left to be counted, that it has.
func (w *work) conclude(counted bool) {
	st, end := &w.job.Status, w.end
	switch {
	case end.Type == batchv1.JobFailureTarget, end.Type == batchv1.JobSuccessCriteriaMet && !isTrue(w.was, batchv1.JobSuccessCriteriaMet):
		st.Conditions = append(st.Conditions, *end)
		return
	case !counted || len(st.UncountedTerminatedPods.Succeeded)+len(st.UncountedTerminatedPods.Failed) > 0 || *st.Terminating > 0 || st.Active > 0:
		return
	case end.Type == batchv1.JobSuccessCriteriaMet:
		done := w.condition(batchv1.JobComplete, end.Reason, end.Message)
		st.Conditions = append(st.Conditions, *done)
		st.CompletionTime = &done.LastTransitionTime
		if n := w.job.Spec.Completions; n != nil && st.Succeeded > *n {
			w.say(corev1.EventTypeWarning, "TooManySucceededPods", "Too many succeeded pods running after completion count reached")
		}
		w.say(corev1.EventTypeNormal, "Completed", "Job completed")
	default:
		st.Conditions = append(st.Conditions, *end)
		w.say(corev1.EventTypeWarning, end.Reason, end.Message)
	}
}
