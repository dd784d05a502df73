package replicaset

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestDoomedFollowsUpstreamsOrder(t *testing.T) {
	pod := func(name string, change ...func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(now.Add(-time.Hour))},
			Spec:       corev1.PodSpec{NodeName: "n1"},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))},
			}},
		}
		for _, c := range change {
			c(p)
		}
		return p
	}
	node := func(n string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = n } }
	phase := func(f corev1.PodPhase) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.Phase = f } }
	unready := func(p *corev1.Pod) { p.Status.Conditions = nil }
	cost := func(c string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.PodDeletionCost: c} }
	}
	readyFor := func(d time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-d)) }
	}
	restarted := func(n int32) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: n}} }
	}
	sidecar := func(n int32) func(*corev1.Pod) {
		always := corev1.ContainerRestartPolicyAlways
		return func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "s", RestartPolicy: &always}, {Name: "i"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "s", RestartCount: n}, {Name: "i", RestartCount: 100 - n}}
		}
	}
	aged := func(d time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(now.Add(-d)) }
	}
	for _, c := range []struct {
		why         string
		first, then *corev1.Pod
		related     []*corev1.Pod
	}{
		{"on no node", pod("b", node("")), pod("a"), nil},
		{"pending", pod("b", phase(corev1.PodPending)), pod("a", phase(corev1.PodUnknown)), nil},
		{"unknown", pod("b", phase(corev1.PodUnknown)), pod("a"), nil},
		{"not ready", pod("b", unready), pod("a", cost("-100")), nil},
		{"cheap", pod("b", cost("-5")), pod("a"), nil},
		{"a cost that is no number is none", pod("b", cost("-1")), pod("a", cost("x")), nil},
		{"crowded", pod("b", node("n2")), pod("a"), []*corev1.Pod{pod("c", node("n2"))}},
		{"ready for a shorter time", pod("b", readyFor(time.Minute)), pod("a", restarted(9)), nil},
		{"as good as equally long: by UID", pod("a", readyFor(61*time.Minute)), pod("b", readyFor(60*time.Minute), restarted(9)), nil},
		{"restarted more often", pod("b", restarted(3)), pod("a", restarted(2), sidecar(9)), nil},
		{"its sidecar restarted more often", pod("b", sidecar(3)), pod("a", sidecar(2)), nil},
		{"younger", pod("b", aged(time.Minute)), pod("a", aged(time.Hour)), nil},
	} {
		t.Run(c.why, func(t *testing.T) {
			for _, active := range [][]*corev1.Pod{{c.first, c.then}, {c.then, c.first}} {
				if got := Doomed(active, append(slices.Clone(active), c.related...), 1, now); len(got) != 1 || got[0] != c.first {
					t.Errorf("got %s, want %s to go first", got[0].Name, c.first.Name)
				}
			}
		})
	}
}

func TestNamesFollowFromTheState(t *testing.T) {
	w := controllerstest.NewWorld(func() time.Time { return now })
	rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "u", ResourceVersion: "7"}}
	pods := []*corev1.Pod{{ObjectMeta: metav1.ObjectMeta{UID: "p"}}}
	names := podNames(w.Cache(), rs, 50, pods)
	for _, name := range names {
		if !regexp.MustCompile(`^web-[bcdfghjklmnpqrstvwxz2456789]{5}$`).MatchString(name) {
			t.Errorf("%q has not the shape that users know", name)
		}
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != 50 {
		t.Error("a name came twice")
	}
	again := podNames(w.Cache(), rs, 50, pods)
	if slices.Sort(again); !slices.Equal(names, again) {
		t.Error("the same state gave other names")
	}
	for what, other := range map[string][]string{
		"another pod":     podNames(w.Cache(), rs, 50, nil),
		"another version": podNames(w.Cache(), &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "u", ResourceVersion: "8"}}, 50, pods),
	} {
		if slices.ContainsFunc(other, func(n string) bool { return slices.Contains(names, n) }) {
			t.Errorf("%s gave a name again", what)
		}
	}
	taken := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: podNames(w.Cache(), rs, 1, pods)[0]}}
	if _, err := w.User().Create(t.Context(), core.Pod, taken, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := podNames(w.Cache(), rs, 1, pods)[0]; got == taken.Name {
		t.Errorf("%q is taken", got)
	}
	rs.Name = strings.Repeat("x", 200)
	if got := podNames(w.Cache(), rs, 1)[0]; len(got) != 63 {
		t.Errorf("a pod's name has %d characters, want 63", len(got))
	}
}

// TestMinReady: a ready pod is available after minReadySeconds, and the plan asks to come back just then.
func TestMinReady(t *testing.T) {
	for _, c := range []struct {
		ready     time.Duration
		available int32
		again     time.Duration
	}{{0, 0, 10 * time.Second}, {4 * time.Second, 0, 6 * time.Second}, {10 * time.Second, 1, 0}} {
		t.Run(fmt.Sprint(c.ready), func(t *testing.T) {
			w := controllerstest.NewWorld(func() time.Time { return now })
			one := int32(1)
			obj, err := w.User().Create(t.Context(), apps.ReplicaSet, &appsv1.ReplicaSet{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
				Spec: appsv1.ReplicaSetSpec{Replicas: &one, MinReadySeconds: 10, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
					Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}}},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", Labels: map[string]string{"a": "b"},
				OwnerReferences: []metav1.OwnerReference{controllers.ControllerRef(obj, apps.ReplicaSet)}}}
			if _, err := w.User().Create(t.Context(), core.Pod, pod, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-c.ready))},
			}}
			if _, err := w.User().Update(t.Context(), core.Pod, pod, "status", metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			p := Plan(controllers.Snapshot{Reader: w.Cache()}, controllers.KeyOf(obj), now).Then(controllers.Outcome{})
			if len(p.StatusUpdates) != 1 {
				t.Fatalf("plan:\n%swant one status update", controllerstest.PrintPlan(p))
			}
			st := p.StatusUpdates[0].Object.(*appsv1.ReplicaSet).Status
			if st.ReadyReplicas != 1 || st.AvailableReplicas != c.available || st.FullyLabeledReplicas != 1 || p.RequeueAfter != c.again {
				t.Errorf("got %+v, again after %v; want %d available, again after %v", st, p.RequeueAfter, c.available, c.again)
			}
		})
	}
}
