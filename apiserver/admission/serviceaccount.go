package admission

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/store"
)

const (
	defaultAccount = "default"
	// tokenVolume begins the name of the volume with token, authority and namespace; tokenPath is where containers find it.
	tokenVolume = "kube-api-access-"
	tokenPath   = "/var/run/secrets/kubernetes.io/serviceaccount"
	// tokenSeconds is told apart by TokenRequest from what users ask for (authn.ProjectedExpiration).
	tokenSeconds = 60*60 + 7
	// accountWait is how long a pod waits for the default account of a new namespace, which a controller makes.
	accountWait = 1500 * time.Millisecond

	mountableSecretsAnnotation = "kubernetes.io/enforce-mountable-secrets"
)

type serviceAccount struct {
	reader Reader
	watch  func(store.WatchQuery) (store.Watcher, error)
}

// ServiceAccount gives every pod an identity: its service account, the volume with the account's token, and the account's imagePullSecrets.
// watch (store.Store.Watch) lets a pod wait a moment for the default account of a namespace that was just made; nil: it does not wait.
func ServiceAccount(reader Reader, watch func(store.WatchQuery) (store.Watcher, error)) Plugin {
	return serviceAccount{reader, watch}
}

func (serviceAccount) Name() string { return "ServiceAccount" }

func (p serviceAccount) Mutate(ctx context.Context, r *Request) error {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok || r.Kind != core.Pod || r.Subresource != "" || r.Operation != Create || isMirror(pod) {
		return nil
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = pod.Spec.DeprecatedServiceAccount
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultAccount
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	sa, err := p.account(ctx, r, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	if automounts(sa, pod) {
		mountToken(pod)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 && len(sa.ImagePullSecrets) > 0 {
		pod.Spec.ImagePullSecrets = append([]corev1.LocalObjectReference(nil), sa.ImagePullSecrets...)
	}
	return nil
}

func (p serviceAccount) Validate(ctx context.Context, r *Request) error {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok || r.Kind != core.Pod {
		return nil
	}
	ephemeral := r.Operation == Update && r.Subresource == "ephemeralcontainers"
	if !ephemeral && (r.Operation != Create || r.Subresource != "") {
		return nil
	}
	if !ephemeral && isMirror(pod) {
		return validateMirror(r, pod)
	}
	if pod.Spec.ServiceAccountName == "" {
		return Forbidden(r, "no service account specified for pod %s/%s", r.Namespace, pod.Name)
	}
	sa, err := p.account(ctx, r, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	if enforce, _ := strconv.ParseBool(sa.Annotations[mountableSecretsAnnotation]); !enforce {
		return nil
	}
	if err := limitSecrets(sa, pod, ephemeral); err != nil {
		return Forbidden(r, "%w", err)
	}
	return nil
}

func (p serviceAccount) account(ctx context.Context, r *Request, name string) (*corev1.ServiceAccount, error) {
	if obj, ok := p.reader.Peek(core.ServiceAccount, r.Namespace, name); ok {
		return obj.(*corev1.ServiceAccount), nil
	}
	if name == defaultAccount && p.watch != nil {
		if sa := p.await(ctx, r.Namespace, name); sa != nil {
			return sa, nil
		}
	}
	return nil, Forbidden(r, "error looking up service account %s/%s: serviceaccount %q not found", r.Namespace, name, name)
}

// await waits until the account is there, or for accountWait.
func (p serviceAccount) await(ctx context.Context, namespace, name string) *corev1.ServiceAccount {
	ctx, cancel := context.WithTimeout(ctx, accountWait)
	defer cancel()
	w, err := p.watch(store.WatchQuery{Prefix: core.ServiceAccount.Storage.Prefix, Namespace: namespace, Selector: &store.Selector{Fields: map[string]string{"metadata.name": name}}})
	if err != nil {
		return nil
	}
	defer w.Close()
	for { // the watch is open before the first look, so nothing falls between
		if obj, ok := p.reader.Peek(core.ServiceAccount, namespace, name); ok {
			return obj.(*corev1.ServiceAccount)
		}
		if _, err := w.Next(ctx); err != nil {
			return nil
		}
	}
}

func isMirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

func automounts(sa *corev1.ServiceAccount, pod *corev1.Pod) bool {
	if a := pod.Spec.AutomountServiceAccountToken; a != nil {
		return *a
	}
	if a := sa.AutomountServiceAccountToken; a != nil {
		return *a
	}
	return true
}

// mountToken mounts the token into every container that has nothing of its own at the path.
func mountToken(pod *corev1.Pod) {
	name, there := "", false
	for _, v := range pod.Spec.Volumes {
		if strings.HasPrefix(v.Name, tokenVolume) {
			name, there = v.Name, true
			break
		}
	}
	if name == "" {
		name = tokenVolume + utilrand.String(5)
	}
	needed := false
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if c := &list[i]; !mountsAt(c, tokenPath) {
				c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: tokenPath})
				needed = true
			}
		}
	}
	if needed && !there {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: tokenSource()}})
	}
}

func mountsAt(c *corev1.Container, path string) bool {
	for _, m := range c.VolumeMounts {
		if m.MountPath == path {
			return true
		}
	}
	return false
}

func tokenSource() *corev1.ProjectedVolumeSource {
	return &corev1.ProjectedVolumeSource{
		DefaultMode: new(corev1.ProjectedVolumeSourceDefaultMode),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(tokenSeconds))}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}},
			}}},
		},
	}
}

// validateMirror: a mirror pod stands for one that a node runs by itself, which knows neither accounts nor secrets.
func validateMirror(r *Request, pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return Forbidden(r, "a mirror pod may not reference service accounts")
	}
	if referencesSecrets(pod) {
		return Forbidden(r, "a mirror pod may not reference secrets")
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				return Forbidden(r, "a mirror pod may not use ServiceAccountToken volume projections")
			}
		}
	}
	return nil
}

func referencesSecrets(pod *corev1.Pod) bool {
	if len(pod.Spec.ImagePullSecrets) > 0 {
		return true
	}
	for _, c := range allContainers(pod) {
		if len(secretsOf(c)) > 0 {
			return true
		}
	}
	for _, v := range pod.Spec.Volumes {
		switch s := v.VolumeSource; {
		case s.Secret != nil, s.AzureFile != nil,
			s.CephFS != nil && s.CephFS.SecretRef != nil,
			s.Cinder != nil && s.Cinder.SecretRef != nil,
			s.FlexVolume != nil && s.FlexVolume.SecretRef != nil,
			s.RBD != nil && s.RBD.SecretRef != nil,
			s.ScaleIO != nil && s.ScaleIO.SecretRef != nil,
			s.ISCSI != nil && s.ISCSI.SecretRef != nil,
			s.StorageOS != nil && s.StorageOS.SecretRef != nil,
			s.CSI != nil && s.CSI.NodePublishSecretRef != nil:
			return true
		case s.Projected != nil:
			for _, src := range s.Projected.Sources {
				if src.Secret != nil {
					return true
				}
			}
		}
	}
	return false
}

// container is what the three kinds of containers have in common here.
type container struct {
	what, name string
	env        []corev1.EnvVar
	from       []corev1.EnvFromSource
}

func allContainers(pod *corev1.Pod) []container {
	var out []container
	for _, c := range pod.Spec.InitContainers {
		out = append(out, container{"init container", c.Name, c.Env, c.EnvFrom})
	}
	for _, c := range pod.Spec.Containers {
		out = append(out, container{"container", c.Name, c.Env, c.EnvFrom})
	}
	return append(out, ephemeralContainers(pod)...)
}

func ephemeralContainers(pod *corev1.Pod) []container {
	var out []container
	for _, c := range pod.Spec.EphemeralContainers {
		out = append(out, container{"ephemeral container", c.Name, c.Env, c.EnvFrom})
	}
	return out
}

// secretsOf is where a container takes values from secrets: the name of each, and how the message calls the place.
func secretsOf(c container) (out [][2]string) {
	for _, e := range c.env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			out = append(out, [2]string{e.ValueFrom.SecretKeyRef.Name, "with envVar " + e.Name})
		}
	}
	for _, e := range c.from {
		if e.SecretRef != nil {
			out = append(out, [2]string{e.SecretRef.Name, "with envFrom"})
		}
	}
	return out
}

// limitSecrets refuses secrets that the account does not list, for accounts that ask for it by annotation.
func limitSecrets(sa *corev1.ServiceAccount, pod *corev1.Pod, ephemeral bool) error {
	mountable, pull := map[string]bool{}, map[string]bool{}
	for _, s := range sa.Secrets {
		mountable[s.Name] = true
	}
	for _, s := range sa.ImagePullSecrets {
		pull[s.Name] = true
	}
	containers := ephemeralContainers(pod)
	if !ephemeral {
		containers = allContainers(pod)
		for _, v := range pod.Spec.Volumes {
			if v.Secret != nil && !mountable[v.Secret.SecretName] {
				return fmt.Errorf("volume with secret.secretName=%q is not allowed because service account %s does not reference that secret", v.Secret.SecretName, sa.Name)
			}
		}
	}
	for _, c := range containers {
		for _, s := range secretsOf(c) {
			if !mountable[s[0]] {
				return fmt.Errorf("%s %s %s referencing secret.secretName=%q is not allowed because service account %s does not reference that secret", c.what, c.name, s[1], s[0], sa.Name)
			}
		}
	}
	if ephemeral {
		return nil
	}
	for i, s := range pod.Spec.ImagePullSecrets {
		if !pull[s.Name] {
			return fmt.Errorf("imagePullSecrets[%d].name=%q is not allowed because service account %s does not reference that imagePullSecret", i, s.Name, sa.Name)
		}
	}
	return nil
}
