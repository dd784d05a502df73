package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// world is a cluster of pods and nodes in memory, with the little of the API that a scheduler uses.
type world struct {
	mu       sync.Mutex
	objects  map[*kinds.Kind]map[string]kinds.Object
	feeds    map[*kinds.Kind][]chan client.Change
	events   []string
	bindErrs []error // given to the next binds
	binds    int
	patches  int
}

func newWorld() *world {
	return &world{objects: map[*kinds.Kind]map[string]kinds.Object{core.Pod: {}, core.Node: {}}, feeds: map[*kinds.Kind][]chan client.Change{}}
}

func (w *world) set(k *kinds.Kind, name string, obj kinds.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setLocked(k, name, obj)
}

func (w *world) setLocked(k *kinds.Kind, name string, obj kinds.Object) {
	old := w.objects[k][name]
	if obj == nil {
		delete(w.objects[k], name)
	} else {
		w.objects[k][name] = obj
	}
	for _, f := range w.feeds[k] {
		f <- client.Change{Old: old, New: obj}
	}
}

type cacheOf struct {
	client.Cache
	*world
}

func (c cacheOf) Follow(ctx context.Context, k *kinds.Kind, _ string, _ client.FollowOptions, handle func(client.Change), synced func()) error {
	w := c.world
	w.mu.Lock()
	feed := make(chan client.Change, 1000)
	w.feeds[k] = append(w.feeds[k], feed)
	for _, o := range w.objects[k] {
		feed <- client.Change{New: o}
	}
	w.mu.Unlock()
	synced()
	for {
		select {
		case c := <-feed:
			handle(c)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c cacheOf) Get(k *kinds.Kind, _, name string) (kinds.Object, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.objects[k][name]
	return o, ok
}

type clientOf struct {
	client.Client
	*world
}

func (c clientOf) Post(_ context.Context, k *kinds.Kind, _, name, sub string, in runtime.Object, _ metav1.CreateOptions) (runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.binds++
	if len(c.bindErrs) > 0 {
		err := c.bindErrs[0]
		c.bindErrs = c.bindErrs[1:]
		return nil, err
	}
	pod, ok := c.objects[k][name].(*corev1.Pod)
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
	}
	if pod.Spec.NodeName != "" {
		return nil, apierrors.NewConflict(corev1.Resource("pods"), name, fmt.Errorf("bound"))
	}
	pod = pod.DeepCopy()
	pod.Spec.NodeName = in.(*corev1.Binding).Target.Name
	c.setLocked(k, name, pod)
	return &metav1.Status{}, nil
}

func (c clientOf) Patch(_ context.Context, k *kinds.Kind, _, name string, _ types.PatchType, data []byte, _ string, _ metav1.PatchOptions) (kinds.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patches++
	pod, ok := c.objects[k][name].(*corev1.Pod)
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
	}
	pod = pod.DeepCopy()
	var in corev1.Pod
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, err
	}
	pod.Status.Conditions = in.Status.Conditions
	c.setLocked(k, name, pod)
	return pod, nil
}

func (w *world) Event(_ *kinds.Kind, about kinds.Object, _, reason, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf("%s %s: %s", about.GetName(), reason, message))
}

func (w *world) EventField(k *kinds.Kind, about kinds.Object, _, eventType, reason, message string) {
	w.Event(k, about, eventType, reason, message)
}

func testPod(name, cpu string, priority int32) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Generation: 1}}
	p.Spec.SchedulerName = corev1.DefaultSchedulerName
	p.Spec.Priority = &priority
	p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse(cpu)}}}}
	return p
}

func testNode(name, cpu string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse("8Gi"), "pods": resource.MustParse("110")}
	return n
}

// inWorld runs a scheduler in virtual time.
func inWorld(t *testing.T, script func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		ctx, cancel := context.WithCancel(t.Context())
		s := New(Config{Client: clientOf{world: w}, Cache: cacheOf{world: w}, Recorder: w, Logger: slog.New(slog.DiscardHandler)})
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		script(w)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (w *world) nodeOf(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.objects[core.Pod][name].(*corev1.Pod); ok {
		return p.Spec.NodeName
	}
	return "(gone)"
}

func TestPodWaitsForRoomAndSaysWhy(t *testing.T) {
	inWorld(t, func(w *world) {
		w.set(core.Pod, "p", testPod("p", "2", 0))
		synctest.Wait()
		w.set(core.Node, "a", testNode("a", "1"))
		time.Sleep(time.Minute)
		pod := w.objects[core.Pod]["p"].(*corev1.Pod)
		if len(pod.Status.Conditions) != 1 || pod.Status.Conditions[0].Reason != "Unschedulable" || pod.Status.Conditions[0].Message != "0/1 nodes are available: 1 Insufficient cpu." {
			t.Fatalf("condition: %+v", pod.Status.Conditions)
		}
		patches := w.patches
		time.Sleep(time.Hour) // nothing changes: nothing is tried
		if w.patches != patches || len(w.events) > 3 {
			t.Fatalf("%d patches and events %q after an hour without change, want %d patches", w.patches, w.events, patches)
		}
		w.set(core.Node, "b", testNode("b", "4"))
		time.Sleep(11 * time.Second) // the backoff of what failed before
		if got := w.nodeOf("p"); got != "b" {
			t.Fatalf("pod is on %q, want b", got)
		}
		if last := w.events[len(w.events)-1]; last != "p Scheduled: Successfully assigned default/p to b" {
			t.Fatalf("last event %q", last)
		}
	})
}

func TestHigherPriorityFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		for i, prio := range []int32{0, 5, 10} {
			name := fmt.Sprintf("p%d", i)
			w.set(core.Pod, name, testPod(name, "1", prio))
		}
		synctest.Wait()
		w.set(core.Node, "a", testNode("a", "1"))
		time.Sleep(time.Minute)
		if w.nodeOf("p2") != "a" || w.nodeOf("p0") != "" || w.nodeOf("p1") != "" {
			t.Fatalf("p0 %q, p1 %q, p2 %q: want only p2 on a", w.nodeOf("p0"), w.nodeOf("p1"), w.nodeOf("p2"))
		}
		w.set(core.Pod, "p2", nil)
		time.Sleep(time.Minute)
		if w.nodeOf("p1") != "a" {
			t.Fatalf("p1 is on %q after p2 has gone, want a", w.nodeOf("p1"))
		}
	})
}

func TestFailedBindGivesTheRoomBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.mu.Lock()
		w.bindErrs = []error{apierrors.NewInternalError(fmt.Errorf("no")), apierrors.NewConflict(corev1.Resource("pods"), "p", fmt.Errorf("changed"))}
		w.mu.Unlock()
		w.set(core.Node, "a", testNode("a", "1"))
		w.set(core.Pod, "p", testPod("p", "1", 0))
		time.Sleep(30 * time.Second)
		if w.nodeOf("p") != "a" || w.binds != 3 {
			t.Fatalf("pod is on %q after %d binds, want a after 3", w.nodeOf("p"), w.binds)
		}
		if !slices.ContainsFunc(w.events, func(e string) bool { return strings.Contains(e, "binding rejected") }) {
			t.Fatalf("no event says that the bind was refused: %q", w.events)
		}
	})
}

func TestLeavesOthersPodsAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.set(core.Node, "a", testNode("a", "8"))
		other := testPod("other", "1", 0)
		other.Spec.SchedulerName = "mine"
		gated := testPod("gated", "1", 0)
		gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}}
		leaving := testPod("leaving", "1", 0)
		leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		for _, p := range []*corev1.Pod{other, gated, leaving} {
			w.set(core.Pod, p.Name, p)
		}
		time.Sleep(time.Minute)
		if w.binds != 0 {
			t.Fatalf("%d binds, want none", w.binds)
		}
		open := gated.DeepCopy()
		open.Spec.SchedulingGates, open.Generation = nil, 2
		w.set(core.Pod, "gated", open)
		time.Sleep(time.Second)
		if w.nodeOf("gated") != "a" {
			t.Fatalf("the pod whose gates are open is on %q, want a", w.nodeOf("gated"))
		}
	})
}

func TestManyPodsNeverOverfill(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 5 {
			w.set(core.Node, fmt.Sprintf("n%d", i), testNode(fmt.Sprintf("n%d", i), "10"))
		}
		for i := range 60 {
			w.set(core.Pod, fmt.Sprintf("p%d", i), testPod(fmt.Sprintf("p%d", i), "1", 0))
		}
		time.Sleep(time.Minute)
		count := map[string]int{}
		for i := range 60 {
			count[w.nodeOf(fmt.Sprintf("p%d", i))]++
		}
		for i := range 5 {
			if n := count[fmt.Sprintf("n%d", i)]; n != 10 {
				t.Errorf("node n%d has %d pods, want 10", i, n)
			}
		}
		if count[""] != 10 {
			t.Errorf("%d pods wait, want 10", count[""])
		}
	})
}
