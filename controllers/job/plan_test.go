package job

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestIntervals(t *testing.T) {
	for _, c := range []struct {
		text string
		add  [][2]int
		want string
	}{
		{"", [][2]int{{3, 3}}, "3"},
		{"1", [][2]int{{2, 2}}, "1,2"},
		{"1,2", [][2]int{{3, 3}}, "1-3"},
		{"1,3-5,7", [][2]int{{6, 6}}, "1,3-7"},
		{"1,3-5,7", [][2]int{{0, 9}}, "0-9"},
		{"5", [][2]int{{1, 1}, {3, 3}, {2, 2}}, "1-3,5"},
		{"2-20", nil, "2-9"},    // no index at or past the completions
		{"12,1,x,4-", nil, "1"}, // what somebody wrote into status that is no index
	} {
		s := parseIntervals(c.text, 10)
		for _, v := range c.add {
			s = s.with(v[0], v[1])
		}
		if got := s.String(); got != c.want {
			t.Errorf("%q with %v: %q, want %q", c.text, c.add, got, c.want)
		}
		n := 0
		for i := range 12 {
			if s.has(i) {
				n++
			}
		}
		if n != s.total() {
			t.Errorf("%q has %d indexes, and says %d", c.want, n, s.total())
		}
	}
}

// TestBackoff: 10 s, doubled at each failure in a row, 10 minutes at most; a success ends the row.
func TestBackoff(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	ended := func(phase corev1.PodPhase, ago time.Duration) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{
			{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now.Add(-ago))}}},
		}}}
	}
	b := backoff{}
	for i, want := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
		b = b.with(nil, []*corev1.Pod{ended(corev1.PodFailed, 0)})
		if got := b.left(now); got != want*time.Second {
			t.Errorf("after %d failures: %v, want %v", i+1, got, want*time.Second)
		}
	}
	b = b.with([]*corev1.Pod{ended(corev1.PodSucceeded, 5*time.Second)}, []*corev1.Pod{ended(corev1.PodFailed, 9*time.Second), ended(corev1.PodFailed, 4*time.Second)})
	if got := b.left(now); got != 6*time.Second {
		t.Errorf("one failure since the last success, 4 s ago: %v, want 6 s", got)
	}
	if got := b.left(now.Add(6 * time.Second)); got != 0 {
		t.Errorf("6 s later: %v, want 0", got)
	}
}

func TestFailurePolicy(t *testing.T) {
	name, exit := "c", func(op batchv1.PodFailurePolicyOnExitCodesOperator, values ...int32) *batchv1.PodFailurePolicyOnExitCodesRequirement {
		return &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: op, Values: values}
	}
	named := exit(batchv1.PodFailurePolicyOnExitCodesOpIn, 1)
	named.ContainerName = &name
	pod := func(container string, code int32) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}, Status: corev1.PodStatus{
			Conditions:        []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}},
		}}
	}
	in, notIn := batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn
	disrupted := []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}
	for i, c := range []struct {
		rule batchv1.PodFailurePolicyRule
		pod  *corev1.Pod
		want match
	}{
		{batchv1.PodFailurePolicyRule{Action: batchv1.PodFailurePolicyActionFailJob, OnExitCodes: exit(in, 7, 8)}, pod("c", 8),
			match{batchv1.PodFailurePolicyActionFailJob, true, "Container c for pod n/p failed with exit code 8 matching FailJob rule at index 0"}},
		{batchv1.PodFailurePolicyRule{Action: batchv1.PodFailurePolicyActionFailJob, OnPodConditions: disrupted}, pod("c", 8),
			match{batchv1.PodFailurePolicyActionFailJob, true, "Pod n/p has condition DisruptionTarget matching FailJob rule at index 0"}},
		{batchv1.PodFailurePolicyRule{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: disrupted}, pod("c", 8), match{action: batchv1.PodFailurePolicyActionIgnore}},
		{batchv1.PodFailurePolicyRule{Action: batchv1.PodFailurePolicyActionIgnore, OnExitCodes: exit(notIn, 7)}, pod("c", 0), match{counts: true}}, // zero is no failure
		{batchv1.PodFailurePolicyRule{Action: batchv1.PodFailurePolicyActionIgnore, OnExitCodes: named}, pod("other", 1), match{counts: true}},
		{batchv1.PodFailurePolicyRule{Action: batchv1.PodFailurePolicyActionFailIndex, OnExitCodes: named}, pod("c", 1), match{batchv1.PodFailurePolicyActionFailIndex, true, ""}},
	} {
		if got := matchFailure(&batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{c.rule}}, c.pod); got != c.want {
			t.Errorf("%d: %+v, want %+v", i, got, c.want)
		}
	}
}

func TestSuccessPolicy(t *testing.T) {
	text, two := "1-3", int32(2)
	for _, c := range []struct {
		rule      batchv1.SuccessPolicyRule
		succeeded string
		met       bool
	}{
		{batchv1.SuccessPolicyRule{SucceededIndexes: &text}, "0-2", false},
		{batchv1.SuccessPolicyRule{SucceededIndexes: &text}, "0-4", true},
		{batchv1.SuccessPolicyRule{SucceededIndexes: &text, SucceededCount: &two}, "0,3", false},
		{batchv1.SuccessPolicyRule{SucceededIndexes: &text, SucceededCount: &two}, "1,3", true},
		{batchv1.SuccessPolicyRule{SucceededCount: &two}, "7", false},
		{batchv1.SuccessPolicyRule{SucceededCount: &two}, "7,9", true},
	} {
		got := matchSuccess(&batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{c.rule}}, 10, parseIntervals(c.succeeded, 10))
		if (got != "") != c.met {
			t.Errorf("%s with %s: %q", fmt.Sprint(c.rule.SucceededIndexes != nil, c.rule.SucceededCount != nil), c.succeeded, got)
		}
	}
}
