package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/scheduling"
	"github.com/tenet-run/tenet/store"
)

// objects is a Reader over a map: "pods/ns/name".
type objects map[string]kinds.Object

func (o objects) Peek(k *kinds.Kind, namespace, name string) (kinds.Object, bool) {
	obj, ok := o[k.Plural+"/"+namespace+"/"+name]
	return obj, ok
}

func (o objects) PeekList(k *kinds.Kind, namespace string, _ labels.Selector) (out []kinds.Object) {
	for key, obj := range o {
		if strings.HasPrefix(key, k.Plural+"/") && (namespace == "" || obj.GetNamespace() == namespace) {
			out = append(out, obj)
		}
	}
	return out
}
func (objects) PeekOwned(*kinds.Kind, string, types.UID) []kinds.Object      { panic("not used") }
func (objects) PeekField(*kinds.Kind, string, string, string) []kinds.Object { panic("not used") }

func request(op Operation, k *kinds.Kind, obj, old kinds.Object) *Request {
	r := &Request{Operation: op, Kind: k, Served: k.Served[0], Object: obj, Old: old, User: &user.DefaultInfo{Name: "alice"}, Warn: func(string) {}}
	for _, o := range []kinds.Object{obj, old} {
		if o != nil && r.Name == "" {
			r.Name, r.Namespace = o.GetName(), o.GetNamespace()
		}
	}
	return r
}

func admit(p Plugin, r *Request) error {
	if m, ok := p.(Mutator); ok {
		if err := m.Mutate(context.Background(), r); err != nil {
			return err
		}
	}
	if v, ok := p.(Validator); ok {
		return v.Validate(context.Background(), r)
	}
	return nil
}

func check(t *testing.T, what string, err error, code int32, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != code || err.Error() != want {
		t.Errorf("%s:\n got %v\nwant %d %s", what, err, code, want)
	}
}

func newPod(f func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	if f != nil {
		f(p)
	}
	return p
}

func namespace(name string, phase corev1.NamespacePhase) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NamespaceStatus{Phase: phase}}
}

func TestNamespaceLifecycle(t *testing.T) {
	o := objects{"namespaces//ns": namespace("ns", corev1.NamespaceActive), "namespaces//going": namespace("going", corev1.NamespaceTerminating)}
	p := NamespaceLifecycle(o)
	in := func(ns string) *corev1.Pod { return newPod(func(p *corev1.Pod) { p.Namespace = ns }) }
	check(t, "active", admit(p, request(Create, core.Pod, in("ns"), nil)), 0, "")
	check(t, "missing", admit(p, request(Create, core.Pod, in("none"), nil)), 404, `namespaces "none" not found`)
	err := admit(p, request(Create, core.Pod, in("going"), nil))
	check(t, "going", err, 403, `pods "p" is forbidden: unable to create new content in namespace going because it is being terminated`)
	if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("no cause in %#v", err)
	}
	check(t, "update in going", admit(p, request(Update, core.Pod, in("going"), in("going"))), 0, "")
	check(t, "delete in going", admit(p, request(Delete, core.Pod, nil, in("going"))), 0, "")
	check(t, "cluster-scoped", admit(p, request(Create, core.Node, &corev1.Node{}, nil)), 0, "")
	check(t, "a namespace", admit(p, request(Create, core.Namespace, namespace("x", ""), nil)), 0, "")
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		check(t, name, admit(p, request(Delete, core.Namespace, nil, namespace(name, ""))), 403, fmt.Sprintf("namespaces %q is forbidden: this namespace may not be deleted", name))
	}
	check(t, "delete ns", admit(p, request(Delete, core.Namespace, nil, namespace("ns", ""))), 0, "")
}

func TestPriority(t *testing.T) {
	never := corev1.PreemptNever
	class := func(name string, value int32, def bool, policy *corev1.PreemptionPolicy) *schedulingv1.PriorityClass {
		return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value, GlobalDefault: def, PreemptionPolicy: policy}
	}
	o := objects{"priorityclasses//high": class("high", 1000, false, &never)}
	p := Priority(o)
	create := func(f func(*corev1.Pod)) (string, error) {
		pod := newPod(f)
		if err := admit(p, request(Create, core.Pod, pod, nil)); err != nil {
			return "", err
		}
		return fmt.Sprint(pod.Spec.PriorityClassName, " ", *pod.Spec.Priority, " ", *pod.Spec.PreemptionPolicy), nil
	}
	for _, tc := range []struct {
		what string
		f    func(*corev1.Pod)
		got  string
		err  string
	}{
		{"nothing", nil, " 0 PreemptLowerPriority", ""},
		{"high", func(p *corev1.Pod) { p.Spec.PriorityClassName = "high" }, "high 1000 Never", ""},
		{"system", func(p *corev1.Pod) { p.Spec.PriorityClassName = "system-node-critical" }, "system-node-critical 2000001000 PreemptLowerPriority", ""},
		{"unknown", func(p *corev1.Pod) { p.Spec.PriorityClassName = "x" }, "", `pods "p" is forbidden: no PriorityClass with name x was found`},
		{"own number", func(p *corev1.Pod) { p.Spec.PriorityClassName, p.Spec.Priority = "high", new(int32(5)) }, "",
			`pods "p" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name`},
		{"right number", func(p *corev1.Pod) { p.Spec.PriorityClassName, p.Spec.Priority = "high", new(int32(1000)) }, "high 1000 Never", ""},
		{"own policy", func(p *corev1.Pod) { p.Spec.PreemptionPolicy = &never }, "",
			`pods "p" is forbidden: the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name`},
	} {
		got, err := create(tc.f)
		check(t, tc.what, err, 403, tc.err)
		if got != tc.got {
			t.Errorf("%s: got %q, want %q", tc.what, got, tc.got)
		}
	}

	def := class("def", 7, true, nil)
	check(t, "first default", admit(p, request(Create, scheduling.PriorityClass, def, nil)), 0, "")
	o["priorityclasses//def"] = def
	pod := newPod(nil)
	check(t, "default class", admit(p, request(Create, core.Pod, pod, nil)), 0, "")
	if pod.Spec.PriorityClassName != "def" || *pod.Spec.Priority != 7 {
		t.Errorf("got %s %d", pod.Spec.PriorityClassName, *pod.Spec.Priority)
	}
	check(t, "second default", admit(p, request(Create, scheduling.PriorityClass, class("d2", 1, true, nil), nil)), 403,
		`priorityclasses.scheduling.k8s.io "d2" is forbidden: PriorityClass def is already marked as default. Only one default can exist`)
	check(t, "the default again", admit(p, request(Update, scheduling.PriorityClass, def, def)), 0, "")
	check(t, "system class", admit(p, request(Delete, scheduling.PriorityClass, nil, class("system-node-critical", 0, false, nil))), 403,
		`priorityclasses.scheduling.k8s.io "system-node-critical" is forbidden: this is a system priority class and cannot be deleted`)

	old := newPod(func(p *corev1.Pod) { p.Spec.Priority, p.Spec.PreemptionPolicy = new(int32(3)), &never })
	pod = newPod(nil)
	check(t, "update", admit(p, request(Update, core.Pod, pod, old)), 0, "")
	if *pod.Spec.Priority != 3 || *pod.Spec.PreemptionPolicy != never {
		t.Errorf("an update lost the priority: %+v", pod.Spec)
	}
}

func TestTolerationsAndTaints(t *testing.T) {
	pod := newPod(nil)
	for range 2 { // the second time adds nothing
		check(t, "pod", admit(DefaultTolerationSeconds(), request(Create, core.Pod, pod, nil)), 0, "")
	}
	ts := pod.Spec.Tolerations
	if got, want := fmt.Sprintf("%d %s %d %s", len(ts), ts[0].Key, *ts[0].TolerationSeconds, ts[1].Key), "2 node.kubernetes.io/not-ready 300 node.kubernetes.io/unreachable"; got != want {
		t.Errorf("got %s", got)
	}
	pod = newPod(func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} })
	check(t, "tolerates all", admit(DefaultTolerationSeconds(), request(Create, core.Pod, pod, nil)), 0, "")
	if len(pod.Spec.Tolerations) != 1 {
		t.Errorf("got %v", pod.Spec.Tolerations)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	for range 2 {
		check(t, "node", admit(TaintNodesByCondition(), request(Create, core.Node, node, nil)), 0, "")
	}
	if len(node.Spec.Taints) != 1 || node.Spec.Taints[0].ToString() != "node.kubernetes.io/not-ready:NoSchedule" {
		t.Errorf("got %v", node.Spec.Taints)
	}
}

func TestStorageInUseIsProtected(t *testing.T) {
	p := StorageObjectInUseProtection()
	for k, want := range map[*kinds.Kind]string{
		core.PersistentVolumeClaim: "[kubernetes.io/pvc-protection]", core.PersistentVolume: "[kubernetes.io/pv-protection]", core.ConfigMap: "[]",
	} {
		obj := k.New()
		for range 2 { // the second time adds nothing
			check(t, k.Kind, admit(p, request(Create, k, obj, nil)), 0, "")
		}
		if got := fmt.Sprint(obj.GetFinalizers()); got != want {
			t.Errorf("%s: got %s, want %s", k.Kind, got, want)
		}
	}
	claim := core.PersistentVolumeClaim.New()
	check(t, "update", admit(p, request(Update, core.PersistentVolumeClaim, claim, claim)), 0, "")
	if f := claim.GetFinalizers(); len(f) > 0 {
		t.Errorf("an update got %v: the controller could not take it away", f)
	}
}

func account(name string, f func(*corev1.ServiceAccount)) *corev1.ServiceAccount {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
	if f != nil {
		f(sa)
	}
	return sa
}

func TestServiceAccountGivesAnIdentity(t *testing.T) {
	o := objects{"serviceaccounts/ns/default": account("default", func(sa *corev1.ServiceAccount) { sa.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "reg"}} })}
	p := ServiceAccount(o, nil)
	pod := newPod(func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{Name: "i"}}
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "own", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: tokenPath}}})
	})
	r := request(Create, core.Pod, pod, nil)
	for range 2 { // a retried write
		check(t, "pod", admit(p, r), 0, "")
	}
	if pod.Spec.ServiceAccountName != "default" || pod.Spec.DeprecatedServiceAccount != "default" || len(pod.Spec.ImagePullSecrets) != 1 {
		t.Errorf("got %+v", pod.Spec)
	}
	if len(pod.Spec.Volumes) != 1 || !strings.HasPrefix(pod.Spec.Volumes[0].Name, "kube-api-access-") {
		t.Fatalf("got volumes %+v", pod.Spec.Volumes)
	}
	src := pod.Spec.Volumes[0].Projected
	if *src.DefaultMode != 0o644 || *src.Sources[0].ServiceAccountToken.ExpirationSeconds != 3607 || src.Sources[1].ConfigMap.Name != "kube-root-ca.crt" || src.Sources[2].DownwardAPI.Items[0].Path != "namespace" {
		t.Errorf("got %+v", src)
	}
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		if len(c.VolumeMounts) != 1 || (c.VolumeMounts[0].Name == pod.Spec.Volumes[0].Name) == (c.Name == "own") {
			t.Errorf("container %s mounts %+v", c.Name, c.VolumeMounts)
		}
	}
	no := false
	for what, f := range map[string]func(*corev1.Pod){
		"pod says no":     func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = &no },
		"account says no": func(p *corev1.Pod) { p.Spec.ServiceAccountName = "quiet" },
	} {
		o["serviceaccounts/ns/quiet"] = account("quiet", func(sa *corev1.ServiceAccount) { sa.AutomountServiceAccountToken = &no })
		pod := newPod(f)
		check(t, what, admit(p, request(Create, core.Pod, pod, nil)), 0, "")
		if len(pod.Spec.Volumes) != 0 {
			t.Errorf("%s: got %v", what, pod.Spec.Volumes)
		}
	}
	check(t, "missing", admit(p, request(Create, core.Pod, newPod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "x" }), nil)), 403,
		`pods "p" is forbidden: error looking up service account ns/x: serviceaccount "x" not found`)
}

func TestMirrorPodsAndMountableSecrets(t *testing.T) {
	p := ServiceAccount(objects{"serviceaccounts/ns/strict": account("strict", func(sa *corev1.ServiceAccount) {
		sa.Annotations = map[string]string{"kubernetes.io/enforce-mountable-secrets": "true"}
		sa.Secrets = []corev1.ObjectReference{{Name: "ok"}}
	})}, nil)
	secretVolume := func(name string) []corev1.Volume {
		return []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}}}
	}
	from := func(name string) []corev1.EnvFromSource {
		return []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}
	}
	mirror := func(f func(*corev1.Pod)) *corev1.Pod {
		return newPod(func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
			f(p)
		})
	}
	strict := func(f func(*corev1.Pod)) *corev1.Pod {
		return newPod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "strict"; f(p) })
	}
	for _, tc := range []struct {
		what string
		pod  *corev1.Pod
		err  string
	}{
		{"mirror", mirror(func(*corev1.Pod) {}), ""},
		{"mirror with account", mirror(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "strict" }), `a mirror pod may not reference service accounts`},
		{"mirror with secret", mirror(func(p *corev1.Pod) { p.Spec.Volumes = secretVolume("x") }), `a mirror pod may not reference secrets`},
		{"mirror with env", mirror(func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = from("x") }), `a mirror pod may not reference secrets`},
		{"mirror with token", mirror(func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "t", VolumeSource: corev1.VolumeSource{Projected: tokenSource()}}}
		}), `a mirror pod may not use ServiceAccountToken volume projections`},
		{"strict, listed", strict(func(p *corev1.Pod) { p.Spec.Volumes = secretVolume("ok") }), ""},
		{"strict, volume", strict(func(p *corev1.Pod) { p.Spec.Volumes = secretVolume("x") }), `volume with secret.secretName="x" is not allowed because service account strict does not reference that secret`},
		{"strict, env", strict(func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = from("x") }), `container c with envFrom referencing secret.secretName="x" is not allowed because service account strict does not reference that secret`},
		{"strict, pull", strict(func(p *corev1.Pod) { p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "x"}} }), `imagePullSecrets[0].name="x" is not allowed because service account strict does not reference that imagePullSecret`},
	} {
		want := tc.err
		if want != "" {
			want = `pods "p" is forbidden: ` + want
		}
		check(t, tc.what, admit(p, request(Create, core.Pod, tc.pod, nil)), 403, want)
		if tc.pod.Annotations != nil && tc.what == "mirror" && len(tc.pod.Spec.Volumes) > 0 {
			t.Error("a mirror pod was changed")
		}
	}
}

// oneEvent is a watcher that lets something happen at its first Next.
type oneEvent struct {
	store.Watcher
	after  time.Duration
	happen func()
}

func (w *oneEvent) Close() {}
func (w *oneEvent) Next(ctx context.Context) ([]store.Event, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(w.after):
		w.happen()
		w.after = time.Hour
		return []store.Event{{Type: store.Created}}, nil
	}
}

func TestPodWaitsForTheDefaultAccountOfANewNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := objects{}
		p := ServiceAccount(o, func(q store.WatchQuery) (store.Watcher, error) {
			if q.Prefix != "serviceaccounts" || q.Namespace != "ns" {
				t.Errorf("watches %+v", q)
			}
			return &oneEvent{after: 300 * time.Millisecond, happen: func() { o["serviceaccounts/ns/default"] = account("default", nil) }}, nil
		})
		begin := time.Now()
		check(t, "default", admit(p, request(Create, core.Pod, newPod(nil), nil)), 0, "")
		if d := time.Since(begin); d != 300*time.Millisecond {
			t.Errorf("took %s", d)
		}
		begin = time.Now()
		p = ServiceAccount(objects{}, func(store.WatchQuery) (store.Watcher, error) { return &oneEvent{after: time.Hour}, nil })
		check(t, "never", admit(p, request(Create, core.Pod, newPod(nil), nil)), 403, `pods "p" is forbidden: error looking up service account ns/default: serviceaccount "default" not found`)
		check(t, "another", admit(p, request(Create, core.Pod, newPod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "x" }), nil)), 403, `pods "p" is forbidden: error looking up service account ns/x: serviceaccount "x" not found`)
		if d := time.Since(begin); d != accountWait {
			t.Errorf("took %s, want %s", d, accountWait)
		}
	})
}
