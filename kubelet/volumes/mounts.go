package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ContainerMounts lists what a container mounts of the pod's volumes. expand resolves $(VAR) in subPathExpr.
func (s *Set) ContainerMounts(c *corev1.Container, expand func(string) string) ([]*runtimeapi.Mount, error) {
	var out []*runtimeapi.Mount
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		host, ok := s.Path(m.Name)
		if !ok {
			return nil, fmt.Errorf("cannot find volume %q to mount into container %q", m.Name, c.Name)
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			if sub = expand(m.SubPathExpr); strings.Contains(sub, "$(") {
				return nil, fmt.Errorf("missing value for %q", m.SubPathExpr)
			}
		}
		if sub != "" {
			var err error
			if host, err = s.subPath(host, sub, m.Name, c.Name, i); err != nil {
				return nil, err
			}
		}
		at := m.MountPath
		if !filepath.IsAbs(at) {
			at = "/" + at
		}
		mount := &runtimeapi.Mount{ContainerPath: at, HostPath: host, Readonly: m.ReadOnly}
		if m.MountPropagation != nil {
			switch *m.MountPropagation {
			case corev1.MountPropagationHostToContainer:
				mount.Propagation = runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
			case corev1.MountPropagationBidirectional:
				mount.Propagation = runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
			}
		}
		if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == corev1.RecursiveReadOnlyEnabled {
			mount.RecursiveReadOnly = true
		}
		out = append(out, mount)
	}
	return out, nil
}

// subPath resolves a path inside a volume without ever leaving it, whatever links the pod's own containers put there meanwhile: the file is opened
// below the volume's root, and what was opened is bind-mounted to a place that containers do not reach.
func (s *Set) subPath(volume, sub, name, container string, index int) (string, error) {
	if filepath.IsAbs(sub) {
		return "", fmt.Errorf("error SubPath `%s` must not be an absolute path", sub)
	}
	if !filepath.IsLocal(sub) {
		return "", fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", sub)
	}
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", name, container, err)
	}
	root, err := os.OpenRoot(volume)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	info, err := root.Stat(sub)
	if errors.Is(err, fs.ErrNotExist) {
		perm := fs.FileMode(0o750)
		if v, err := root.Stat("."); err == nil {
			perm = v.Mode().Perm()
		}
		if err := root.MkdirAll(sub, perm); err != nil {
			return "", fmt.Errorf("failed to create subPath directory for volumeMount %q of container %q: %w", name, container, err)
		}
		if err := root.Chmod(sub, perm); err != nil {
			return fail(err)
		}
		info, err = root.Stat(sub)
	}
	if err != nil {
		return fail(err)
	}
	f, err := root.OpenFile(sub, os.O_RDONLY|0x800 /* O_NONBLOCK: a fifo must not hold us */, 0)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	target := filepath.Join(s.Dir, "volume-subpaths", name, container, strconv.Itoa(index))
	if err := RemoveDir(target); err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return fail(err)
	}
	if info.IsDir() {
		err = os.Mkdir(target, 0o750)
	} else {
		err = os.WriteFile(target, nil, 0o640)
	}
	if err != nil {
		return fail(err)
	}
	if err := s.mount.bind("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), target); err != nil {
		return fail(err)
	}
	return target, nil
}
