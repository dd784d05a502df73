package all_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/all"
	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds"
	allkinds "github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/coordination"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/store/embedded"
)

// cluster is all controllers over a world, with kubelets that start pods in a second and stop them in three. It lives in a synctest bubble.
type cluster struct {
	t      *testing.T
	w      *controllerstest.World // nil over the API server
	api    client.Client          // what the controllers write with
	user   client.Client          // what the test and the kubelets write with
	cache  client.Cache
	shut   func()
	kinds  *kinds.Set
	events *controllerstest.Recorder
	log    *slog.Logger

	stopControllers context.CancelFunc
	stopAll         context.CancelFunc
	running         sync.WaitGroup
	kubelets        sync.WaitGroup
	silent          map[string]bool // nodes that do not report
	started         atomic.Int32    // pods, for their addresses
	mu              sync.Mutex
}

func newCluster(t *testing.T) *cluster {
	w := controllerstest.NewWorld(time.Now)
	c := &cluster{t: t, w: w, api: w.Client(), user: w.User(), cache: w.Cache(), shut: func() {}}
	c.begin()
	return c
}

// overServer is a cluster over the API server, in process, on the embedded store in a file system in memory.
func overServer(t *testing.T) *cluster {
	st, err := embedded.Open(t.Context(), embedded.Options{Dir: "data", FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	reader := apiserver.NewReader(st)
	server, err := apiserver.New(apiserver.Config{
		Store: st, Kinds: allkinds.Kinds(), Admission: []admission.Plugin{admission.NamespaceLifecycle(reader), admission.ResourceQuota(reader, time.Now)}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	admin := client.InProcess(server, &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}})
	c := &cluster{t: t, api: admin, user: admin, cache: client.InProcessCache(server), shut: func() {
		server.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}}
	lease := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: corev1.NamespaceNodeLease}}
	if _, err := admin.Create(t.Context(), core.Namespace, lease, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.begin()
	return c
}

func (c *cluster) begin() {
	t := c.t
	c.kinds, c.events, c.log, c.silent = kinds.NewSet(allkinds.Kinds()...), &controllerstest.Recorder{}, slog.New(slog.DiscardHandler), map[string]bool{}
	if testing.Verbose() {
		c.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.stopAll = cancel
	c.kubelets.Go(func() {
		c.cache.Follow(ctx, core.Pod, "", client.FollowOptions{}, func(ch client.Change) { c.kubelet(ctx, ch) }, nil)
	})
}

// start runs the controllers; stop ends them, as a crash would: whatever is under way fails.
func (c *cluster) start() {
	ctx, cancel := context.WithCancel(c.t.Context())
	c.stopControllers = cancel
	c.running.Go(func() {
		deps := controllers.Deps{Client: c.api, Cache: c.cache, Recorder: c.events, Logger: c.log}
		if err := controllers.Run(ctx, deps, c.controllers()...); err != nil {
			c.t.Error(err)
		}
	})
}

func (c *cluster) controllers() []controllers.Controller { return listed(c.kinds) }

func listed(set *kinds.Set) []controllers.Controller {
	return all.Controllers(all.Options{Kinds: set, RootCA: []byte("PEM"), PodCIDR: netip.MustParsePrefix("10.42.0.0/16")})
}

func (c *cluster) stop() {
	c.stopControllers()
	c.running.Wait()
}

func (c *cluster) close() {
	c.stop()
	c.stopAll()
	c.kubelets.Wait()
	c.shut()
}

// kubelet plays scheduler and kubelet for a pod that changed.
func (c *cluster) kubelet(ctx context.Context, ch client.Change) {
	pod, ok := ch.New.(*corev1.Pod)
	if !ok {
		return
	}
	switch {
	case pod.DeletionTimestamp != nil:
		if old, ok := ch.Old.(*corev1.Pod); !ok || old.DeletionTimestamp == nil {
			c.after(ctx, 3*time.Second, pod, func() {
				if len(pod.Finalizers) > 0 { // it stays to be seen
					c.patch(ctx, core.Pod, pod, "status", map[string]any{"status": c.ended(pod, 143)})
				}
				zero := int64(0)
				c.user.Delete(ctx, core.Pod, pod.Namespace, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
			})
		}
	case pod.Spec.NodeName == "":
		bind := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}, Target: corev1.ObjectReference{Kind: "Node", Name: nodeFor(pod)}}
		if _, err := c.user.Post(ctx, core.Pod, pod.Namespace, pod.Name, "binding", bind, metav1.CreateOptions{}); err != nil && ctx.Err() == nil {
			c.log.Debug("binding failed", "pod", pod.Name, "error", err)
		}
	case ch.Old == nil || ch.Old.(*corev1.Pod).Spec.NodeName == "":
		if pod.Annotations["test/start"] == "never" {
			return
		}
		if pod.Annotations["test/start"] == "fail" {
			c.after(ctx, time.Second, pod, func() {
				c.patch(ctx, core.Pod, pod, "status", map[string]any{"status": map[string]any{"phase": "Failed"}})
			})
			return
		}
		ip := fmt.Sprintf("10.42.%d.%d", c.started.Add(1)/250, c.started.Load()%250+1)
		c.after(ctx, time.Second, pod, func() {
			c.patch(ctx, core.Pod, pod, "status", map[string]any{"status": map[string]any{"phase": "Running", "podIP": ip, "podIPs": []corev1.PodIP{{IP: ip}}, "conditions": []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
			}}})
		})
		c.end(ctx, pod)
	}
}

// end lets a pod with the annotation test/ends end that long after its start, with the exit code in test/exit. Both can be told for an index: test/exit-1.
func (c *cluster) end(ctx context.Context, pod *corev1.Pod) {
	told := func(what string) string {
		if text, ok := pod.Annotations[what+"-"+pod.Labels[batchv1.JobCompletionIndexAnnotation]]; ok {
			return text
		}
		return pod.Annotations[what]
	}
	d, err := time.ParseDuration(told("test/ends"))
	if err != nil {
		return
	}
	code, _ := strconv.Atoi(told("test/exit"))
	c.after(ctx, time.Second+d, pod, func() {
		if now, ok := c.cache.Get(core.Pod, pod.Namespace, pod.Name); ok && now.GetUID() == pod.UID && now.GetDeletionTimestamp() == nil {
			c.patch(ctx, core.Pod, pod, "status", map[string]any{"status": c.ended(pod, int32(code))})
		}
	})
}

// ended is the status of a pod whose container has ended.
func (c *cluster) ended(pod *corev1.Pod, code int32) map[string]any {
	phase := corev1.PodSucceeded
	if code != 0 {
		phase = corev1.PodFailed
	}
	return map[string]any{
		"phase": phase, "conditions": []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}},
		"containerStatuses": []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.Now()}}}},
	}
}

// nodeFor is the node that a pod was made for, or the first one.
func nodeFor(pod *corev1.Pod) string {
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, f := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields {
			return f.Values[0]
		}
	}
	return "node-1"
}

// after does something for a pod later, unless its node is silent by then.
func (c *cluster) after(ctx context.Context, d time.Duration, pod *corev1.Pod, do func()) {
	c.kubelets.Go(func() {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		silent := c.silent[pod.Spec.NodeName]
		c.mu.Unlock()
		if !silent {
			do()
		}
	})
}

func (c *cluster) patch(ctx context.Context, k *kinds.Kind, obj kinds.Object, sub string, change any) {
	data, err := json.Marshal(change)
	if err != nil {
		c.t.Error(err)
	}
	_, err = c.user.Patch(ctx, k, obj.GetNamespace(), obj.GetName(), types.MergePatchType, data, sub, metav1.PatchOptions{})
	if err != nil && ctx.Err() == nil {
		c.log.Debug("the kubelet's write failed", "object", obj.GetName(), "error", err)
	}
}

// node makes a node that renews its Lease every ten seconds, until it is told to be silent.
func (c *cluster) node(ctx context.Context, name string) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: "linux"}}}
	if _, err := c.user.Create(ctx, core.Node, node, metav1.CreateOptions{}); err != nil {
		c.t.Error(err)
	}
	c.patch(ctx, core.Node, node, "status", map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()},
	}}})
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: corev1.NamespaceNodeLease}}
	if _, err := c.user.Create(ctx, coordination.Lease, lease, metav1.CreateOptions{}); err != nil {
		c.t.Error(err)
	}
	c.kubelets.Go(func() {
		for ctx.Err() == nil {
			c.mu.Lock()
			silent := c.silent[name]
			c.mu.Unlock()
			if !silent {
				c.patch(ctx, coordination.Lease, lease, "", map[string]any{"spec": map[string]any{"renewTime": metav1.NowMicro()}})
			}
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
			}
		}
	})
}
