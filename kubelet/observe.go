package kubelet

import (
	"context"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/kubelet/criconfig"
	"github.com/tenet-run/tenet/kubelet/logs"
	"github.com/tenet-run/tenet/kubelet/plan"
	"github.com/tenet-run/tenet/kubelet/probes"
)

// observe asks the runtime what there is of the pod, if anything may have changed.
func (w *worker) observe(ctx context.Context) error {
	w.mu.Lock()
	stale := w.stale
	w.stale, w.behind = false, false
	w.mu.Unlock()
	if !stale {
		return nil
	}
	err := w.list(ctx)
	if err != nil {
		w.mu.Lock()
		w.stale, w.behind = true, true
		w.mu.Unlock()
	}
	return err
}

func (w *worker) list(ctx context.Context) error {
	rt := w.k.cfg.Runtime
	own := map[string]string{criconfig.PodUID: string(w.uid)}
	boxes, err := rt.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: own}})
	if err != nil {
		return err
	}
	list, err := rt.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{LabelSelector: own}})
	if err != nil {
		return err
	}
	var sandboxes []plan.Sandbox
	for _, b := range boxes.Items {
		s, err := w.sandbox(ctx, b)
		if cri.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		sandboxes = append(sandboxes, s)
	}
	sort.Slice(sandboxes, func(i, j int) bool {
		a, b := &sandboxes[i], &sandboxes[j]
		if !a.CreatedAt.Equal(b.CreatedAt) {
			return a.CreatedAt.After(b.CreatedAt)
		}
		return a.Attempt > b.Attempt
	})
	var containers []plan.Container
	ended := map[string]plan.Container{}
	for _, c := range list.Containers {
		if known, ok := w.ended[c.Id]; ok {
			ended[c.Id] = known
			containers = append(containers, known)
			continue
		}
		r, err := rt.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
		if cri.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		got := w.container(r.Status, c.PodSandboxId)
		if got.Phase == plan.Exited {
			ended[c.Id] = got
		}
		containers = append(containers, got)
	}
	sort.Slice(containers, func(i, j int) bool {
		a, b := &containers[i], &containers[j]
		if a.Name != b.Name {
			return a.Name < b.Name
		}
		if a.Attempt != b.Attempt {
			return a.Attempt > b.Attempt
		}
		return a.CreatedAt.After(b.CreatedAt)
	})
	w.mu.Lock()
	w.sandboxes, w.containers, w.ended = sandboxes, containers, ended
	if len(w.exits) > 0 {
		up := map[string]bool{}
		for _, c := range containers {
			up[c.ID] = c.Phase == plan.Running
		}
		for id, list := range w.exits {
			if !up[id] {
				for _, c := range list {
					close(c)
				}
				delete(w.exits, id)
			}
		}
	}
	w.mu.Unlock()
	return nil
}

// sandbox asks for addresses once; they do not change.
func (w *worker) sandbox(ctx context.Context, b *runtimeapi.PodSandbox) (plan.Sandbox, error) {
	ready := b.State == runtimeapi.PodSandboxState_SANDBOX_READY
	if s, ok := w.boxes[b.Id]; ok && (len(s.IPs) > 0 || s.HostNet || !ready) {
		s.Ready = ready
		return s, nil
	}
	s := plan.Sandbox{ID: b.Id, Attempt: b.Metadata.GetAttempt(), Ready: ready, CreatedAt: time.Unix(0, b.CreatedAt), HostNet: b.Annotations[criconfig.HostNetwork] == "true"}
	if ready {
		r, err := w.k.cfg.Runtime.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: b.Id})
		if err != nil {
			return s, err
		}
		s.HostNet = r.Status.GetLinux().GetNamespaces().GetOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
		var ips []string
		if n := r.Status.GetNetwork(); n != nil && !s.HostNet {
			if n.Ip != "" {
				ips = append(ips, n.Ip)
			}
			for _, more := range n.AdditionalIps {
				ips = append(ips, more.Ip)
			}
		}
		s.IPs = w.k.primaryFirst(ips)
		w.boxes[b.Id] = s
	}
	return s, nil
}

// primaryFirst keeps one address of each family, that of the node's primary address first.
func (k *Kubelet) primaryFirst(ips []string) []string {
	six := func(ip string) bool { return strings.Contains(ip, ":") }
	first := len(k.cfg.NodeIPs) > 0 && six(k.cfg.NodeIPs[0])
	var out []string
	for _, family := range []bool{first, !first} {
		for _, ip := range ips {
			if six(ip) == family {
				out = append(out, ip)
				break
			}
		}
	}
	return out
}

func stamp(ns int64) time.Time {
	if ns <= 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

func (w *worker) container(st *runtimeapi.ContainerStatus, box string) plan.Container {
	c := plan.Container{
		ID: st.Id, Name: st.Metadata.GetName(), SandboxID: box, Attempt: st.Metadata.GetAttempt(), Hash: st.Annotations[criconfig.Hash],
		Image: st.GetImage().GetImage(), ImageID: st.ImageRef,
		CreatedAt: stamp(st.CreatedAt), StartedAt: stamp(st.StartedAt), FinishedAt: stamp(st.FinishedAt),
		ExitCode: st.ExitCode, Reason: st.Reason, Message: st.Message,
	}
	if spec := findContainer(w.pod, c.Name); spec != nil && (c.Image == "" || strings.HasPrefix(c.Image, "sha256:")) {
		c.Image = spec.Image
	}
	if u := st.GetUser().GetLinux(); u != nil {
		c.User = &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{UID: u.Uid, GID: u.Gid, SupplementalGroups: u.SupplementalGroups}}
	}
	switch st.State {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		c.Phase = plan.Created
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		c.Phase = plan.Running
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		c.Phase = plan.Exited
		if m := w.terminationMessage(st); m != "" {
			if c.Message != "" {
				m = c.Message + ": " + m
			}
			c.Message = m
		}
	default:
		c.Phase = plan.Unknown
	}
	return c
}

// Limits of termination messages.
const (
	maxMessage      = 4096
	maxMessageLines = 80
	maxMessageLog   = 2048
)

// terminationMessage reads what the container left at terminationMessagePath, or the end of its log.
func (w *worker) terminationMessage(st *runtimeapi.ContainerStatus) string {
	path := st.Annotations[criconfig.MessagePath]
	if path == "" || w.k.cfg.Hollow {
		return ""
	}
	for _, m := range st.Mounts {
		if m.ContainerPath != path || !strings.HasPrefix(m.HostPath, w.set.Dir+"/") {
			continue
		}
		if f, err := os.Open(m.HostPath); err == nil {
			defer f.Close()
			if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
				b, _ := io.ReadAll(io.LimitReader(f, maxMessage))
				if len(b) > 0 {
					return string(b)
				}
			}
		}
	}
	if corev1.TerminationMessagePolicy(st.Annotations[criconfig.MessagePolicy]) == corev1.TerminationMessageFallbackToLogsOnError && st.ExitCode != 0 && st.LogPath != "" {
		return logs.Last(st.LogPath, maxMessageLines, maxMessageLog)
	}
	return ""
}

// probe gives the prober containers that run and takes those that do not.
func (w *worker) probe() {
	pod := w.current()
	running := map[string]bool{}
	ip := ""
	for _, b := range w.sandboxes {
		if b.Ready {
			if b.HostNet && len(w.k.cfg.NodeIPs) > 0 {
				ip = w.k.cfg.NodeIPs[0]
			} else if len(b.IPs) > 0 {
				ip = b.IPs[0]
			}
			break
		}
	}
	for i := range w.containers {
		c := &w.containers[i]
		if c.Phase != plan.Running {
			continue
		}
		running[c.ID] = true
		if w.probed[c.ID] {
			continue
		}
		spec := findContainer(pod, c.Name)
		if spec == nil {
			continue
		}
		w.probed[c.ID] = true
		started, ready := false, false
		for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
			for _, st := range list {
				if strings.HasSuffix(st.ContainerID, "://"+c.ID) {
					started, ready = st.Started != nil && *st.Started, st.Ready
				}
			}
		}
		w.k.prober.Add(probes.Target{ID: c.ID, Name: c.Name, Container: spec, Host: ip, StartedAt: c.StartedAt, Owner: w}, probes.Initial(spec, started, ready))
	}
	w.mu.Lock()
	ending := !w.since.IsZero()
	w.mu.Unlock()
	for id := range w.probed {
		if !running[id] {
			w.k.prober.Remove(id)
			delete(w.probed, id)
		} else if ending {
			w.k.prober.StopLiveness(id)
		}
	}
}
