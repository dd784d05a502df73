package control

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/store/embedded"
	"github.com/tenet-run/tenet/test/hollow"
)

func testLogger() *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	return slog.New(slog.DiscardHandler)
}

// TestRollingUpdateOfADay runs the whole control plane in virtual time: pods that need two hours to become ready are replaced one after the other, and at no
// moment are fewer ready than the Deployment allows.
func TestRollingUpdateOfADay(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		st, err := embedded.Open(ctx, embedded.Options{Dir: "store", FS: vfs.NewMem(), Logger: testLogger()})
		if err != nil {
			t.Fatal(err)
		}
		plane, err := New(Config{Store: st, Logger: testLogger()})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- plane.Run(ctx) }()
		<-plane.Booted()
		api := plane.Client(systemUser)
		node := &hollow.Node{API: api, Cache: plane.Cache, Name: "n1", Start: 2 * time.Hour, Failed: func(err error) { t.Error(err) }}
		go node.Run(ctx)

		const replicas = 10
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
		n, unavailable, surge, hours := int32(replicas), intstr.FromInt32(1), intstr.FromInt32(0), int32(3*3600)
		d.Spec.Replicas, d.Spec.ProgressDeadlineSeconds = &n, &hours
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &unavailable, MaxSurge: &surge}}
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
		d.Spec.Template.Labels = map[string]string{"app": "web"}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c", Image: "one"}}
		if _, err := api.Create(ctx, apps.Deployment, d, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		wait(t, 12*time.Hour, func() string { return rollout(plane.Cache, replicas) })

		current, err := client.As[*appsv1.Deployment](api.Get(ctx, apps.Deployment, "default", "web"))
		if err != nil {
			t.Fatal(err)
		}
		change := current.DeepCopy()
		change.Spec.Template.Spec.Containers[0].Image = "two"
		if _, err := api.Update(ctx, apps.Deployment, change, "", metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		updated := time.Now()
		fewest := replicas
		wait(t, 48*time.Hour, func() string {
			fewest = min(fewest, readyPods(plane.Cache))
			return rollout(plane.Cache, replicas)
		})
		took := time.Since(updated)
		if fewest < replicas-1 {
			t.Errorf("at one moment only %d pods were ready, want at least %d", fewest, replicas-1)
		}
		if took < 20*time.Hour || took > 26*time.Hour {
			t.Errorf("the update took %s of virtual time, want about 20 h (ten pods of two hours, one at a time)", took)
		}
		if sets := plane.Cache.List(apps.ReplicaSet, "default", nil); len(sets) != 2 {
			t.Errorf("%d ReplicaSets, want 2", len(sets))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		plane.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		t.Logf("virtual time of the update: %s", took)
	})
	t.Logf("real time: %s", time.Since(began))
}

// wait looks every minute of virtual time until missing returns "".
func wait(t *testing.T, limit time.Duration, missing func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		synctest.Wait()
		text := missing()
		if text == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, text)
		}
		time.Sleep(time.Minute)
	}
}

func readyPods(cache client.Cache) int {
	ready := 0
	for _, pod := range client.All[*corev1.Pod](cache.List(core.Pod, "default", nil)) {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil {
				ready++
			}
		}
	}
	return ready
}

// rollout says what is missing for the Deployment to be as declared.
func rollout(cache client.Cache, replicas int32) string {
	d, ok := client.Found[*appsv1.Deployment](cache.Get(apps.Deployment, "default", "web"))
	if !ok {
		return "no deployment"
	}
	s := d.Status
	if s.ObservedGeneration != d.Generation || s.UpdatedReplicas != replicas || s.Replicas != replicas || s.AvailableReplicas != replicas {
		return fmt.Sprintf("generation %d: %+v", d.Generation, s)
	}
	return ""
}
