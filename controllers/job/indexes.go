package job

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/controllers"
)

// intervals are sets of indexes: rising, apart from each other, ends included. In text: "1,3-5,7".
type intervals [][2]int

// parseIntervals reads text, up to the number of completions. What cannot be read is left out: status may have been written by anybody.
func parseIntervals(text string, completions int) (out intervals) {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && ranged {
			last, err = strconv.Atoi(to)
		}
		if err != nil || first >= completions {
			continue
		}
		out = out.with(first, min(last, completions-1))
	}
	return out
}

// with adds the indexes from first to last.
func (s intervals) with(first, last int) (out intervals) {
	for i, v := range s {
		switch {
		case v[1]+1 < first:
			out = append(out, v)
		case v[0] > last+1:
			return append(append(out, [2]int{first, last}), s[i:]...)
		default:
			first, last = min(first, v[0]), max(last, v[1])
		}
	}
	return append(out, [2]int{first, last})
}

func (s intervals) total() (n int) {
	for _, v := range s {
		n += v[1] - v[0] + 1
	}
	return n
}

func (s intervals) has(i int) bool {
	_, found := slices.BinarySearchFunc(s, i, func(v [2]int, i int) int {
		switch {
		case v[1] < i:
			return -1
		case v[0] > i:
			return 1
		}
		return 0
	})
	return found
}

func (s intervals) String() string {
	var parts []string
	for _, v := range s {
		first, last := strconv.Itoa(v[0]), strconv.Itoa(v[1])
		switch v[1] - v[0] {
		case 0:
			parts = append(parts, first)
		case 1:
			parts = append(parts, first, last)
		default:
			parts = append(parts, first+"-"+last)
		}
	}
	return strings.Join(parts, ",")
}

func indexed(job *batchv1.Job) bool {
	return job.Spec.CompletionMode != nil && *job.Spec.CompletionMode == batchv1.IndexedCompletion
}

// indexOf is the index that a pod says it has.
func indexOf(pod *corev1.Pod) (int, bool) {
	i, err := strconv.Atoi(pod.Annotations[batchv1.JobCompletionIndexAnnotation])
	return i, err == nil && i >= 0
}

// index is a pod's index, if the Job has it.
func (w *work) index(pod *corev1.Pod) (int, bool) {
	i, ok := indexOf(pod)
	return i, ok && w.job.Spec.Completions != nil && i < int(*w.job.Spec.Completions)
}

// countIndexes finds the indexes that succeeded, and with a limit for each index those that failed: by status, and by pods that are not in it yet.
func (w *work) countIndexes() {
	completions := int(*w.job.Spec.Completions)
	w.hadSucceeded = parseIntervals(w.job.Status.CompletedIndexes, completions)
	w.haveSucceeded = w.hadSucceeded
	var failed intervals
	if w.job.Status.FailedIndexes != nil {
		failed = parseIntervals(*w.job.Status.FailedIndexes, completions)
	}
	for _, pod := range w.pods {
		i, ok := w.index(pod)
		if !ok || !tracked(pod) {
			continue
		}
		if pod.Status.Phase == corev1.PodSucceeded {
			w.haveSucceeded = w.haveSucceeded.with(i, i)
		}
		if w.job.Spec.BackoffLimitPerIndex != nil && w.indexFailed(pod) {
			failed = failed.with(i, i)
		}
	}
	w.succeeded = int32(w.haveSucceeded.total())
	if w.job.Spec.BackoffLimitPerIndex != nil {
		w.failedIndexes = &failed
	}
}

// indexFailed reports whether an index has failed for good with this pod.
func (w *work) indexFailed(pod *corev1.Pod) bool {
	if !w.podFailed(pod) {
		return false
	}
	m := matchFailure(w.job.Spec.PodFailurePolicy, pod)
	return m.action == batchv1.PodFailurePolicyActionFailIndex || m.counts && number(pod, batchv1.JobIndexFailureCountAnnotation) >= int(*w.job.Spec.BackoffLimitPerIndex)
}

// number reads a count that we wrote into an annotation; what cannot be one is zero.
func number(pod *corev1.Pod, annotation string) int {
	n, err := strconv.Atoi(pod.Annotations[annotation])
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0
	}
	return n
}

func allFailures(pod *corev1.Pod) int {
	return number(pod, batchv1.JobIndexFailureCountAnnotation) + number(pod, batchv1.JobIndexIgnoredFailureCountAnnotation)
}

// failuresAfter is how often an index has failed when a pod has: counted, and ignored by policy.
func (w *work) failuresAfter(pod *corev1.Pod) (counted, ignored int) {
	if pod == nil {
		return 0, 0
	}
	counted, ignored = number(pod, batchv1.JobIndexFailureCountAnnotation), number(pod, batchv1.JobIndexIgnoredFailureCountAnnotation)
	if matchFailure(w.job.Spec.PodFailurePolicy, pod).counts {
		return counted + 1, ignored
	}
	return counted, ignored + 1
}

// keepFailed finds the last failed pod of each index that has no other pod: its count of failures is wanted for the next one.
func (w *work) keepFailed() {
	w.kept = map[int]*corev1.Pod{}
	active := map[int]bool{}
	for _, pod := range w.active {
		if i, ok := indexOf(pod); ok {
			active[i] = true
		}
	}
	for _, pod := range w.pods {
		i, ok := w.index(pod)
		if !ok || !tracked(pod) || !w.podFailed(pod) || w.haveSucceeded.has(i) || w.failedIndexes.has(i) || active[i] {
			continue
		}
		if last := w.kept[i]; last == nil || allFailures(last) <= allFailures(pod) && !finishTime(pod).Before(finishTime(last)) {
			w.kept[i] = pod
		}
	}
}

// pending is the first n indexes without a pod, success or failure.
func (w *work) pending(n int) (out []int) {
	taken := w.haveSucceeded
	add := func(pods []*corev1.Pod) {
		for _, pod := range pods {
			if i, ok := indexOf(pod); ok {
				taken = taken.with(i, i)
			}
		}
	}
	add(w.active)
	if replacesOnlyEnded(w.job) {
		for _, pod := range w.pods {
			if controllers.PodTerminating(pod) {
				add([]*corev1.Pod{pod})
			}
		}
	}
	if w.failedIndexes != nil {
		for _, v := range *w.failedIndexes {
			taken = taken.with(v[0], v[1])
		}
	}
	next, completions := 0, int(*w.job.Spec.Completions)
	for _, v := range append(taken, [2]int{completions, completions}) {
		for ; next < min(v[0], completions) && len(out) < n; next++ {
			out = append(out, next)
		}
		next = max(next, v[1]+1)
	}
	return out
}

// due is the indexes whose backoff is over. When there are none, the plan comes back when the first one is.
func (w *work) due(indexes []int) (out []int) {
	var next time.Duration
	for _, i := range indexes {
		pod := w.kept[i]
		if pod == nil {
			out = append(out, i)
			continue
		}
		left := backoff{failures: allFailures(pod) + 1, last: finishTime(pod)}.left(w.now)
		if left == 0 {
			out = append(out, i)
		} else if next == 0 || left < next {
			next = left
		}
	}
	if next > 0 {
		w.wait(next)
	}
	return out
}
