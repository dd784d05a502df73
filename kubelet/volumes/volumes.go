// Package volumes makes the volumes of pods on this machine: emptyDir, hostPath, configMap, secret, downwardAPI and projected.
//
// A [Set] is the volumes of one pod. Mounting is idempotent and survives restarts of the kubelet: what is there is used, and API data is rewritten only
// where it differs. Data of secrets and tokens lies in tmpfs only. The directory layout is upstream's.
package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kubelet/downward"
)

// Sources is where the data of volumes comes from. Functions return the API's errors.
type Sources struct {
	ConfigMap func(namespace, name string) (*corev1.ConfigMap, error)
	Secret    func(namespace, name string) (*corev1.Secret, error)
	NotFound  func(error) bool
	// Token asks for a token of the pod's service account, bound to the pod.
	Token func(ctx context.Context, pod *corev1.Pod, audience string, seconds int64) (token string, expires time.Time, err error)
}

// Set is the volumes of one pod. Its methods may be called by several goroutines.
type Set struct {
	Dir    string // of the pod: <root>/pods/<uid>
	src    *Sources
	now    func() time.Time
	mount  mounter
	mu     sync.Mutex
	paths  map[string]string // by volume name
	tokens map[string]*token // by volume name and path
}

type token struct {
	value         string
	issued, until time.Time
}

// refresh is when a token is to be replaced: after 80 % of its life, at the latest after a day.
func (t *token) refresh() time.Time {
	return t.issued.Add(min(t.until.Sub(t.issued)*8/10, 24*time.Hour))
}

// New makes the set of a pod whose directory is dir. now is the clock.
func New(dir string, src *Sources, now func() time.Time) *Set {
	return &Set{Dir: dir, src: src, now: now, mount: systemMounter{}, paths: map[string]string{}, tokens: map[string]*token{}}
}

// Error is a volume that could not be made ready; its text is the message of a FailedMount event.
type Error struct {
	Volume string
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", e.Volume, e.Err)
}
func (e *Error) Unwrap() error { return e.Err }

// Mount makes all volumes of the pod ready and brings API data up to date. The error joins one *Error a volume.
func (s *Set) Mount(ctx context.Context, pod *corev1.Pod, facts downward.Facts) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(s.Dir, 0o750); err != nil {
		return err
	}
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		path, err := s.setUp(ctx, pod, v, facts)
		if err != nil {
			errs = append(errs, &Error{Volume: v.Name, Err: err})
			continue
		}
		s.paths[v.Name] = path
	}
	return errors.Join(errs...)
}

// Refresh rewrites API data of mounted volumes. What has gone missing meanwhile stays as it was and is reported.
func (s *Set) Refresh(ctx context.Context, pod *corev1.Pod, facts downward.Facts) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if _, ok := s.paths[v.Name]; !ok || v.ConfigMap == nil && v.Secret == nil && v.DownwardAPI == nil && v.Projected == nil {
			continue
		}
		if _, err := s.setUp(ctx, pod, v, facts); err != nil {
			errs = append(errs, &Error{Volume: v.Name, Err: err})
		}
	}
	return errors.Join(errs...)
}

// NextRefresh is when a token wants to be replaced; zero: never.
func (s *Set) NextRefresh() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	for _, t := range s.tokens {
		if at := t.refresh(); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// Path is where a mounted volume is on this machine.
func (s *Set) Path(volume string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.paths[volume]
	return p, ok
}

// References reports that a volume or variable of the pod is made from the config map (or secret) of a name.
func References(pod *corev1.Pod, secret bool, name string) bool {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !secret && v.ConfigMap != nil && v.ConfigMap.Name == name || secret && v.Secret != nil && v.Secret.SecretName == name {
			return true
		}
		if v.Projected == nil {
			continue
		}
		for _, src := range v.Projected.Sources {
			if !secret && src.ConfigMap != nil && src.ConfigMap.Name == name || secret && src.Secret != nil && src.Secret.Name == name {
				return true
			}
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, e := range list[i].EnvFrom {
				if !secret && e.ConfigMapRef != nil && e.ConfigMapRef.Name == name || secret && e.SecretRef != nil && e.SecretRef.Name == name {
					return true
				}
			}
			for _, e := range list[i].Env {
				if f := e.ValueFrom; f != nil && (!secret && f.ConfigMapKeyRef != nil && f.ConfigMapKeyRef.Name == name || secret && f.SecretKeyRef != nil && f.SecretKeyRef.Name == name) {
					return true
				}
			}
		}
	}
	if secret {
		for _, r := range pod.Spec.ImagePullSecrets {
			if r.Name == name {
				return true
			}
		}
	}
	return false
}

func (s *Set) dir(plugin, volume string) string {
	return filepath.Join(s.Dir, "volumes", "kubernetes.io~"+plugin, volume)
}

func fsGroup(pod *corev1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

func (s *Set) setUp(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, facts downward.Facts) (string, error) {
	switch {
	case v.EmptyDir != nil:
		return s.emptyDir(pod, v)
	case v.HostPath != nil:
		return v.HostPath.Path, hostPath(v.HostPath)
	case v.ConfigMap != nil:
		payload, err := s.configMap(pod, v.ConfigMap.Name, v.ConfigMap.Items, mode(v.ConfigMap.DefaultMode), isTrue(v.ConfigMap.Optional))
		return s.write(pod, s.dir("configmap", v.Name), false, payload, err)
	case v.Secret != nil:
		payload, err := s.secret(pod, v.Secret.SecretName, v.Secret.Items, mode(v.Secret.DefaultMode), isTrue(v.Secret.Optional))
		return s.write(pod, s.dir("secret", v.Name), true, payload, err)
	case v.DownwardAPI != nil:
		payload, err := downwardFiles(pod, v.DownwardAPI.Items, mode(v.DownwardAPI.DefaultMode), facts)
		return s.write(pod, s.dir("downward-api", v.Name), true, payload, err)
	case v.Projected != nil:
		payload, err := s.projected(ctx, pod, v, facts)
		return s.write(pod, s.dir("projected", v.Name), true, payload, err)
	case v.PersistentVolumeClaim != nil, v.Ephemeral != nil:
		return "", errors.New("persistent volume claims are not supported by this node yet")
	}
	return "", errors.New("volumes of this type are not supported by this node")
}

func isTrue(b *bool) bool { return b != nil && *b }

func mode(m *int32) fs.FileMode {
	if m == nil {
		return 0o644
	}
	return fs.FileMode(*m)
}

func (s *Set) write(pod *corev1.Pod, dir string, memory bool, payload map[string]File, err error) (string, error) {
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	if memory {
		if err := s.mount.tmpfs(dir, 0); err != nil {
			return "", err
		}
	}
	perm := fs.FileMode(0o777)
	gid := fsGroup(pod)
	if gid != nil {
		perm |= fs.ModeSetgid
	}
	if err := own(dir, nil, gid); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, perm); err != nil {
		return "", err
	}
	_, err = Write(dir, payload, gid, s.now())
	return dir, err
}

func (s *Set) emptyDir(pod *corev1.Pod, v *corev1.Volume) (string, error) {
	dir := s.dir("empty-dir", v.Name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	switch medium := v.EmptyDir.Medium; {
	case medium == corev1.StorageMediumMemory:
		size := int64(0)
		if v.EmptyDir.SizeLimit != nil {
			size = v.EmptyDir.SizeLimit.Value()
		}
		if err := s.mount.tmpfs(dir, size); err != nil {
			return "", err
		}
	case strings.HasPrefix(string(medium), string(corev1.StorageMediumHugePages)):
		page := strings.TrimPrefix(strings.TrimPrefix(string(medium), string(corev1.StorageMediumHugePages)), "-")
		if err := s.mount.hugepages(dir, page); err != nil {
			return "", err
		}
	}
	perm := fs.FileMode(0o777)
	if gid := fsGroup(pod); gid != nil {
		perm |= fs.ModeSetgid
		if err := own(dir, nil, gid); err != nil {
			return "", err
		}
	}
	return dir, os.Chmod(dir, perm)
}

// Unmount undoes all mounts below the pod's directory and removes it.
func (s *Set) Unmount() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := RemoveDir(s.Dir); err != nil {
		return err
	}
	clear(s.paths)
	clear(s.tokens)
	return nil
}

// Mounts lists the names of mounted volumes, sorted.
func (s *Set) Mounts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]string, 0, len(s.paths))
	for n := range s.paths {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}
