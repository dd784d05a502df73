package nodelifecycle

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds/core"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestTaintsFollowConditions(t *testing.T) {
	cond := func(c corev1.NodeConditionType, s corev1.ConditionStatus) corev1.NodeCondition {
		return corev1.NodeCondition{Type: c, Status: s}
	}
	for _, c := range []struct {
		name          string
		have          string // key:effect ...
		conditions    []corev1.NodeCondition
		unschedulable bool
		down          bool
		want          string
	}{
		{name: "ready", conditions: []corev1.NodeCondition{cond(corev1.NodeReady, "True")}, have: "node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute"},
		{name: "not ready", conditions: []corev1.NodeCondition{cond(corev1.NodeReady, "False")}, want: "node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute"},
		{name: "unreachable after not ready", conditions: []corev1.NodeCondition{cond(corev1.NodeReady, "Unknown")}, have: "node.kubernetes.io/not-ready:NoExecute",
			want: "node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute"},
		{name: "all are down: nobody moves", conditions: []corev1.NodeCondition{cond(corev1.NodeReady, "Unknown")}, down: true, have: "node.kubernetes.io/unreachable:NoExecute",
			want: "node.kubernetes.io/unreachable:NoSchedule"},
		{name: "pressure, and taints of others", conditions: []corev1.NodeCondition{cond(corev1.NodeReady, "True"), cond(corev1.NodeMemoryPressure, "True"), cond(corev1.NodeDiskPressure, "True"), cond(corev1.NodePIDPressure, "False")},
			have: "dedicated:NoExecute node.kubernetes.io/pid-pressure:NoSchedule node.kubernetes.io/memory-pressure:PreferNoSchedule",
			want: "dedicated:NoExecute node.kubernetes.io/memory-pressure:PreferNoSchedule node.kubernetes.io/memory-pressure:NoSchedule node.kubernetes.io/disk-pressure:NoSchedule"},
		{name: "cordoned, network not there", conditions: []corev1.NodeCondition{cond(corev1.NodeReady, "True"), cond(corev1.NodeNetworkUnavailable, "True")}, unschedulable: true,
			want: "node.kubernetes.io/network-unavailable:NoSchedule node.kubernetes.io/unschedulable:NoSchedule"},
		{name: "registered, not heard of yet", have: "node.kubernetes.io/not-ready:NoSchedule", want: "node.kubernetes.io/not-ready:NoSchedule"},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := &corev1.Node{Spec: corev1.NodeSpec{Unschedulable: c.unschedulable}, Status: corev1.NodeStatus{Conditions: c.conditions}}
			for _, text := range strings.Fields(c.have) {
				key, effect, _ := strings.Cut(text, ":")
				node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffect(effect)})
			}
			var got []string
			for _, taint := range mergeTaints(node.Spec.Taints, wantedTaints(node, c.down, now)) {
				got = append(got, taint.Key+":"+string(taint.Effect))
				if taint.Effect == corev1.TaintEffectNoExecute && managed(taint) && (taint.TimeAdded == nil || !taint.TimeAdded.Time.Equal(now)) {
					t.Errorf("%s does not say when it was added", got[len(got)-1])
				}
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

func TestLeavesAt(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	added := metav1.NewTime(now.Add(-time.Minute))
	down := corev1.Taint{Key: "down", Effect: corev1.TaintEffectNoExecute, TimeAdded: &added}
	busy := corev1.Taint{Key: "busy", Value: "very", Effect: corev1.TaintEffectNoExecute}
	for _, c := range []struct {
		name        string
		taints      []corev1.Taint
		tolerations []corev1.Toleration
		bound       time.Duration // before now
		want        string
	}{
		{name: "no taint", want: "stays"},
		{name: "tolerates nothing", taints: []corev1.Taint{down}, want: "at once"},
		{name: "for ever", taints: []corev1.Taint{down, busy}, tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}, want: "stays"},
		{name: "for a while", taints: []corev1.Taint{down}, bound: time.Hour, tolerations: []corev1.Toleration{{Key: "down", Operator: corev1.TolerationOpExists, TolerationSeconds: seconds(300)}}, want: "4m0s"},
		{name: "counted from when it came", taints: []corev1.Taint{down}, bound: 10 * time.Second, tolerations: []corev1.Toleration{{Key: "down", Operator: corev1.TolerationOpExists, TolerationSeconds: seconds(300)}}, want: "4m50s"},
		{name: "the shortest counts", taints: []corev1.Taint{down, busy}, bound: time.Hour, want: "30s", tolerations: []corev1.Toleration{
			{Key: "down", Operator: corev1.TolerationOpExists, TolerationSeconds: seconds(300)}, {Key: "busy", Value: "very", TolerationSeconds: seconds(30)}, {Operator: corev1.TolerationOpExists, TolerationSeconds: seconds(900)}}},
		{name: "another value", taints: []corev1.Taint{busy}, tolerations: []corev1.Toleration{{Key: "busy", Value: "a bit"}}, want: "at once"},
		{name: "another effect", taints: []corev1.Taint{busy}, tolerations: []corev1.Toleration{{Key: "busy", Value: "very", Effect: corev1.TaintEffectNoSchedule}}, want: "at once"},
		{name: "less than no time", taints: []corev1.Taint{busy}, tolerations: []corev1.Toleration{{Key: "busy", Value: "very", TolerationSeconds: seconds(-7)}}, want: "0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now.Add(-c.bound))}, Spec: corev1.PodSpec{Tolerations: c.tolerations}}
			got := "stays"
			if at, leaves := leavesAt(pod, c.taints, now); leaves && at.IsZero() {
				got = "at once"
			} else if leaves {
				got = at.Sub(now).String()
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestRangesAreGivenOnce(t *testing.T) {
	w := controllerstest.NewWorld(func() time.Time { return now })
	for name, cidr := range map[string]string{"a": "", "b": "10.42.0.0/24", "c": "", "d": "10.42.2.0/24", "e": ""} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: cidr}}
		if _, err := w.User().Create(t.Context(), core.Node, node, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	got := controllerstest.PrintPlan(planIPAM(Options{PodCIDR: netip.MustParsePrefix("10.42.0.0/22"), NodeMask: 24}, w.Cache()))
	for node, want := range map[string]string{"a": `"podCIDR":"10.42.1.0/24"`, "c": `"podCIDR":"10.42.3.0/24"`, "e": "Node e status is now: CIDRNotAvailable"} {
		if !slices.ContainsFunc(strings.Split(got, "\n"), func(l string) bool { return strings.Contains(l, want) && strings.Contains(l, node) }) {
			t.Errorf("no %s for node %s in:\n%s", want, node, got)
		}
	}
}

func TestEndedPodsAreKeptUpToALimit(t *testing.T) {
	clock := now
	w := controllerstest.NewWorld(func() time.Time { return clock })
	for _, name := range []string{"first", "second", "evicted", "running"} {
		clock = clock.Add(time.Minute)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		if _, err := w.User().Create(t.Context(), core.Pod, pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pod.Status.Phase = corev1.PodSucceeded
		switch name {
		case "evicted":
			pod.Status.Phase, pod.Status.Reason = corev1.PodFailed, "Evicted"
		case "running":
			pod.Status.Phase = corev1.PodRunning
		}
		if _, err := w.User().Update(t.Context(), core.Pod, pod, "status", metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := controllerstest.PrintPlan(planEnded(w.Cache(), 1)), "delete pod default/evicted\ndelete pod default/first\n"; got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if got := controllerstest.PrintPlan(planEnded(w.Cache(), 3)); got != "" {
		t.Errorf("within the limit, got:\n%s", got)
	}
}
