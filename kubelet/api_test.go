package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// api is the part of the API that a kubelet uses, in memory and without the rules of kinds: client, cache and recorder in one.
type api struct {
	mu        sync.Mutex
	rv        int
	objects   map[string]kinds.Object
	followers map[*follower]bool
	statuses  int // writes of pod status
	events    []string
	begun     time.Time
	onStatus  func(*corev1.Pod)
}

type follower struct {
	prefix string
	fields map[string]string
	queue  chan client.Change
}

func newAPI() *api {
	return &api{objects: map[string]kinds.Object{}, followers: map[*follower]bool{}, begun: time.Now()}
}

func key(k *kinds.Kind, ns, name string) string { return k.Plural + "/" + ns + "/" + name }

func (f *follower) wants(key string, o kinds.Object) bool {
	if o == nil || !strings.HasPrefix(key, f.prefix) {
		return false
	}
	for name, v := range f.fields {
		switch name {
		case "metadata.name":
			if o.GetName() != v {
				return false
			}
		case "spec.nodeName":
			if o.(*corev1.Pod).Spec.NodeName != v {
				return false
			}
		}
	}
	return true
}

// put stores an object, nil deletes; a.mu is held.
func (a *api) put(key string, o kinds.Object) kinds.Object {
	old := a.objects[key]
	a.rv++
	if o == nil {
		delete(a.objects, key)
	} else {
		o.SetResourceVersion(strconv.Itoa(a.rv))
		a.objects[key] = o
	}
	for f := range a.followers {
		c := client.Change{}
		if f.wants(key, old) {
			c.Old = old
		}
		if f.wants(key, o) {
			c.New = o
		}
		if c.Old != nil || c.New != nil {
			f.queue <- c
		}
	}
	return o
}

func copyOf(o kinds.Object) kinds.Object { return o.DeepCopyObject().(kinds.Object) }

func (a *api) Get(ctx context.Context, k *kinds.Kind, ns, name string) (kinds.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o, ok := a.objects[key(k, ns, name)]
	if !ok {
		return nil, apierrors.NewNotFound(k.GroupResource(), name)
	}
	return o, nil
}

func (a *api) List(context.Context, *kinds.Kind, string, metav1.ListOptions) (*client.List, error) {
	panic("the kubelet lists through its cache")
}

func (a *api) Watch(context.Context, *kinds.Kind, string, metav1.ListOptions) (watch.Interface, error) {
	panic("the kubelet watches through its cache")
}

func (a *api) Create(ctx context.Context, k *kinds.Kind, obj kinds.Object, _ metav1.CreateOptions) (kinds.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := key(k, obj.GetNamespace(), obj.GetName())
	if a.objects[id] != nil {
		return nil, apierrors.NewAlreadyExists(k.GroupResource(), obj.GetName())
	}
	o := copyOf(obj)
	if o.GetUID() == "" {
		o.SetUID(types.UID(fmt.Sprintf("uid-%d", a.rv+1)))
	}
	o.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	return a.put(id, o), nil
}

func (a *api) Update(ctx context.Context, k *kinds.Kind, obj kinds.Object, sub string, _ metav1.UpdateOptions) (kinds.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := key(k, obj.GetNamespace(), obj.GetName())
	old := a.objects[id]
	if old == nil {
		return nil, apierrors.NewNotFound(k.GroupResource(), obj.GetName())
	}
	if obj.GetResourceVersion() != old.GetResourceVersion() {
		return nil, apierrors.NewConflict(k.GroupResource(), obj.GetName(), fmt.Errorf("the object has been modified"))
	}
	o := copyOf(obj)
	if pod, ok := o.(*corev1.Pod); ok && sub == "status" {
		now := copyOf(old).(*corev1.Pod)
		now.Status = pod.Status
		o = now
		a.statuses++
		if a.onStatus != nil {
			a.onStatus(now)
		}
	}
	return a.put(id, o), nil
}

func (a *api) Patch(ctx context.Context, k *kinds.Kind, ns, name string, pt types.PatchType, data []byte, sub string, _ metav1.PatchOptions) (kinds.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.objects[key(k, ns, name)]
	if old == nil {
		return nil, apierrors.NewNotFound(k.GroupResource(), name)
	}
	b, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	out := k.New()
	if b, err = strategicpatch.StrategicMergePatch(b, data, out); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, err
	}
	return a.put(key(k, ns, name), out), nil
}

// Delete is graceful for pods that run on a node.
func (a *api) Delete(ctx context.Context, k *kinds.Kind, ns, name string, opts metav1.DeleteOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.objects[key(k, ns, name)]
	if old == nil {
		return apierrors.NewNotFound(k.GroupResource(), name)
	}
	if opts.Preconditions != nil && opts.Preconditions.UID != nil && *opts.Preconditions.UID != old.GetUID() {
		return apierrors.NewConflict(k.GroupResource(), name, fmt.Errorf("the UID differs"))
	}
	pod, ok := old.(*corev1.Pod)
	if ok {
		grace := int64(30)
		if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
			grace = *g
		}
		if opts.GracePeriodSeconds != nil {
			grace = *opts.GracePeriodSeconds
		}
		if grace > 0 {
			pod = pod.DeepCopy()
			at := metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second))
			pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &at, &grace
			a.put(key(k, ns, name), pod)
			return nil
		}
		a.note("API: pod " + name + " deleted")
	}
	a.put(key(k, ns, name), nil)
	return nil
}

func (a *api) DeleteCollection(context.Context, *kinds.Kind, string, metav1.DeleteOptions, metav1.ListOptions) error {
	panic("the kubelet deletes no collections")
}

func (a *api) Post(ctx context.Context, k *kinds.Kind, ns, name, sub string, in runtime.Object, _ metav1.CreateOptions) (runtime.Object, error) {
	out := in.DeepCopyObject().(*authenticationv1.TokenRequest)
	out.Status.Token = "token-of-" + name + "-at-" + strconv.Itoa(int(time.Since(a.begun).Seconds()))
	out.Status.ExpirationTimestamp = metav1.NewTime(time.Now().Add(time.Duration(*out.Spec.ExpirationSeconds) * time.Second))
	return out, nil
}

// cache reads the same objects.
type cache struct{ *api }

func (a cache) Get(k *kinds.Kind, ns, name string) (kinds.Object, bool) {
	o, err := a.api.Get(context.Background(), k, ns, name)
	return o, err == nil
}

func (a cache) List(k *kinds.Kind, ns string, _ labels.Selector) []kinds.Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []kinds.Object
	for id, o := range a.objects {
		if strings.HasPrefix(id, k.Plural+"/"+ns) {
			out = append(out, o)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].GetName() < out[j].GetName() })
	return out
}

func (a cache) Owned(*kinds.Kind, string, types.UID) []kinds.Object        { return nil }
func (a cache) ByField(*kinds.Kind, string, string, string) []kinds.Object { return nil }
func (a cache) Follow(ctx context.Context, k *kinds.Kind, ns string, o client.FollowOptions, handle func(client.Change), synced func()) error {
	f := &follower{prefix: k.Plural + "/", fields: o.Fields, queue: make(chan client.Change, 10000)}
	if ns != "" {
		f.prefix += ns + "/"
	}
	a.mu.Lock()
	var there []kinds.Object
	for id, obj := range a.objects {
		if f.wants(id, obj) {
			there = append(there, obj)
		}
	}
	a.followers[f] = true
	a.mu.Unlock()
	defer func() { a.mu.Lock(); delete(a.followers, f); a.mu.Unlock() }()
	for _, obj := range there {
		handle(client.Change{New: obj})
	}
	if synced != nil {
		synced()
	}
	for {
		select {
		case c := <-f.queue:
			handle(c)
		case <-ctx.Done():
			return nil
		}
	}
}

// recorder notes events with the time since the beginning.
type recorder struct{ *api }

func (a *api) note(text string) {
	a.events = append(a.events, fmt.Sprintf("%6.1fs %s", time.Since(a.begun).Seconds(), text))
}

func (r recorder) Event(k *kinds.Kind, about kinds.Object, t, reason, message string) {
	r.EventField(k, about, "", t, reason, message)
}

func (r recorder) EventField(k *kinds.Kind, about kinds.Object, field, t, reason, message string) {
	if k == core.Node {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, name, ok := strings.Cut(field, "{"); ok {
		field = strings.TrimSuffix(name, "}") + ": "
	}
	r.note(fmt.Sprintf("%s %s %s%s: %s", t, about.GetName(), field, reason, message))
}
