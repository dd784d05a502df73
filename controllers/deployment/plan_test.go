package deployment

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// size of a ReplicaSet: replicas, and how many of them are available.
type size struct{ replicas, available int32 }

func rolloutOf(replicas int32, surge, unavailable string, current size, old ...size) *rollout {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	maxSurge, maxUnavailable := intstr.Parse(surge), intstr.Parse(unavailable)
	d.Spec.Replicas = &replicas
	d.Spec.Strategy = appsv1.DeploymentStrategy{
		Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &maxSurge, MaxUnavailable: &maxUnavailable},
	}
	r := &rollout{s: controllers.Snapshot{Reader: controllerstest.NewWorld(time.Now).Cache()}, now: now, stored: d, d: d}
	for i, s := range old {
		r.old = append(r.old, replicaSet(fmt.Sprintf("old-%d", i), now.Add(time.Duration(i)*time.Hour), s))
	}
	r.current = replicaSet("current", now.Add(100*time.Hour), current)
	return r
}

func replicaSet(name string, created time.Time, s size) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(created)},
		Spec:       appsv1.ReplicaSetSpec{Replicas: &s.replicas},
		Status:     appsv1.ReplicaSetStatus{Replicas: s.replicas, AvailableReplicas: s.available},
	}
}

// sizes prints the planned sizes: current, then the old ones, oldest first.
func (r *rollout) sizes() string {
	out := []string{fmt.Sprint(*r.current.Spec.Replicas)}
	for _, rs := range r.old {
		out = append(out, fmt.Sprint(*rs.Spec.Replicas))
	}
	return strings.Join(out, " ")
}

func TestRollingSteps(t *testing.T) {
	for _, c := range []struct {
		why                string
		replicas           int32
		surge, unavailable string
		current            size
		old                []size
		want               string
	}{
		{"no surge: first the old", 10, "0", "2", size{}, []size{{10, 10}}, "0 8"},
		{"surge: first the new", 10, "2", "2", size{}, []size{{10, 10}}, "2 10"},
		{"as much as there is room for", 10, "2", "0", size{}, []size{{5, 5}}, "7 5"},
		{"full: wait", 10, "2", "0", size{2, 0}, []size{{10, 10}}, "2 10"},
		{"full, one came up: one goes", 10, "2", "0", size{2, 1}, []size{{10, 10}}, "2 9"},
		{"too many new", 10, "2", "0", size{11, 11}, []size{{2, 2}}, "10 2"},
		{"unhealthy old ones go first", 10, "0", "2", size{}, []size{{10, 8}}, "0 8"},
		{"unhealthy ones, then healthy ones", 10, "0", "2", size{}, []size{{10, 9}}, "0 8"},
		{"new ones that are not available keep old ones", 10, "0", "2", size{2, 0}, []size{{8, 8}}, "2 8"},
		{"the oldest goes first", 10, "0", "2", size{4, 4}, []size{{3, 3}, {3, 3}}, "4 1 3"},
		{"unhealthy ones wherever they are", 10, "0", "2", size{4, 4}, []size{{3, 3}, {3, 1}}, "4 3 1"},
		{"percentages round up for surge and down for unavailable", 3, "25%", "25%", size{}, []size{{3, 3}}, "1 3"},
		{"both round to nothing: one may be missing", 2, "0%", "1%", size{}, []size{{2, 2}}, "0 1"},
		{"done", 3, "25%", "25%", size{3, 3}, []size{{0, 0}}, "3 0"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := rolloutOf(c.replicas, c.surge, c.unavailable, c.current, c.old...)
			if !r.growNew() {
				r.shrinkOld()
			}
			if got := r.sizes(); got != c.want {
				t.Errorf("got %s, want %s (current, then old)", got, c.want)
			}
			for _, u := range r.p.Updates {
				if !strings.Contains(u.Done.Message, "Scaled") || u.Object.GetAnnotations()[desiredReplicasAnnotation] != fmt.Sprint(c.replicas) {
					t.Errorf("update without event or annotation: %+v", u)
				}
			}
		})
	}
}

func TestScalingIsInProportion(t *testing.T) {
	for _, c := range []struct {
		from, to int32
		surge    string
		current  int32
		old      []int32 // oldest first
		want     string
	}{
		{10, 12, "0", 10, nil, "12"},
		{10, 5, "0", 10, nil, "5"},
		{5, 10, "0", 2, []int32{3}, "4 6"},
		{5, 3, "0", 2, []int32{3}, "1 2"},
		{9, 4, "0", 8, []int32{1}, "4 0"},
		{7, 10, "0", 2, []int32{2, 3}, "3 3 4"},
		{13, 8, "0", 2, []int32{3, 8}, "1 2 5"},
		{3, 4, "0", 1, []int32{1, 1}, "2 1 1"},
		{3, 2, "0", 1, []int32{1, 1}, "1 0 1"},
		{4, 0, "0", 1, []int32{1, 2}, "0 0 0"},
		{10, 20, "3", 5, []int32{8}, "9 14"},
	} {
		t.Run(fmt.Sprintf("%d to %d, %d and %v", c.from, c.to, c.current, c.old), func(t *testing.T) {
			var old []size
			for _, n := range c.old {
				old = append(old, size{n, n})
			}
			r := rolloutOf(c.to, c.surge, "0", size{c.current, c.current}, old...)
			for _, rs := range r.all() {
				annotateReplicas(rs, c.from, c.from+surge(r.d))
			}
			if !r.scaled() {
				t.Error("not seen as scaled")
			}
			r.resize()
			if got := r.sizes(); got != c.want {
				t.Errorf("got %s, want %s (current, then old)", got, c.want)
			}
			r.stored, r.p = r.d, controllers.Plan{}
			if r.scaled() {
				t.Error("still seen as scaled afterwards: the rollout could not go on")
			}
		})
	}
}

func TestRevisionHistory(t *testing.T) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		"kubernetes.io/change-cause": "why", corev1.LastAppliedConfigAnnotation: "{}", revisionAnnotation: "1",
	}}}
	rs := &appsv1.ReplicaSet{}
	if !annotate(rs, d, 1) || annotate(rs, d, 1) {
		t.Error("annotating does not settle")
	}
	for _, next := range []int64{3, 5, 4} {
		annotate(rs, d, next)
	}
	want := map[string]string{revisionAnnotation: "5", revisionHistoryAnnotation: "1,3", "kubernetes.io/change-cause": "why"}
	if fmt.Sprint(rs.Annotations) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", rs.Annotations, want)
	}
	history := ""
	for i := range 5000 {
		history = appendHistory(history, fmt.Sprint(i))
	}
	if parts := strings.Split(history, ","); len(history) > maxRevisionHistory || parts[len(parts)-1] != "4999" {
		t.Errorf("the history has %d characters and ends in %s", len(history), parts[len(parts)-1])
	}
}

func TestHashCollisionIsCounted(t *testing.T) {
	w := controllerstest.NewWorld(func() time.Time { return now })
	one := int32(1)
	labels := map[string]string{"app": "web"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}},
	}}
	obj, err := w.User().Create(t.Context(), apps.Deployment, d, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	plan := func() controllers.Plan {
		return Plan(controllers.Snapshot{Reader: w.Cache()}, controllers.KeyOf(obj), now)
	}
	first := plan()
	if len(first.Creates) != 1 {
		t.Fatalf("got:\n%swant one create", controllerstest.PrintPlan(first))
	}
	// Somebody else has a ReplicaSet of that name.
	other := first.Creates[0].Object.DeepCopyObject().(*appsv1.ReplicaSet)
	other.OwnerReferences[0].UID = "other"
	if _, err := w.User().Create(t.Context(), apps.ReplicaSet, other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	then := first.Then(controllers.Outcome{Created: []kinds.Object{nil}, Exists: []bool{true}})
	if len(then.StatusUpdates) != 1 || *then.StatusUpdates[0].Object.(*appsv1.Deployment).Status.CollisionCount != 1 {
		t.Fatalf("got:\n%swant the collision counted", controllerstest.PrintPlan(then))
	}
	if _, err := w.User().Update(t.Context(), apps.Deployment, then.StatusUpdates[0].Object, "status", metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	second := plan()
	if len(second.Creates) != 1 || second.Creates[0].Object.GetName() == other.Name {
		t.Errorf("got:\n%swant a create under another name than %s", controllerstest.PrintPlan(second), other.Name)
	}
}

func TestReplicaFailureAndRefusalShowInConditions(t *testing.T) {
	r := rolloutOf(2, "1", "0", size{1, 1}, size{1, 1})
	minute := int32(60)
	r.d.Spec.ProgressDeadlineSeconds = &minute
	r.old[0].Status.Conditions = []appsv1.ReplicaSetCondition{{Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: "exceeded quota"}}
	st := r.rolloutStatus()
	c := condition(&st, appsv1.DeploymentReplicaFailure)
	if c == nil || c.Reason != "FailedCreate" || c.Message != "exceeded quota" {
		t.Errorf("got %+v, want the ReplicaSet's failure", c)
	}
	p := r.created(r.current, controllers.Outcome{Err: fmt.Errorf("no")})
	i := slices.IndexFunc(p.Events, func(e controllers.Event) bool {
		return e.Message == `Failed to create new replica set "current": no` && e.Reason == "ReplicaSetCreateError"
	})
	if i < 0 {
		t.Errorf("got:\n%swant an event that says why", controllerstest.PrintPlan(p))
	}
}
