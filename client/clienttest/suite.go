// Package clienttest is the suite that every client.Client and client.Cache passes.
package clienttest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// Subject is what is tested: a client and a cache of config maps and pods, on a server that is its own and has a namespace "default" with its service account.
type Subject struct {
	Client client.Client
	Cache  client.Cache
}

// Run runs the suite; open gives each test a server of its own.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, c := range []struct {
		name string
		test func(*testing.T, context.Context, Subject)
	}{
		{"CreateGetUpdateDelete", lifecycle},
		{"ErrorsAreStatuses", errorsAreStatuses},
		{"ListPagesAndSelectors", lists},
		{"WatchResumes", watches},
		{"Patches", patches},
		{"StatusAndBinding", subresources},
		{"DeletePreconditions", preconditions},
		{"DeleteCollection", deleteCollection},
		{"InputIsCopied", inputIsCopied},
		{"CacheReads", cacheReads},
		{"Follow", follow},
		{"FollowSelection", followSelection},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			c.test(t, ctx, open(t))
		})
	}
}

const ns = "default"

func configMap(name string, pairs ...string) *corev1.ConfigMap {
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string]string{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		c.Data[pairs[i]] = pairs[i+1]
	}
	return c
}

func create[T kinds.Object](t *testing.T, ctx context.Context, s Subject, k *kinds.Kind, obj T) T {
	t.Helper()
	out, err := client.As[T](s.Client.Create(ctx, k, obj, metav1.CreateOptions{}))
	if err != nil {
		t.Fatalf("create %s: %v", obj.GetName(), err)
	}
	return out
}

func lifecycle(t *testing.T, ctx context.Context, s Subject) {
	made := create(t, ctx, s, core.ConfigMap, configMap("a", "k", "1"))
	if made.UID == "" || made.ResourceVersion == "" || made.CreationTimestamp.IsZero() || len(made.ManagedFields) == 0 {
		t.Errorf("created object lacks metadata: %+v", made.ObjectMeta)
	}
	got, err := client.As[*corev1.ConfigMap](s.Client.Get(ctx, core.ConfigMap, ns, "a"))
	if err != nil || !equality.Semantic.DeepEqual(got, made) {
		t.Fatalf("get: %v\ngot  %+v\nwant %+v", err, got, made)
	}
	change := got.DeepCopy()
	change.Data["k"] = "2"
	updated, err := client.As[*corev1.ConfigMap](s.Client.Update(ctx, core.ConfigMap, change, "", metav1.UpdateOptions{}))
	if err != nil || updated.Data["k"] != "2" || updated.ResourceVersion == made.ResourceVersion {
		t.Fatalf("update: %v, %+v", err, updated)
	}
	stale := got.DeepCopy()
	stale.Data["k"] = "3"
	if _, err := s.Client.Update(ctx, core.ConfigMap, stale, "", metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update with an old resourceVersion: %v, want a conflict", err)
	}
	if err := s.Client.Delete(ctx, core.ConfigMap, ns, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client.Get(ctx, core.ConfigMap, ns, "a"); !apierrors.IsNotFound(err) {
		t.Errorf("get of what was deleted: %v, want not found", err)
	}
}

func errorsAreStatuses(t *testing.T, ctx context.Context, s Subject) {
	create(t, ctx, s, core.ConfigMap, configMap("a"))
	if _, err := s.Client.Create(ctx, core.ConfigMap, configMap("a"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("create twice: %v", err)
	}
	_, err := s.Client.Create(ctx, core.ConfigMap, configMap("Not A Name"), metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) {
		t.Fatalf("bad name: %v", err)
	}
	if causes := err.(apierrors.APIStatus).Status().Details.Causes; len(causes) == 0 || causes[0].Field != "metadata.name" {
		t.Errorf("causes: %+v", causes)
	}
	lost := configMap("a")
	lost.Namespace = "nowhere"
	if _, err := s.Client.Create(ctx, core.ConfigMap, lost, metav1.CreateOptions{}); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), `namespaces "nowhere" not found`) {
		t.Errorf("create in a namespace that is not there: %v", err)
	}
	if err := s.Client.Delete(ctx, core.ConfigMap, ns, "none", metav1.DeleteOptions{}); !apierrors.IsNotFound(err) || err.Error() != `configmaps "none" not found` {
		t.Errorf("delete of nothing: %v", err)
	}
}

func lists(t *testing.T, ctx context.Context, s Subject) {
	for i := range 5 {
		c := configMap(fmt.Sprintf("c%d", i))
		c.Labels = map[string]string{"suite": "list", "odd": fmt.Sprint(i%2 == 1)}
		create(t, ctx, s, core.ConfigMap, c)
	}
	var names []string
	opts := metav1.ListOptions{LabelSelector: "suite=list", Limit: 2}
	for {
		page, err := s.Client.List(ctx, core.ConfigMap, ns, opts)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Items) > 2 || page.ResourceVersion == "" {
			t.Fatalf("page of %d items at %q", len(page.Items), page.ResourceVersion)
		}
		for _, o := range page.Items {
			names = append(names, o.GetName())
		}
		if page.Continue == "" {
			break
		}
		opts.Continue = page.Continue
	}
	if !slices.Equal(names, []string{"c0", "c1", "c2", "c3", "c4"}) {
		t.Errorf("pages: %v", names)
	}
	odd, err := s.Client.List(ctx, core.ConfigMap, "", metav1.ListOptions{LabelSelector: "odd=true"})
	if err != nil || len(odd.Items) != 2 {
		t.Errorf("by label in all namespaces: %v, %d items, want 2", err, len(odd.Items))
	}
	one, err := s.Client.List(ctx, core.ConfigMap, ns, metav1.ListOptions{FieldSelector: "metadata.name=c3"})
	if err != nil || len(one.Items) != 1 || one.Items[0].GetName() != "c3" {
		t.Errorf("by field: %v, %v", err, one)
	}
	if _, err := s.Client.List(ctx, core.ConfigMap, ns, metav1.ListOptions{LabelSelector: "a=b=c"}); !apierrors.IsBadRequest(err) {
		t.Errorf("bad selector: %v", err)
	}
}

// next is the next event of a watch that is about a name, or fails.
func next(t *testing.T, ctx context.Context, w watch.Interface) (watch.EventType, kinds.Object) {
	t.Helper()
	select {
	case e, open := <-w.ResultChan():
		if !open {
			t.Fatal("the watch has ended")
		}
		obj, ok := e.Object.(kinds.Object)
		if !ok {
			t.Fatalf("event %s with %T", e.Type, e.Object)
		}
		return e.Type, obj
	case <-ctx.Done():
		t.Fatal("no event")
	}
	return "", nil
}

func watches(t *testing.T, ctx context.Context, s Subject) {
	first := create(t, ctx, s, core.ConfigMap, configMap("w"))
	w, err := s.Client.Watch(ctx, core.ConfigMap, ns, metav1.ListOptions{ResourceVersion: first.ResourceVersion, FieldSelector: "metadata.name=w"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	change := first.DeepCopy()
	change.Data = map[string]string{"k": "v"}
	second, err := client.As[*corev1.ConfigMap](s.Client.Update(ctx, core.ConfigMap, change, "", metav1.UpdateOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	create(t, ctx, s, core.ConfigMap, configMap("other"))
	if err := s.Client.Delete(ctx, core.ConfigMap, ns, "w", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if kind, obj := next(t, ctx, w); kind != watch.Modified || obj.GetResourceVersion() != second.ResourceVersion {
		t.Errorf("first event %s %s, want MODIFIED %s", kind, obj.GetResourceVersion(), second.ResourceVersion)
	}
	if kind, obj := next(t, ctx, w); kind != watch.Deleted || obj.(*corev1.ConfigMap).Data["k"] != "v" || obj.GetResourceVersion() <= second.ResourceVersion {
		t.Errorf("second event %s %+v, want DELETED with the last state and a later resourceVersion", kind, obj)
	}
	again, err := s.Client.Watch(ctx, core.ConfigMap, ns, metav1.ListOptions{ResourceVersion: second.ResourceVersion, FieldSelector: "metadata.name=w"})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Stop()
	if kind, _ := next(t, ctx, again); kind != watch.Deleted {
		t.Errorf("a watch from the second state begins with %s, want DELETED", kind)
	}
}

func patches(t *testing.T, ctx context.Context, s Subject) {
	create(t, ctx, s, core.ConfigMap, configMap("p", "a", "1", "b", "2"))
	steps := []struct {
		pt   types.PatchType
		data string
		want map[string]string
	}{
		{types.MergePatchType, `{"data":{"a":null,"c":"3"}}`, map[string]string{"b": "2", "c": "3"}},
		{types.JSONPatchType, `[{"op":"replace","path":"/data/b","value":"9"}]`, map[string]string{"b": "9", "c": "3"}},
		{types.StrategicMergePatchType, `{"data":{"d":"4"}}`, map[string]string{"b": "9", "c": "3", "d": "4"}},
	}
	for _, p := range steps {
		got, err := client.As[*corev1.ConfigMap](s.Client.Patch(ctx, core.ConfigMap, ns, "p", p.pt, []byte(p.data), "", metav1.PatchOptions{}))
		if err != nil || !reflect.DeepEqual(got.Data, p.want) {
			t.Fatalf("%s: %v, %v, want %v", p.pt, err, got, p.want)
		}
	}
	apply := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied","namespace":"default"},"data":{"k":"v"}}`
	got, err := client.As[*corev1.ConfigMap](s.Client.Patch(ctx, core.ConfigMap, ns, "applied", types.ApplyPatchType, []byte(apply), "", metav1.PatchOptions{FieldManager: "suite"}))
	if err != nil || got.Data["k"] != "v" || len(got.ManagedFields) != 1 || got.ManagedFields[0].Manager != "suite" {
		t.Fatalf("apply: %v, %+v", err, got)
	}
	_, err = s.Client.Patch(ctx, core.ConfigMap, ns, "applied", types.ApplyPatchType, []byte(strings.Replace(apply, `"v"`, `"x"`, 2)), "", metav1.PatchOptions{FieldManager: "other"})
	if err == nil {
		t.Error("apply by another manager: no error")
	}
}

func pod(name string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{"app": name}}}
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "image"}}
	p.Spec.SchedulerName = "none"
	return p
}

func subresources(t *testing.T, ctx context.Context, s Subject) {
	made := create(t, ctx, s, core.Pod, pod("p"))
	if made.Status.Phase != corev1.PodPending {
		t.Errorf("phase %q, want Pending", made.Status.Phase)
	}
	b := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
	if _, err := s.Client.Post(ctx, core.Pod, ns, "p", "binding", b, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client.Post(ctx, core.Pod, ns, "p", "binding", b, metav1.CreateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("second binding: %v, want a conflict", err)
	}
	bound, err := client.As[*corev1.Pod](s.Client.Get(ctx, core.Pod, ns, "p"))
	if err != nil || bound.Spec.NodeName != "n1" {
		t.Fatalf("bound: %v, %+v", err, bound)
	}
	i := slices.IndexFunc(bound.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodScheduled })
	if i < 0 || bound.Status.Conditions[i].Status != corev1.ConditionTrue || bound.Status.Conditions[i].LastTransitionTime.IsZero() {
		t.Errorf("conditions after binding: %+v", bound.Status.Conditions)
	}
	change := bound.DeepCopy()
	change.Status.Phase = corev1.PodRunning
	change.Spec.NodeName = "elsewhere"
	after, err := client.As[*corev1.Pod](s.Client.Update(ctx, core.Pod, change, "status", metav1.UpdateOptions{}))
	if err != nil || after.Status.Phase != corev1.PodRunning || after.Spec.NodeName != "n1" {
		t.Fatalf("status update: %v, phase %s on %s", err, after.Status.Phase, after.Spec.NodeName)
	}
}

func preconditions(t *testing.T, ctx context.Context, s Subject) {
	made := create(t, ctx, s, core.ConfigMap, configMap("a"))
	other := types.UID("other")
	if err := s.Client.Delete(ctx, core.ConfigMap, ns, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("delete of another UID: %v, want a conflict", err)
	}
	if err := s.Client.Delete(ctx, core.ConfigMap, ns, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID}}); err != nil {
		t.Error(err)
	}
}

func deleteCollection(t *testing.T, ctx context.Context, s Subject) {
	for i := range 3 {
		c := configMap(fmt.Sprintf("d%d", i))
		c.Labels = map[string]string{"suite": "delete", "last": fmt.Sprint(i == 2)}
		create(t, ctx, s, core.ConfigMap, c)
	}
	if err := s.Client.DeleteCollection(ctx, core.ConfigMap, ns, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "suite=delete,last=false"}); err != nil {
		t.Fatal(err)
	}
	left, err := s.Client.List(ctx, core.ConfigMap, ns, metav1.ListOptions{LabelSelector: "suite=delete"})
	if err != nil || len(left.Items) != 1 || left.Items[0].GetName() != "d2" {
		t.Errorf("left: %v, %v", err, left)
	}
}

func inputIsCopied(t *testing.T, ctx context.Context, s Subject) {
	p := pod("copied")
	before := p.DeepCopy()
	made := create(t, ctx, s, core.Pod, p)
	if !equality.Semantic.DeepEqual(p, before) {
		t.Errorf("create changed what it was given:\n%+v\n%+v", p, before)
	}
	p.Labels["app"] = "changed by the caller afterwards"
	got, err := s.Client.Get(ctx, core.Pod, ns, "copied")
	if err != nil || got.GetLabels()["app"] != "copied" || made.Labels["app"] != "copied" {
		t.Errorf("the stored object changed with the caller's: %v, %v", err, got.GetLabels())
	}
}

// eventually waits for a cache to show something; in process it does at once.
func eventually(t *testing.T, ctx context.Context, what string, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the cache never shows %s", what)
		}
	}
}

func cacheReads(t *testing.T, ctx context.Context, s Subject) {
	owner := create(t, ctx, s, core.ConfigMap, configMap("owner"))
	for i := range 3 {
		p := pod(fmt.Sprintf("p%d", i))
		p.Spec.NodeName = fmt.Sprintf("n%d", i%2)
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}
		create(t, ctx, s, core.Pod, p)
	}
	eventually(t, ctx, "three pods", func() bool { return len(s.Cache.List(core.Pod, ns, nil)) == 3 })
	if _, ok := s.Cache.Get(core.Pod, ns, "p1"); !ok {
		t.Error("p1 is not found")
	}
	if _, ok := s.Cache.Get(core.Pod, ns, "none"); ok {
		t.Error("none is found")
	}
	names := func(objs []kinds.Object) string {
		var out []string
		for _, o := range objs {
			out = append(out, o.GetName())
		}
		return strings.Join(out, " ")
	}
	if got := names(s.Cache.List(core.Pod, "", labels.SelectorFromSet(labels.Set{"app": "p2"}))); got != "p2" {
		t.Errorf("by label: %s", got)
	}
	if got := names(s.Cache.Owned(core.Pod, ns, owner.UID)); got != "p0 p1 p2" {
		t.Errorf("owned: %s", got)
	}
	if got := names(s.Cache.ByField(core.Pod, "", "spec.nodeName", "n0")); got != "p0 p2" {
		t.Errorf("by node: %s", got)
	}
	if got := names(s.Cache.List(core.Pod, "elsewhere", nil)); got != "" {
		t.Errorf("in another namespace: %s", got)
	}
}

// journal writes down changes as text.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(c client.Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	what := "~"
	if c.Old == nil {
		what = "+"
	} else if c.New == nil {
		what = "-"
	}
	j.lines = append(j.lines, what+c.Object().GetName())
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, " ")
}

// followed runs Follow until the test ends and returns when it has synced.
func followed(t *testing.T, ctx context.Context, s Subject, opts client.FollowOptions) *journal {
	t.Helper()
	j := &journal{}
	ctx, cancel := context.WithCancel(ctx)
	synced, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.Cache.Follow(ctx, core.ConfigMap, ns, opts, j.add, func() { close(synced) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-synced:
	case <-ctx.Done():
		t.Fatal("Follow does not sync")
	}
	return j
}

func follow(t *testing.T, ctx context.Context, s Subject) {
	create(t, ctx, s, core.ConfigMap, configMap("a"))
	eventually(t, ctx, "a", func() bool { _, ok := s.Cache.Get(core.ConfigMap, ns, "a"); return ok })
	j := followed(t, ctx, s, client.FollowOptions{Fields: map[string]string{"metadata.namespace": ns}})
	start := j.String()
	if !strings.Contains(start, "+a") {
		t.Fatalf("at the start: %q", start)
	}
	made := create(t, ctx, s, core.ConfigMap, configMap("b"))
	change := made.DeepCopy()
	change.Data = map[string]string{"k": "v"}
	if _, err := s.Client.Update(ctx, core.ConfigMap, change, "", metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Delete(ctx, core.ConfigMap, ns, "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "+b ~b -b after "+start+", but "+j.String(), func() bool { return j.String() == start+" +b ~b -b" })
}

func followSelection(t *testing.T, ctx context.Context, s Subject) {
	j := followed(t, ctx, s, client.FollowOptions{Labels: labels.SelectorFromSet(labels.Set{"in": "yes"})})
	for _, step := range []string{"yes", "no", "yes"} {
		patch := fmt.Sprintf(`{"metadata":{"labels":{"in":%q}}}`, step)
		if _, err := s.Client.Get(ctx, core.ConfigMap, ns, "s"); apierrors.IsNotFound(err) {
			c := configMap("s")
			c.Labels = map[string]string{"in": step}
			create(t, ctx, s, core.ConfigMap, c)
			continue
		}
		if _, err := s.Client.Patch(ctx, core.ConfigMap, ns, "s", types.MergePatchType, []byte(patch), "", metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, ctx, "+s -s +s, but "+j.String(), func() bool { return j.String() == "+s -s +s" })
}
