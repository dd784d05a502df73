package control

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

// bounded makes a quota and waits until the controller has counted.
func (g *gated) bounded(t *testing.T, name string, hard corev1.ResourceList) {
	t.Helper()
	quotas := g.admin.CoreV1().ResourceQuotas("default")
	w, err := quotas.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := quotas.Create(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for e := range w.ResultChan() {
		if q := e.Object.(*corev1.ResourceQuota); len(q.Status.Hard) == len(hard) && len(q.Status.Used) == len(hard) {
			return
		}
	}
}

// TestQuotaIsExact: however many ask at once, no more is let in than the quota allows, and what it says is used is what is there.
func TestQuotaIsExact(t *testing.T) {
	g := serving(t)
	const allowed, writers, each = 25, 8, 10
	g.bounded(t, "few", list("count/secrets", fmt.Sprint(allowed))) // which no controller makes
	var made, refused atomic.Int32
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				_, err := g.admin.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s-%d-%d", w, i)}}, metav1.CreateOptions{})
				switch {
				case err == nil:
					made.Add(1)
				case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota: few, requested: count/secrets=1, used: count/secrets="):
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if made.Load() != allowed || refused.Load() != writers*each-allowed {
		t.Errorf("%d were made and %d refused, want %d and %d", made.Load(), refused.Load(), allowed, writers*each-allowed)
	}
	q, err := g.admin.CoreV1().ResourceQuotas("default").Get(t.Context(), "few", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if used := q.Status.Used["count/secrets"]; used.Value() != allowed {
		t.Errorf("used: %s", used.String())
	}
}

// TestQuotaOfPods: what pods ask for counts, and must be said.
func TestQuotaOfPods(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	g.account(t, "default", "default", nil)
	g.bounded(t, "cpu", list("requests.cpu", "1", "pods", "2"))
	pods := g.admin.CoreV1().Pods("default")
	pod := func(name string, requests corev1.ResourceList) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{Requests: requests}}}}}
	}
	_, err := pods.Create(ctx, pod("a", nil), metav1.CreateOptions{})
	isForbidden(t, err, `pods "a" is forbidden: failed quota: cpu: must specify requests.cpu for: c`)
	if _, err := pods.Create(ctx, pod("a", list("cpu", "600m")), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = pods.Create(ctx, pod("b", list("cpu", "500m")), metav1.CreateOptions{})
	isForbidden(t, err, `pods "b" is forbidden: exceeded quota: cpu, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1`)
	_, err = pods.Create(ctx, pod("b", list("cpu", "500m")), metav1.CreateOptions{DryRun: []string{"All"}})
	if !apierrors.IsForbidden(err) {
		t.Errorf("dry run: %v", err)
	}
	if _, err := pods.Create(ctx, pod("b", list("cpu", "400m")), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
}

// TestLimitRanges: defaults and bounds.
func TestLimitRanges(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	g.account(t, "default", "default", nil)
	if _, err := g.admin.CoreV1().LimitRanges("default").Create(ctx, &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "l"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: corev1.LimitTypeContainer, Default: list("cpu", "500m", "memory", "64Mi"), DefaultRequest: list("cpu", "100m"), Max: list("cpu", "1"), Min: list("memory", "32Mi")},
		{Type: corev1.LimitTypePod, Max: list("cpu", "1500m")},
	}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	got, err := g.admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	res := got.Spec.Containers[0].Resources
	if res.Requests.Cpu().String() != "100m" || res.Limits.Memory().String() != "64Mi" || res.Requests.Memory().String() != "64Mi" ||
		got.Annotations["kubernetes.io/limit-ranger"] != "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c" {
		t.Errorf("defaults: %+v %q", res, got.Annotations)
	}
	pod.Name = "q"
	pod.Spec.Containers = []corev1.Container{
		{Name: "a", Image: "i", Resources: corev1.ResourceRequirements{Limits: list("cpu", "2", "memory", "16Mi")}}, {Name: "b", Image: "i", Resources: corev1.ResourceRequirements{Limits: list("cpu", "1")}},
	}
	_, err = g.admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
	for _, want := range []string{
		`pods "q" is forbidden: [`, "minimum memory usage per Container is 32Mi, but request is 16Mi", "maximum cpu usage per Container is 1, but limit is 2", "maximum cpu usage per Pod is 1500m, but limit is 3",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
