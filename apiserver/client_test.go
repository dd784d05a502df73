package apiserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

var _ client.Pipeline = (*apiserver.Server)(nil)

// contentTypes are the encodings that client-go speaks with us.
var contentTypes = []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf}

func serve(t testing.TB, s *apiserver.Server, contentType string) *rest.Config {
	t.Helper()
	ts := httptest.NewServer(s)
	t.Cleanup(func() { s.Close(); ts.Close() })
	c := &rest.Config{Host: ts.URL, QPS: -1}
	c.ContentType = contentType
	if contentType == runtime.ContentTypeProtobuf {
		c.AcceptContentTypes = contentType + "," + runtime.ContentTypeJSON
	}
	return c
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": "web", "n": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: "nginx:stable", Ports: []corev1.ContainerPort{{ContainerPort: 80}},
			Env: []corev1.EnvVar{{Name: "A", Value: "B"}},
		}}},
	}
}

func TestTypedClient(t *testing.T) {
	for _, ct := range contentTypes {
		t.Run(ct, func(t *testing.T) {
			ctx := t.Context()
			cs := kubernetes.NewForConfigOrDie(serve(t, newServer(t, nil), ct))
			pods := cs.CoreV1().Pods("default")
			made, err := pods.Create(ctx, pod("a"), metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if made.UID == "" || made.ResourceVersion == "" || made.Spec.RestartPolicy != corev1.RestartPolicyAlways || made.Status.Phase != corev1.PodPending {
				t.Errorf("created pod lacks defaults: %+v", made)
			}
			if _, err := pods.Create(ctx, pod("a"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
				t.Errorf("second create: got %v, want AlreadyExists", err)
			}
			made.Status.Phase = corev1.PodRunning
			running, err := pods.UpdateStatus(ctx, made, metav1.UpdateOptions{})
			if err != nil || running.Status.Phase != corev1.PodRunning {
				t.Fatalf("status update: %v, %v", running, err)
			}
			if _, err := pods.UpdateStatus(ctx, made, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
				t.Errorf("stale update: got %v, want Conflict", err)
			}
			for _, name := range []string{"b", "c"} {
				if _, err := pods.Create(ctx, pod(name), metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "n in (a,c)"})
			if err != nil || len(list.Items) != 2 || list.Items[1].Name != "c" || list.ResourceVersion == "" {
				t.Errorf("list by label: got %v, %v", list, err)
			}
			page, err := pods.List(ctx, metav1.ListOptions{Limit: 2})
			if err != nil || len(page.Items) != 2 || page.Continue == "" || *page.RemainingItemCount != 1 {
				t.Errorf("first page: %v, %v", page, err)
			}
			cm, err := cs.CoreV1().ConfigMaps("default").Apply(ctx, applycorev1.ConfigMap("cm", "default").WithData(map[string]string{"k": "v"}),
				metav1.ApplyOptions{FieldManager: "me"})
			if err != nil || cm.Data["k"] != "v" {
				t.Errorf("apply: %v, %v", cm, err)
			}
			err = pods.EvictV1(ctx, evictionOf("b"))
			if err != nil {
				t.Errorf("evict: %v", err)
			}
			if _, err := pods.Get(ctx, "b", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("evicted pod: got %v, want NotFound", err)
			}
			if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
				t.Fatal(err)
			}
			if list, err = pods.List(ctx, metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
				t.Errorf("after deletecollection: %v, %v", list, err)
			}
		})
	}
}

func TestInformerSeesEverything(t *testing.T) {
	for _, ct := range contentTypes {
		t.Run(ct, func(t *testing.T) {
			cs := kubernetes.NewForConfigOrDie(serve(t, newServer(t, nil), ct))
			pods := cs.CoreV1().Pods("default")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if _, err := pods.Create(ctx, pod("early"), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			seen := map[string]int{}
			changed := make(chan struct{}, 1000)
			note := func(what string) func(any) {
				return func(obj any) {
					if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
						obj = d.Obj
					}
					mu.Lock()
					seen[what+" "+obj.(*corev1.Pod).Name]++
					mu.Unlock()
					changed <- struct{}{}
				}
			}
			factory := informers.NewSharedInformerFactory(cs, 0)
			inf := factory.Core().V1().Pods().Informer()
			add, del := note("add"), note("delete")
			upd := note("update")
			inf.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, n any) { upd(n) }, DeleteFunc: del})
			factory.Start(ctx.Done())
			if !cache.WaitForCacheSync(ctx.Done(), inf.HasSynced) {
				t.Fatal("never synced")
			}
			if _, err := pods.Create(ctx, pod("late"), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := pods.Patch(ctx, "late", types.MergePatchType, []byte(`{"metadata":{"labels":{"x":"y"}}}`), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := pods.Delete(ctx, "early", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			want := []string{"add early", "add late", "update late", "delete early"}
			deadline := time.After(10 * time.Second)
			for {
				mu.Lock()
				missing := ""
				for _, w := range want {
					if seen[w] != 1 {
						missing = w
					}
				}
				mu.Unlock()
				if missing == "" {
					break
				}
				select {
				case <-changed:
				case <-deadline:
					t.Fatalf("never saw %q once; saw %v", missing, seen)
				}
			}
			cancel()
			factory.Shutdown()
		})
	}
}

func TestDynamicClientWatchesAndApplies(t *testing.T) {
	ctx := t.Context()
	dc := dynamic.NewForConfigOrDie(serve(t, newServer(t, nil), runtime.ContentTypeJSON))
	cms := dc.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace("default")
	w, err := cms.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"k": "v"},
	}}
	if _, err := cms.Apply(ctx, "a", obj, metav1.ApplyOptions{FieldManager: "one"}); err != nil {
		t.Fatal(err)
	}
	unstructured.SetNestedField(obj.Object, "w", "data", "k")
	_, err = cms.Apply(ctx, "a", obj, metav1.ApplyOptions{FieldManager: "two"})
	if !apierrors.IsConflict(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict) {
		t.Errorf("second manager: got %v, want a field manager conflict", err)
	}
	if _, err := cms.Apply(ctx, "a", obj, metav1.ApplyOptions{FieldManager: "two", Force: true}); err != nil {
		t.Error(err)
	}
	for i, want := range []watch.EventType{watch.Added, watch.Modified} {
		e := <-w.ResultChan()
		if e.Type != want {
			t.Errorf("event %d: got %s, want %s", i, e.Type, want)
		}
	}
}

// Many writers of one counter: everyone who is told that it won has counted.
func TestConflictingUpdatesLoseNothing(t *testing.T) {
	ctx := t.Context()
	s := newServer(t, nil)
	cs := kubernetes.NewForConfigOrDie(serve(t, s, runtime.ContentTypeJSON))
	cms := cs.CoreV1().ConfigMaps("default")
	if _, err := cms.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Data: map[string]string{"n": "0"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 10
	var wg sync.WaitGroup
	var conflicts atomic.Int64
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					cm, err := cms.Get(ctx, "n", metav1.GetOptions{})
					if err != nil {
						t.Error(err)
						return
					}
					n, _ := strconv.Atoi(cm.Data["n"])
					cm.Data["n"] = strconv.Itoa(n + 1)
					_, err = cms.Update(ctx, cm, metav1.UpdateOptions{})
					if err == nil {
						break
					}
					if !apierrors.IsConflict(err) {
						t.Error(err)
						return
					}
					conflicts.Add(1)
				}
			}
		})
	}
	wg.Wait()
	cm, err := cms.Get(ctx, "n", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := cm.Data["n"]; got != strconv.Itoa(writers*each) {
		t.Errorf("counter: got %s, want %d (%d conflicts)", got, writers*each, conflicts.Load())
	}
}

// Patches without a resourceVersion never fail for a conflict.
func TestConcurrentPatchesAllWin(t *testing.T) {
	ctx := t.Context()
	s := newServer(t, nil)
	who := &user.DefaultInfo{Name: "tester"}
	c := client.InProcess(s, who)
	if _, err := c.Create(ctx, core.ConfigMap, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "n", Namespace: "default"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			patch := fmt.Appendf(nil, `{"data":{"k%d":"v"}}`, i)
			if _, err := c.Patch(ctx, core.ConfigMap, "default", "n", types.MergePatchType, patch, "", metav1.PatchOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	cm, err := client.As[*corev1.ConfigMap](c.Get(ctx, core.ConfigMap, "default", "n"))
	if err != nil || len(cm.Data) != 16 {
		t.Errorf("got %d keys, %v, want 16", len(cm.Data), err)
	}
}

func TestInProcessObjectsAreSharedAndCopied(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newServer(t, nil)
	c := client.InProcess(s, &user.DefaultInfo{Name: "system:controller"})
	in := pod("a")
	out, err := c.Create(ctx, core.Pod, in, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if in.UID != "" || in.Spec.RestartPolicy != "" {
		t.Error("create changed its argument")
	}
	if m := out.GetManagedFields(); len(m) != 1 || m[0].Manager != "system:controller" {
		t.Errorf("managers: got %v", m)
	}
	one, _ := s.Peek(core.Pod, "default", "a")
	two, _ := s.Peek(core.Pod, "default", "a")
	if one != two || one != out {
		t.Error("readers do not share one object")
	}
	type change struct{ old, now kinds.Object }
	changes := make(chan change, 10)
	synced := make(chan struct{})
	followed := make(chan error, 1)
	go func() {
		followed <- s.FollowObjects(ctx, core.Pod, "", nil, nil, func(old, now kinds.Object) { changes <- change{old, now} }, func() { close(synced) })
	}()
	<-synced
	if ch := <-changes; ch.old != nil || ch.now != one {
		t.Errorf("first: got %v", ch)
	}
	next := out.DeepCopyObject().(*corev1.Pod)
	next.Labels["x"] = "y"
	if _, err := c.Update(ctx, core.Pod, next, "", metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if ch := <-changes; ch.old != one || ch.now.GetLabels()["x"] != "y" {
		t.Errorf("second: got %v", ch)
	}
	if err := c.Delete(ctx, core.Pod, "default", "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if ch := <-changes; ch.now != nil || ch.old.GetName() != "a" {
		t.Errorf("third: got %v", ch)
	}
	if got := s.PeekField(core.Pod, "", "spec.nodeName", "n1"); len(got) != 0 {
		t.Errorf("by field: got %v", got)
	}
	cancel()
	if err := <-followed; !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v", err)
	}
}
