package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kubelet/downward"
)

func (s *Set) configMap(pod *corev1.Pod, name string, items []corev1.KeyToPath, m fs.FileMode, optional bool) (map[string]File, error) {
	cm, err := s.src.ConfigMap(pod.Namespace, name)
	if err != nil {
		if s.src.NotFound(err) && optional {
			return map[string]File{}, nil
		}
		if s.src.NotFound(err) {
			return nil, fmt.Errorf("configmap %q not found", name)
		}
		return nil, err
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	for k, v := range cm.BinaryData {
		data[k] = v
	}
	return files(data, items, m, optional, "configmap references non-existent config key: ")
}

func (s *Set) secret(pod *corev1.Pod, name string, items []corev1.KeyToPath, m fs.FileMode, optional bool) (map[string]File, error) {
	sec, err := s.src.Secret(pod.Namespace, name)
	if err != nil {
		if s.src.NotFound(err) && optional {
			return map[string]File{}, nil
		}
		if s.src.NotFound(err) {
			return nil, fmt.Errorf("secret %q not found", name)
		}
		return nil, err
	}
	return files(sec.Data, items, m, optional, "references non-existent secret key: ")
}

func files(data map[string][]byte, items []corev1.KeyToPath, m fs.FileMode, optional bool, missing string) (map[string]File, error) {
	out := map[string]File{}
	if len(items) == 0 {
		for k, v := range data {
			out[k] = File{Data: v, Mode: m}
		}
		return out, nil
	}
	for _, it := range items {
		v, ok := data[it.Key]
		if !ok {
			if optional {
				continue
			}
			return nil, errors.New(missing + it.Key)
		}
		f := File{Data: v, Mode: m}
		if it.Mode != nil {
			f.Mode = fs.FileMode(*it.Mode)
		}
		out[it.Path] = f
	}
	return out, nil
}

func downwardFiles(pod *corev1.Pod, items []corev1.DownwardAPIVolumeFile, m fs.FileMode, facts downward.Facts) (map[string]File, error) {
	out := map[string]File{}
	var errs []error
	for _, it := range items {
		var value string
		var err error
		switch {
		case it.FieldRef != nil:
			value, err = downward.Field(pod, it.FieldRef.FieldPath, facts)
		case it.ResourceFieldRef != nil:
			value, err = downward.Resource(pod, nil, it.ResourceFieldRef, facts)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f := File{Data: []byte(value), Mode: m}
		if it.Mode != nil {
			f.Mode = fs.FileMode(*it.Mode)
		}
		out[it.Path] = f
	}
	return out, errors.Join(errs...)
}

func (s *Set) projected(ctx context.Context, pod *corev1.Pod, v *corev1.Volume, facts downward.Facts) (map[string]File, error) {
	all := map[string]File{}
	var errs []error
	m := mode(v.Projected.DefaultMode)
	for i := range v.Projected.Sources {
		src := &v.Projected.Sources[i]
		var some map[string]File
		var err error
		switch {
		case src.ConfigMap != nil:
			some, err = s.configMap(pod, src.ConfigMap.Name, src.ConfigMap.Items, m, isTrue(src.ConfigMap.Optional))
		case src.Secret != nil:
			some, err = s.secret(pod, src.Secret.Name, src.Secret.Items, m, isTrue(src.Secret.Optional))
		case src.DownwardAPI != nil:
			some, err = downwardFiles(pod, src.DownwardAPI.Items, m, facts)
		case src.ServiceAccountToken != nil:
			some, err = s.token(ctx, pod, v.Name, src.ServiceAccountToken, m)
		default:
			err = errors.New("projected sources of this type are not supported by this node")
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for p, f := range some {
			all[p] = f
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

func (s *Set) token(ctx context.Context, pod *corev1.Pod, volume string, p *corev1.ServiceAccountTokenProjection, m fs.FileMode) (map[string]File, error) {
	key := volume + "/" + p.Path
	t := s.tokens[key]
	if now := s.now(); t == nil || !now.Before(t.refresh()) {
		seconds := int64(3600)
		if p.ExpirationSeconds != nil {
			seconds = *p.ExpirationSeconds
		}
		value, until, err := s.src.Token(ctx, pod, p.Audience, seconds)
		switch {
		case err == nil:
			t = &token{value: value, issued: now, until: until}
			s.tokens[key] = t
		case t != nil && now.Before(t.until): // the old one is still good; asked again soon
			t.issued = now
		default:
			return nil, fmt.Errorf("failed to fetch token: %w", err)
		}
	}
	uid := user(pod)
	if uid != nil || fsGroup(pod) != nil {
		m = 0o600
	}
	return map[string]File{p.Path: {Data: []byte(t.value), Mode: m, UID: uid}}, nil
}

// user is the one user that all containers of the pod run as, or nil.
func user(pod *corev1.Pod) *int64 {
	var common *int64
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			var u *int64
			if sc := pod.Spec.SecurityContext; sc != nil {
				u = sc.RunAsUser
			}
			if sc := list[i].SecurityContext; sc != nil && sc.RunAsUser != nil {
				u = sc.RunAsUser
			}
			if u == nil || common != nil && *common != *u {
				return nil
			}
			common = u
		}
	}
	return common
}
