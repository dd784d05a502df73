package criconfig

import (
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/plan"
)

// Container is what the node found out for one container.
type Container struct {
	Spec     *corev1.Container
	Attempt  uint32
	ImageRef string
	User     User // of the image
	Env      map[string]string
	Mounts   []*runtimeapi.Mount
	Target   string // container whose process namespace an ephemeral container joins, or ""
}

// LogPath is where the log of a container is, below the pod's log directory.
func LogPath(name string, attempt uint32) string {
	return path.Join(name, fmt.Sprintf("%d.log", attempt))
}

// Config makes the configuration of a container.
func (c *Container) Config(pod *corev1.Pod, p *Pod) (*runtimeapi.ContainerConfig, error) {
	spec := c.Spec
	sec, err := containerSecurity(pod, spec, c.User, p.Host, p.Userns)
	if err != nil {
		return nil, err
	}
	if c.Target != "" && sec.NamespaceOptions.Pid == runtimeapi.NamespaceMode_CONTAINER {
		sec.NamespaceOptions.Pid, sec.NamespaceOptions.TargetId = runtimeapi.NamespaceMode_TARGET, c.Target
	}
	cfg := &runtimeapi.ContainerConfig{
		Metadata:   &runtimeapi.ContainerMetadata{Name: spec.Name, Attempt: c.Attempt},
		Image:      &runtimeapi.ImageSpec{Image: c.ImageRef, UserSpecifiedImage: spec.Image},
		WorkingDir: spec.WorkingDir,
		Labels:     containerLabels(pod, spec), Annotations: containerAnnotations(pod, spec, plan.Hash(spec), c.Attempt),
		LogPath: LogPath(spec.Name, c.Attempt),
		Stdin:   spec.Stdin, StdinOnce: spec.StdinOnce, Tty: spec.TTY,
		Mounts: c.Mounts,
		Linux:  &runtimeapi.LinuxContainerConfig{Resources: linuxResources(pod, spec, p.Host.Memory), SecurityContext: sec},
	}
	for _, s := range spec.Command {
		cfg.Command = append(cfg.Command, Expand(s, c.Env))
	}
	for _, s := range spec.Args {
		cfg.Args = append(cfg.Args, Expand(s, c.Env))
	}
	for _, k := range sorted(c.Env) {
		cfg.Envs = append(cfg.Envs, &runtimeapi.KeyValue{Key: k, Value: []byte(c.Env[k])})
	}
	if p.Userns != nil {
		for _, m := range cfg.Mounts {
			m.UidMappings, m.GidMappings = p.Userns.Uids, p.Userns.Gids
		}
	}
	return cfg, nil
}
