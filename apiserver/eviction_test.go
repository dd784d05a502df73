package apiserver_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/policy"
)

// TestEvictionsNeverOverspend: however many evict at once, as many pods go as the budget allowed, and it has a record of each.
func TestEvictionsNeverOverspend(t *testing.T) {
	const pods, allowed = 24, 7
	ctx := t.Context()
	c := client.InProcess(newServer(t, nil), &user.DefaultInfo{Name: "tester"})
	meta := metav1.ObjectMeta{Name: "b", Namespace: "default"}
	made, err := client.As[*policyv1.PodDisruptionBudget](c.Create(ctx, policy.PodDisruptionBudget, &policyv1.PodDisruptionBudget{ObjectMeta: meta,
		Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}, metav1.CreateOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	b := made.DeepCopy()
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: b.Generation, DisruptionsAllowed: allowed, CurrentHealthy: pods, DesiredHealthy: pods - allowed, ExpectedPods: pods}
	if _, err := c.Update(ctx, policy.PodDisruptionBudget, b, "status", metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range pods {
		p := pod(fmt.Sprint("p", i))
		p.Spec.NodeName = "n"
		made, err := client.As[*corev1.Pod](c.Create(ctx, core.Pod, p, metav1.CreateOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		p = made.DeepCopy()
		p.Status.Phase, p.Status.Conditions = corev1.PodRunning, []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		if _, err := c.Update(ctx, core.Pod, p, "status", metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var gone atomic.Int32
	var wg sync.WaitGroup
	for i := range pods {
		wg.Go(func() {
			name := fmt.Sprint("p", i)
			_, err := c.Post(ctx, core.Pod, "default", name, "eviction", &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}, metav1.CreateOptions{})
			switch {
			case err == nil:
				gone.Add(1)
			case !apierrors.IsTooManyRequests(err):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	leaving := 0
	list, err := c.List(ctx, core.Pod, "default", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		if p.GetDeletionTimestamp() != nil {
			leaving++
		}
	}
	left, err := client.As[*policyv1.PodDisruptionBudget](c.Get(ctx, policy.PodDisruptionBudget, "default", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if gone.Load() != allowed || leaving != allowed || left.Status.DisruptionsAllowed != 0 || len(left.Status.DisruptedPods) != allowed {
		t.Errorf("%d evictions let through, %d pods leaving, want %d; budget %+v", gone.Load(), leaving, allowed, left.Status)
	}
}
