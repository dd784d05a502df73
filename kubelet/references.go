package kubelet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kubelet/downward"
)

// references follows the config maps and secrets that pods of this node refer to, each once, and tells the workers of those pods when one changes.
type references struct {
	k        *Kubelet
	mu       sync.Mutex
	byKey    map[refKey]*reference
	byWorker map[*worker][]refKey
}

type refKey struct {
	secret          bool
	namespace, name string
}

type reference struct {
	workers map[*worker]bool
	cancel  context.CancelFunc
}

// follow begins to follow what the pod refers to. ctx is that of an action: what is followed outlives it.
func (r *references) follow(ctx context.Context, w *worker, pod *corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, done := r.byWorker[w]; done {
		return
	}
	keys := referenced(pod)
	r.byWorker[w] = keys
	for _, key := range keys {
		ref := r.byKey[key]
		if ref == nil {
			fctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
			ref = &reference{workers: map[*worker]bool{}, cancel: cancel}
			r.byKey[key] = ref
			go r.run(fctx, key)
		}
		ref.workers[w] = true
	}
}

func (r *references) run(ctx context.Context, key refKey) {
	kind := core.ConfigMap
	if key.secret {
		kind = core.Secret
	}
	synced := false
	opts := client.FollowOptions{Fields: map[string]string{"metadata.name": key.name}}
	err := r.k.cfg.Cache.Follow(ctx, kind, key.namespace, opts, func(client.Change) {
		if synced {
			r.tell(key)
		}
	}, func() { synced = true })
	if err != nil && ctx.Err() == nil {
		r.k.log.Warn("A config map or secret can no longer be followed", "kind", kind.Kind, "namespace", key.namespace, "name", key.name, "err", err)
	}
}

func (r *references) tell(key refKey) {
	r.mu.Lock()
	var list []*worker
	if ref := r.byKey[key]; ref != nil {
		for w := range ref.workers {
			list = append(list, w)
		}
	}
	r.mu.Unlock()
	for _, w := range list {
		w.dataChanged()
	}
}

// drop ends following on behalf of a worker.
func (r *references) drop(w *worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range r.byWorker[w] {
		if ref := r.byKey[key]; ref != nil {
			if delete(ref.workers, w); len(ref.workers) == 0 {
				ref.cancel()
				delete(r.byKey, key)
			}
		}
	}
	delete(r.byWorker, w)
}

// close ends all following.
func (r *references) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, ref := range r.byKey {
		ref.cancel()
		delete(r.byKey, key)
	}
	clear(r.byWorker)
}

// referenced lists the config maps and secrets that volumes and variables of a pod come from, each once.
func referenced(pod *corev1.Pod) []refKey {
	var out []refKey
	seen := map[refKey]bool{}
	add := func(secret bool, name string) {
		key := refKey{secret, pod.Namespace, name}
		if name != "" && !seen[key] {
			seen[key] = true
			out = append(out, key)
		}
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.ConfigMap != nil {
			add(false, v.ConfigMap.Name)
		}
		if v.Secret != nil {
			add(true, v.Secret.SecretName)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					add(false, s.ConfigMap.Name)
				}
				if s.Secret != nil {
					add(true, s.Secret.Name)
				}
			}
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, e := range list[i].EnvFrom {
				if e.ConfigMapRef != nil {
					add(false, e.ConfigMapRef.Name)
				}
				if e.SecretRef != nil {
					add(true, e.SecretRef.Name)
				}
			}
			for _, e := range list[i].Env {
				if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
					add(false, e.ValueFrom.ConfigMapKeyRef.Name)
				}
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					add(true, e.ValueFrom.SecretKeyRef.Name)
				}
			}
		}
	}
	return out
}

// get reads through the cache, and asks the API about what the cache does not have (yet).
func get[T kinds.Object](k *Kubelet, kind *kinds.Kind, namespace, name string) (T, error) {
	if o, ok := client.Found[T](k.cfg.Cache.Get(kind, namespace, name)); ok {
		return o, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return client.As[T](k.cfg.Client.Get(ctx, kind, namespace, name))
}

func (k *Kubelet) configMap(namespace, name string) (*corev1.ConfigMap, error) {
	return get[*corev1.ConfigMap](k, core.ConfigMap, namespace, name)
}

func (k *Kubelet) secret(namespace, name string) (*corev1.Secret, error) {
	return get[*corev1.Secret](k, core.Secret, namespace, name)
}

func (k *Kubelet) services(namespace string) []*corev1.Service {
	return client.All[*corev1.Service](k.cfg.Cache.List(core.Service, namespace, nil))
}

// token asks for a token of the pod's service account that is bound to the pod.
func (k *Kubelet) token(ctx context.Context, pod *corev1.Pod, audience string, seconds int64) (string, time.Time, error) {
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if audience != "" {
		req.Spec.Audiences = []string{audience}
	}
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	out, err := k.cfg.Client.Post(ctx, core.ServiceAccount, pod.Namespace, account, "token", req, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	got, ok := out.(*authenticationv1.TokenRequest)
	if !ok {
		return "", time.Time{}, fmt.Errorf("the API answered a token request with %T", out)
	}
	if got.Status.Token == "" {
		return "", time.Time{}, errors.New("the API answered a token request without a token")
	}
	return got.Status.Token, got.Status.ExpirationTimestamp.Time, nil
}

// facts are what the downward API says beside the pod itself.
func (k *Kubelet) facts(podIPs []string) downward.Facts {
	return downward.Facts{HostIPs: k.cfg.NodeIPs, PodIPs: podIPs, Allocatable: k.node.allocatable()}
}
