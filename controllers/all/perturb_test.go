package all_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/batch"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/policy"
)

// story is what perturbed runs live through.
type story struct {
	name string
	act  func(ctx context.Context, c *cluster)
	// show are the kinds whose objects make the end.
	show []*kinds.Kind
	// writes is how many the controllers make at least, undisturbed: a story in which nothing happens shows nothing.
	writes int
}

// run tells the story. It returns the end state, how many writes the controllers made, and by how many pods an owner had more than it should when one was made.
func (s story) run(t *testing.T, prepare func(c *cluster)) (end string, writes int, surplus int) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var count, peak atomic.Int64
		times := map[string]int{}
		crash := make(chan struct{}, 1)
		prepare(c)
		before, after := c.w.Before, c.w.After
		c.w.Before = func(w controllerstest.Write) error {
			if before != nil {
				return before(w)
			}
			return nil
		}
		c.w.After = func(w controllerstest.Write) error {
			count.Add(1)
			if w.Verb == "create" && w.Kind == batch.Job { // its name is its time: once is enough
				if times[w.Name]++; times[w.Name] > 1 {
					peak.Add(1)
				}
			}
			if w.Verb == "create" && w.Kind == core.Pod {
				active := func(o kinds.Object) bool { return controllers.PodActive(o.(*corev1.Pod)) }
				n := max(
					c.w.Surplus(core.Pod, apps.ReplicaSet, w.Namespace, w.Name, active, func(o kinds.Object) int { return int(*o.(*appsv1.ReplicaSet).Spec.Replicas) }),
					c.w.Surplus(core.Pod, core.ReplicationController, w.Namespace, w.Name, active, func(o kinds.Object) int { return int(*o.(*corev1.ReplicationController).Spec.Replicas) }),
					c.w.Surplus(core.Pod, batch.Job, w.Namespace, w.Name, active, func(o kinds.Object) int { return int(*o.(*batchv1.Job).Spec.Parallelism) }),
				)
				peak.Store(max(peak.Load(), int64(n)))
			}
			if after == nil {
				return nil
			}
			err := after(w)
			if errors.Is(err, errCrash) {
				c.stopControllers()
				crash <- struct{}{}
				return context.Canceled
			}
			return err
		}
		ctx, cancel := context.WithCancel(t.Context())
		supervisor := make(chan struct{})
		c.start()
		go func() {
			defer close(supervisor)
			for {
				select {
				case <-crash:
					c.stop() // again: writes that were under way may have been the second crash before there was anything to stop
					c.start()
				case <-ctx.Done():
					return
				}
			}
		}()
		c.node(ctx, "node-1")
		c.must(ctx, core.Namespace, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
		s.act(ctx, c)
		end = controllerstest.PrintAll(c.cache, s.show...)
		writes, surplus = int(count.Load()), int(peak.Load())
		cancel()
		<-supervisor
		c.close()
	})
	return end, writes, surplus
}

// workloads: a Deployment comes up, is rolled over to another template, scaled, and another one is deleted with all that it owns, and so is a namespace.
var workloads = story{
	name: "workloads", writes: 50,
	show: []*kinds.Kind{core.Namespace, apps.Deployment, apps.ReplicaSet, core.Pod, core.ServiceAccount, core.ConfigMap, core.Node, policy.PodDisruptionBudget, core.ResourceQuota},
	act: func(ctx context.Context, c *cluster) {
		c.must(ctx, core.Namespace, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "doomed"}})
		c.must(ctx, apps.Deployment, deployment("default", "web", 4))
		c.must(ctx, apps.Deployment, deployment("default", "gone", 2))
		c.must(ctx, core.ResourceQuota, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "all"}, Spec: corev1.ResourceQuotaSpec{
			Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("50"), "count/replicasets.apps": resource.MustParse("50")},
		}})
		half := intstr.FromString("50%")
		c.must(ctx, policy.PodDisruptionBudget, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: &half, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		}})
		c.must(ctx, apps.Deployment, deployment("doomed", "inside", 2))
		time.Sleep(10 * time.Second)
		c.change(ctx, "web", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"img:2"}]}}}}`)
		foreground := metav1.DeletePropagationForeground
		if err := c.user.Delete(ctx, apps.Deployment, "default", "gone", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
			c.t.Error(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if err := c.user.Delete(ctx, core.Namespace, "", "doomed", metav1.DeleteOptions{}); err != nil {
			c.t.Error(err)
		}
		time.Sleep(20 * time.Second)
		c.change(ctx, "web", `{"spec":{"replicas":2}}`)
		time.Sleep(100 * time.Second)
	},
}

var errCrash = errors.New("crash")

func (c *cluster) must(ctx context.Context, k *kinds.Kind, obj kinds.Object) {
	if _, err := c.user.Create(ctx, k, obj, metav1.CreateOptions{}); err != nil {
		c.t.Error(err)
	}
}

func (c *cluster) change(ctx context.Context, name, patch string) {
	if _, err := c.user.Patch(ctx, apps.Deployment, "default", name, types.MergePatchType, []byte(patch), "", metav1.PatchOptions{}); err != nil {
		c.t.Error(err)
	}
}

func deployment(namespace, name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "img:1"}}}},
		},
	}
}

// TestPerturbed: whatever happens to the controllers' writes, the end is the same, and there is never a pod too many.
func TestPerturbed(t *testing.T) {
	for _, s := range []story{workloads, services, sets, volumes, jobs} {
		t.Run(s.name, s.perturb)
	}
}

func (s story) perturb(t *testing.T) {
	want, writes, surplus := s.run(t, func(*cluster) {})
	if writes < s.writes || surplus > 0 {
		t.Fatalf("undisturbed, there were %d writes and %d pods too many", writes, surplus)
	}
	t.Logf("undisturbed, there were %d writes, and this is the end:\n%s", writes, want)
	check := func(t *testing.T, prepare func(c *cluster)) {
		t.Helper()
		got, _, surplus := s.run(t, prepare)
		if got != want {
			t.Errorf("another end\ngot:\n%s\nwant:\n%s", got, want)
		}
		if surplus > 0 {
			t.Errorf("an owner made %d pods too many", surplus)
		}
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for n := 1; n <= writes; n += step {
		t.Run(fmt.Sprintf("killed after write %d, and soon again", n), func(t *testing.T) {
			check(t, func(c *cluster) {
				made := 0
				c.w.After = func(controllerstest.Write) error {
					if made++; made == n || made == n+3 {
						return errCrash
					}
					return nil
				}
			})
		})
	}
	t.Run("every third write conflicts", func(t *testing.T) {
		check(t, func(c *cluster) {
			made := 0
			c.w.Before = func(w controllerstest.Write) error {
				if made++; made%3 == 0 && w.Verb != "create" {
					return apierrors.NewConflict(w.Kind.GroupResource(), w.Name, errors.New("somebody else was faster"))
				}
				return nil
			}
		})
	})
	t.Run("every third write fails", func(t *testing.T) {
		check(t, func(c *cluster) {
			made := 0
			c.w.Before = func(controllerstest.Write) error {
				if made++; made%3 == 0 {
					return apierrors.NewInternalError(errors.New("no"))
				}
				return nil
			}
		})
	})
	for _, lag := range []time.Duration{0, 50 * time.Millisecond} {
		t.Run(fmt.Sprintf("every third answer is lost, the cache lags by %v", lag), func(t *testing.T) {
			check(t, func(c *cluster) {
				c.w.Lag = lag
				made := 0
				c.w.After = func(w controllerstest.Write) error {
					if made++; made%3 == 0 {
						return apierrors.NewTimeoutError("no answer", 0)
					}
					return nil
				}
			})
		})
	}
	for _, lag := range []time.Duration{10 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(fmt.Sprintf("the cache lags by %v", lag), func(t *testing.T) {
			check(t, func(c *cluster) { c.w.Lag = lag })
		})
	}
}
