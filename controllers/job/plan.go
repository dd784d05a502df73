package job

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/batch"
	"github.com/tenet-run/tenet/kinds/core"
)

// burst is how many pods one plan makes or deletes at most, and maxUncounted how many it counts, as upstream.
const (
	burst        = 500
	maxUncounted = 500
)

// Plan makes and deletes pods of a Job, counts those that ended, and says in status what there is and what comes of it.
func Plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	if key.Kind == core.Pod {
		return planOrphan(s, key)
	}
	job, ok := controllers.As[*batchv1.Job](s, batch.Job, key.Namespace, key.Name)
	if !ok || elsewhere(job) {
		return controllers.Plan{}
	}
	if finished(job) {
		var p controllers.Plan
		for _, pod := range client.All[*corev1.Pod](s.Owned(core.Pod, job.Namespace, job.UID)) {
			if tracked(pod) && metav1.IsControlledBy(pod, job) {
				p.Patches = append(p.Patches, untrack(pod))
			}
		}
		return p
	}
	selector, err := metav1.LabelSelectorAsSelector(job.Spec.Selector)
	if err != nil || selector.Empty() {
		return controllers.Plan{} // an object that validation lets through has one
	}
	claimed := controllers.Claim(job, batch.Job, core.Pod, selector, candidates(s, job, selector), batchv1.JobTrackingFinalizer)
	if len(claimed.Patches) > 0 {
		return controllers.Plan{Requires: claimed.Requires, Patches: claimed.Patches, Remember: s.Memory} // that changes pods, which brings the next plan
	}
	return observe(s, job, claimed.Objects, now).plan()
}

// candidates is the pods that are owned, and those without a controller that match.
func candidates(s controllers.Reader, job *batchv1.Job, selector labels.Selector) []*corev1.Pod {
	pods := slices.DeleteFunc(client.All[*corev1.Pod](s.Owned(core.Pod, job.Namespace, job.UID)), func(p *corev1.Pod) bool { return !metav1.IsControlledBy(p, job) })
	for _, pod := range client.All[*corev1.Pod](s.List(core.Pod, job.Namespace, selector)) {
		if metav1.GetControllerOfNoCopy(pod) == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// planOrphan lets go of a pod that no Job counts.
func planOrphan(s controllers.Reader, key controllers.Key) (p controllers.Plan) {
	pod, ok := controllers.As[*corev1.Pod](s, core.Pod, key.Namespace, key.Name)
	if ok && tracked(pod) && orphaned(s, pod, metav1.GetControllerOfNoCopy(pod)) {
		p.Patches = []controllers.Patch{untrack(pod)}
	}
	return p
}

func untrack(pod *corev1.Pod) controllers.Patch {
	return trackPatch(pod, "$deleteFromPrimitiveList/finalizers")
}

func trackPatch(pod *corev1.Pod, change string) controllers.Patch {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID, change: []string{batchv1.JobTrackingFinalizer}}})
	if err != nil {
		panic(err) // strings and maps always encode
	}
	return controllers.PatchOf(core.Pod, pod, types.StrategicMergePatchType, data)
}

// work is one look at a Job: what is, and what follows from it.
type work struct {
	s   controllers.Snapshot
	now time.Time
	was *batchv1.Job
	job *batchv1.Job // a private copy, whose status is brought to what is seen

	pods, active                []*corev1.Pod
	ready, terminating          int32
	succeeded, failed           int32 // with those that are not counted in status yet
	uncountedOK, uncountedBad   map[types.UID]bool
	backoff                     backoff // with what is new; remembered when it is in status
	hadSucceeded, haveSucceeded intervals
	failedIndexes               *intervals
	kept                        map[int]*corev1.Pod // failed pods that are kept until their index has a pod again
	end                         *batchv1.JobCondition
	events                      []controllers.Event
	again                       time.Duration
}

func observe(s controllers.Snapshot, job *batchv1.Job, pods []*corev1.Pod, now time.Time) *work {
	w := &work{s: s, now: now, was: job, job: job.DeepCopy(), pods: pods, uncountedOK: map[types.UID]bool{}, uncountedBad: map[types.UID]bool{}}
	st := &w.job.Status
	if st.UncountedTerminatedPods == nil {
		st.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	for _, uid := range st.UncountedTerminatedPods.Succeeded {
		w.uncountedOK[uid] = true
	}
	for _, uid := range st.UncountedTerminatedPods.Failed {
		w.uncountedBad[uid] = true
	}
	var newOK, newBad []*corev1.Pod
	ignored := int32(0)
	for _, pod := range pods {
		switch {
		case controllers.PodActive(pod):
			w.active = append(w.active, pod)
			if controllers.PodReady(pod) != nil {
				w.ready++
			}
		case controllers.PodTerminating(pod):
			w.terminating++
		}
		if w.valid(pod) && pod.Status.Phase == corev1.PodSucceeded && !w.uncountedOK[pod.UID] {
			newOK = append(newOK, pod)
		}
		if w.valid(pod) && w.podFailed(pod) && !w.uncountedBad[pod.UID] {
			newBad = append(newBad, pod)
			if !matchFailure(job.Spec.PodFailurePolicy, pod).counts {
				ignored++
			}
		}
	}
	w.succeeded = st.Succeeded + int32(len(newOK)+len(w.uncountedOK))
	w.failed = st.Failed + int32(len(newBad)+len(w.uncountedBad)) - ignored
	w.backoff = w.remembered().with(newOK, newBad)
	if st.StartTime == nil && !suspended(job) {
		st.StartTime = &metav1.Time{Time: now}
	}
	return w
}

// valid: a pod that is to be counted has the finalizer and, of an indexed Job, an index within its completions.
func (w *work) valid(pod *corev1.Pod) bool {
	if !tracked(pod) {
		return false
	}
	if !indexed(w.job) {
		return true
	}
	_, ok := w.index(pod)
	return ok
}

// podFailed: unless only ended pods are replaced, one that is being deleted counts as failed, for it may never come to say so. Where the Job's success deleted
// it, it does not.
func (w *work) podFailed(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodFailed {
		return true
	}
	return pod.DeletionTimestamp != nil && pod.Status.Phase != corev1.PodSucceeded && !replacesOnlyEnded(w.job) && !isTrue(w.was, batchv1.JobSuccessCriteriaMet)
}

func suspended(job *batchv1.Job) bool { return job.Spec.Suspend != nil && *job.Spec.Suspend }

func replacesOnlyEnded(job *batchv1.Job) bool {
	return job.Spec.PodReplacementPolicy != nil && *job.Spec.PodReplacementPolicy == batchv1.Failed || job.Spec.PodFailurePolicy != nil
}

// plan decides whether the Job ends; if not, which pods it needs. What status says of that depends on how it went.
func (w *work) plan() controllers.Plan {
	w.decide()
	p := controllers.Plan{Remember: w.s.Memory}
	managed := false
	switch {
	case w.end != nil && w.end.Type == batchv1.JobSuccessCriteriaMet && !isTrue(w.was, batchv1.JobSuccessCriteriaMet):
		// That is written first: a pod that is being deleted would count as failed.
	case w.end != nil:
		for _, pod := range w.active {
			p.Deletes = append(p.Deletes, w.remove(pod))
		}
	case w.job.DeletionTimestamp == nil:
		managed = true
		w.manage(&p)
	}
	p.RequeueAfter = w.again
	deletes := p.Deletes
	p.Then = func(out controllers.Outcome) controllers.Plan {
		if controllers.Stale(out.Err) {
			return controllers.Plan{Remember: w.s.Memory} // the next plan knows better
		}
		return w.track(deletes, out, managed)
	}
	return p
}

// decide says whether the Job has come to its end: as an earlier plan has found, then by failure, then by success.
func (w *work) decide() {
	job, spec := w.job, &w.job.Spec
	if c := condition(job, batchv1.JobSuccessCriteriaMet); c != nil && c.Status == corev1.ConditionTrue {
		w.end = c.DeepCopy()
	} else if c := condition(job, batchv1.JobFailureTarget); c != nil && c.Status == corev1.ConditionTrue {
		w.end = w.condition(batchv1.JobFailed, c.Reason, c.Message)
	} else if message := w.failMessage(); message != "" {
		w.end = w.condition(batchv1.JobFailureTarget, batchv1.JobReasonPodFailurePolicy, message)
	}
	fail := func(reason, message string) {
		if w.end == nil {
			w.end = w.condition(batchv1.JobFailureTarget, reason, message)
		}
	}
	if w.end == nil {
		switch deadline := spec.ActiveDeadlineSeconds; {
		case w.failed > *spec.BackoffLimit || w.restartsExceeded():
			fail(batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit")
		case deadline != nil && !suspended(job) && job.Status.StartTime != nil:
			left := job.Status.StartTime.Add(time.Duration(*deadline) * time.Second).Sub(w.now)
			if left <= 0 {
				fail(batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline")
			} else {
				w.wait(left)
			}
		}
	}
	if !indexed(job) {
		return
	}
	w.countIndexes()
	if w.failedIndexes != nil {
		if most := spec.MaxFailedIndexes; most != nil && w.failedIndexes.total() > int(*most) {
			fail(batchv1.JobReasonMaxFailedIndexesExceeded, "Job has exceeded the specified maximal number of failed indexes")
		} else if n := w.failedIndexes.total(); n > 0 && n+w.haveSucceeded.total() >= int(*spec.Completions) {
			fail(batchv1.JobReasonFailedIndexes, "Job has failed indexes")
		}
		w.keepFailed()
	}
	if w.end == nil {
		if message := matchSuccess(spec.SuccessPolicy, int(*spec.Completions), w.haveSucceeded); message != "" {
			w.end = w.condition(batchv1.JobSuccessCriteriaMet, batchv1.JobReasonSuccessPolicy, message)
		}
	}
}

func (w *work) wait(d time.Duration) {
	if w.again == 0 || d < w.again {
		w.again = d
	}
}

// restartsExceeded holds the restarts of containers against the limit, where pods restart them themselves.
func (w *work) restartsExceeded() bool {
	if w.job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		return false
	}
	n := int32(0)
	for _, pod := range w.pods {
		if pod.Status.Phase == corev1.PodRunning || pod.Status.Phase == corev1.PodPending {
			for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
				for i := range list {
					n += list[i].RestartCount
				}
			}
		}
	}
	limit := *w.job.Spec.BackoffLimit
	return n >= max(limit, 1)
}

func (w *work) condition(t batchv1.JobConditionType, reason, message string) *batchv1.JobCondition {
	at := metav1.NewTime(w.now)
	return &batchv1.JobCondition{Type: t, Status: corev1.ConditionTrue, LastProbeTime: at, LastTransitionTime: at, Reason: reason, Message: message}
}

func condition(job *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		if job.Status.Conditions[i].Type == t {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}

func isTrue(job *batchv1.Job, t batchv1.JobConditionType) bool {
	c := condition(job, t)
	return c != nil && c.Status == corev1.ConditionTrue
}

// byIndex is pods in the order of their indexes; those without one first.
func (w *work) byIndex(pods []*corev1.Pod) []*corev1.Pod {
	at := func(p *corev1.Pod) int {
		if i, ok := indexOf(p); ok {
			return i
		}
		return -1
	}
	return slices.SortedStableFunc(slices.Values(pods), func(a, b *corev1.Pod) int { return cmp.Compare(at(a), at(b)) })
}
