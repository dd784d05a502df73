package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kubelet/cgroups"
	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/kubelet/criconfig"
	"github.com/tenet-run/tenet/kubelet/images"
	"github.com/tenet-run/tenet/kubelet/plan"
)

// do runs an action to its end. pod is the pod as it was planned for. A nil failure is success.
func (w *worker) do(ctx context.Context, a plan.Action, pod *corev1.Pod) *plan.Failure {
	w.log.Debug("A pod's action begins", "action", a.Do, "container", a.Container, "id", a.ID, "attempt", a.Attempt)
	switch a.Do {
	case plan.MountVolumes:
		return w.mountVolumes(ctx, pod)
	case plan.RunSandbox:
		return w.runSandbox(ctx, a, pod)
	case plan.StopSandbox:
		if _, err := w.k.cfg.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: a.ID}); err != nil && !cri.IsNotFound(err) {
			if ctx.Err() == nil {
				w.k.event(pod, corev1.EventTypeWarning, "FailedKillPod", fmt.Sprintf("error killing pod: failed to \"KillPodSandbox\" for %q with KillPodSandboxError: %q", pod.UID, cri.Message(err)))
			}
			return &plan.Failure{Retry: w.again(a.Key(), time.Second, time.Minute)}
		}
	case plan.EnsureImage:
		return w.ensureImage(ctx, a, pod)
	case plan.StartOne:
		return w.startContainer(ctx, a, pod)
	case plan.KillContainer:
		return w.killContainer(ctx, a, pod)
	case plan.CleanUp:
		return w.cleanUp(ctx, pod)
	case plan.DeletePod:
		return w.deletePod(ctx, pod)
	}
	return nil
}

func (w *worker) mountVolumes(ctx context.Context, pod *corev1.Pod) *plan.Failure {
	w.k.refs.follow(ctx, w, pod)
	if !w.k.cfg.Hollow {
		if err := w.set.Mount(ctx, pod, w.k.facts(nil)); err != nil {
			if ctx.Err() != nil {
				return &plan.Failure{}
			}
			list := []error{err}
			if j, ok := err.(interface{ Unwrap() []error }); ok {
				list = j.Unwrap()
			}
			for _, e := range list {
				w.k.event(pod, corev1.EventTypeWarning, "FailedMount", e.Error())
			}
			return &plan.Failure{Retry: w.again(string(plan.MountVolumes), 500*time.Millisecond, 2*time.Minute)}
		}
	}
	w.mu.Lock()
	w.mounted = true
	w.mu.Unlock()
	return nil
}

// config is what a sandbox and its containers share.
func (w *worker) config(pod *corev1.Pod) (*criconfig.Pod, error) {
	p := &criconfig.Pod{Domain: w.k.cfg.ClusterDomain, Host: w.k.host}
	if w.k.cfg.Hollow {
		return p, nil
	}
	p.LogDir = w.k.podLogDir(pod)
	if w.k.tree != nil {
		p.CgroupParent = cgroups.PodPath(pod)
	}
	dns, reason, warning, err := criconfig.Resolver{Cluster: w.k.cfg.ClusterDNS, Domain: w.k.cfg.ClusterDomain, Path: w.k.cfg.ResolvConf}.DNS(pod)
	if err != nil {
		return nil, fmt.Errorf("read resolver configuration: %w", err)
	}
	w.mu.Lock()
	first := len(w.sandboxes) == 0
	w.mu.Unlock()
	if warning != "" && first && (reason != "MissingClusterDNS" || len(w.k.cfg.ClusterDNS) > 0) {
		w.k.event(pod, corev1.EventTypeWarning, reason, warning)
	}
	p.DNS = dns
	if pod.Spec.HostUsers != nil && !*pod.Spec.HostUsers {
		if p.Userns, err = w.k.userns(pod.UID); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (w *worker) runSandbox(ctx context.Context, a plan.Action, pod *corev1.Pod) *plan.Failure {
	if a.Message != "" {
		w.k.event(pod, corev1.EventTypeNormal, a.Reason, a.Message)
	}
	err := func() error {
		if err := w.k.networkReady(pod); err != nil {
			return err
		}
		shared, err := w.config(pod)
		if err != nil {
			return err
		}
		if shared.LogDir != "" {
			if err := os.MkdirAll(shared.LogDir, 0o755); err != nil {
				return err
			}
		}
		if w.k.tree != nil {
			if err := w.k.tree.Create(pod); err != nil {
				return err
			}
			w.k.weighQOS()
		}
		cfg, err := criconfig.Sandbox(pod, a.Attempt, shared)
		if err != nil {
			return err
		}
		_, err = w.k.cfg.Runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: cfg, RuntimeHandler: w.k.runtimeHandler(pod)})
		return err
	}()
	if err == nil {
		return nil
	}
	if ctx.Err() == nil {
		reason, text := "FailedCreatePodSandBox", "Failed to create pod sandbox: "+cri.Message(err)
		if errors.Is(err, errNetwork) {
			reason, text = "NetworkNotReady", "network is not ready: "+err.Error()
		}
		w.k.event(pod, corev1.EventTypeWarning, reason, text)
	}
	return &plan.Failure{Retry: w.again(string(plan.RunSandbox), time.Second, 30*time.Second)}
}

func (w *worker) ensureImage(ctx context.Context, a plan.Action, pod *corev1.Pod) *plan.Failure {
	c := findContainer(pod, a.Container)
	if c == nil {
		return nil
	}
	w.mu.Lock()
	told := len(w.failed) > 0
	w.mu.Unlock()
	var secrets []*corev1.Secret
	for _, ref := range pod.Spec.ImagePullSecrets {
		s, err := w.k.sources.Secret(pod.Namespace, ref.Name)
		if err != nil {
			if !told {
				w.k.event(pod, corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret", fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", ref.Name))
			}
			continue
		}
		secrets = append(secrets, s)
	}
	img, failure := w.k.puller.Ensure(ctx, pod, c, secrets, nil)
	if failure != nil {
		return failure
	}
	w.mu.Lock()
	w.images[a.Container] = img
	w.mu.Unlock()
	return nil
}

func (w *worker) startContainer(ctx context.Context, a plan.Action, pod *corev1.Pod) *plan.Failure {
	c := findContainer(pod, a.Container)
	if c == nil {
		return nil
	}
	fail := func(reason string, err error, retry time.Time) *plan.Failure {
		if ctx.Err() != nil {
			return &plan.Failure{}
		}
		w.k.containerEvent(pod, c, corev1.EventTypeWarning, "Failed", "Error: "+cri.Message(err))
		return &plan.Failure{Reason: reason, Message: cri.Message(err), Retry: retry}
	}
	w.mu.Lock()
	img := w.images[a.Container]
	s := w.state()
	box := s.Sandbox()
	old := s.Newest(a.Container)
	w.mu.Unlock()
	if box == nil {
		return &plan.Failure{Retry: time.Now().Add(time.Second)}
	}
	shared, err := w.config(pod)
	if err != nil {
		return fail("CreateContainerConfigError", err, w.again(a.Key(), 10*time.Second, time.Minute))
	}
	ips := box.IPs
	if box.HostNet {
		ips = w.k.cfg.NodeIPs
	}
	cfg, err := w.containerConfig(pod, c, a.Attempt, img, shared, ips)
	if err != nil {
		return fail("CreateContainerConfigError", err, w.again(a.Key(), 10*time.Second, time.Minute))
	}
	boxConfig, err := criconfig.Sandbox(pod, box.Attempt, shared)
	if err != nil {
		return fail("CreateContainerConfigError", err, w.again(a.Key(), 10*time.Second, time.Minute))
	}
	if old != nil && old.Phase == plan.Exited {
		w.mu.Lock()
		w.backoff[c.Name] = w.backoff[c.Name].Next(old.FinishedAt, time.Now())
		w.mu.Unlock()
	}
	rt := w.k.cfg.Runtime
	made, err := rt.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: box.ID, Config: cfg, SandboxConfig: boxConfig})
	if err != nil {
		w.forgetImage(c.Name)
		return fail("CreateContainerError", err, w.again(a.Key(), 10*time.Second, 5*time.Minute))
	}
	w.k.containerEvent(pod, c, corev1.EventTypeNormal, "Created", "Container created")
	hook := c.Lifecycle != nil && c.Lifecycle.PostStart != nil
	if hook {
		w.mu.Lock()
		w.hooks[made.ContainerId] = true
		w.mu.Unlock()
	}
	defer w.forgetImage(c.Name)
	if _, err := rt.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		return fail("RunContainerError", err, time.Time{})
	}
	w.k.containerEvent(pod, c, corev1.EventTypeNormal, "Started", "Container started")
	if !hook {
		return nil
	}
	w.poke(true)
	ip := ""
	if len(ips) > 0 {
		ip = ips[0]
	}
	err = w.k.handlers.Hook(ctx, c.Lifecycle.PostStart, c, made.ContainerId, ip, sleep)
	w.mu.Lock()
	delete(w.hooks, made.ContainerId)
	w.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		w.log.Warn("A postStart hook failed", "container", c.Name, "err", err)
		w.k.containerEvent(pod, c, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
		w.killContainer(ctx, plan.Action{Do: plan.KillContainer, Container: c.Name, ID: made.ContainerId, Grace: graceOf(pod), Message: "FailedPostStartHook"}, pod)
		return &plan.Failure{Reason: "PostStartHookError", Message: err.Error()}
	}
	return nil
}

func graceOf(pod *corev1.Pod) int64 {
	s := plan.State{Pod: pod}
	return s.Grace()
}

func (w *worker) forgetImage(name string) {
	w.mu.Lock()
	delete(w.images, name)
	w.mu.Unlock()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// killContainer runs the preStop hook, sends the stop signal and waits; what is left of the grace period after the hook is for the signal.
func (w *worker) killContainer(ctx context.Context, a plan.Action, pod *corev1.Pod) *plan.Failure {
	c := findContainer(pod, a.Container)
	if c == nil {
		c = &corev1.Container{Name: a.Container}
	}
	if a.Message != "" {
		w.k.containerEvent(pod, c, corev1.EventTypeNormal, "Killing", a.Message)
	}
	grace := time.Duration(a.Grace) * time.Second
	w.mu.Lock()
	first := !w.stopped[a.ID]
	w.stopped[a.ID] = true
	ip := ""
	if w.last != nil {
		ip = w.last.PodIP
	}
	w.mu.Unlock()
	if first && c.Lifecycle != nil && c.Lifecycle.PreStop != nil && grace > 0 {
		begun := time.Now()
		hctx, cancel := context.WithTimeout(ctx, grace)
		err := w.k.handlers.Hook(hctx, c.Lifecycle.PreStop, c, a.ID, ip, sleep)
		cancel()
		if ctx.Err() != nil {
			return &plan.Failure{}
		}
		if err != nil {
			w.log.Warn("A preStop hook failed", "container", c.Name, "err", err)
			w.k.containerEvent(pod, c, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
		}
		grace = max(grace-time.Since(begun), 2*time.Second)
	}
	seconds := int64((grace + time.Second - 1) / time.Second)
	if _, err := w.k.cfg.Runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: a.ID, Timeout: seconds}); err != nil && !cri.IsNotFound(err) && ctx.Err() == nil {
		w.log.Warn("A container could not be stopped", "container", a.Container, "id", a.ID, "err", err)
		return &plan.Failure{Retry: w.again(a.Key(), time.Second, time.Minute)}
	}
	return nil
}

// cleanUp takes away what the pod had on this machine; of a pod that goes away altogether, its sandboxes and logs too.
func (w *worker) cleanUp(ctx context.Context, pod *corev1.Pod) *plan.Failure {
	w.mu.Lock()
	deep := w.gone || w.pod.DeletionTimestamp != nil
	var boxes []string
	for _, b := range w.sandboxes {
		boxes = append(boxes, b.ID)
	}
	w.mu.Unlock()
	err := func() error {
		if deep {
			for _, id := range boxes {
				if _, err := w.k.cfg.Runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil && !cri.IsNotFound(err) {
					return fmt.Errorf("remove sandbox %s: %w", id, err)
				}
			}
		}
		w.k.refs.drop(w)
		w.k.puller.Forget(string(w.uid) + "_")
		if w.k.cfg.Hollow {
			return nil
		}
		if err := w.set.Unmount(); err != nil {
			return err
		}
		if w.k.tree != nil {
			if err := w.k.tree.Remove(cgroups.PodPath(pod)); err != nil {
				return err
			}
			w.k.weighQOS()
		}
		if deep {
			return os.RemoveAll(w.k.podLogDir(pod))
		}
		return nil
	}()
	if err != nil {
		if ctx.Err() == nil {
			w.log.Warn("What a pod leaves behind could not be removed", "err", err)
			w.k.event(pod, corev1.EventTypeWarning, "FailedKillPod", "error killing pod: "+cri.Message(err))
		}
		return &plan.Failure{Retry: w.again(string(plan.CleanUp), time.Second, time.Minute)}
	}
	w.mu.Lock()
	w.mounted = false
	if w.cleaned = 1; deep {
		w.cleaned = 2
	}
	w.mu.Unlock()
	return nil
}

func (w *worker) deletePod(ctx context.Context, pod *corev1.Pod) *plan.Failure {
	zero := int64(0)
	err := w.k.cfg.Client.Delete(ctx, core.Pod, pod.Namespace, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &w.uid}})
	switch {
	case err == nil: // finalizers may hold it; then asking again at once helps nobody
		return &plan.Failure{Retry: time.Now().Add(time.Minute)}
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		w.update(nil)
		return nil
	}
	if ctx.Err() == nil {
		w.log.Warn("A pod that has ended could not be removed from the API", "err", err)
	}
	return &plan.Failure{Retry: w.again(string(plan.DeletePod), time.Second, time.Minute)}
}

// containerConfig gathers everything a container is made of.
func (w *worker) containerConfig(pod *corev1.Pod, c *corev1.Container, attempt uint32, img images.Image, shared *criconfig.Pod, ips []string) (*runtimeapi.ContainerConfig, error) {
	k := w.k
	facts := k.facts(ips)
	env, err := criconfig.Env(pod, c, &criconfig.Sources{
		ConfigMap: k.sources.ConfigMap, Secret: k.sources.Secret, Services: k.services, ServiceHost: k.cfg.ServiceHost, ServicePort: k.cfg.ServicePort,
		NotFound: apierrors.IsNotFound, Facts: facts, File: w.envFile,
	})
	if err != nil {
		return nil, err
	}
	cc := criconfig.Container{Spec: c, Attempt: attempt, ImageRef: img.Ref, User: criconfig.User{UID: img.UID, Name: img.User}, Env: env, Target: w.target(pod, c.Name)}
	if !k.cfg.Hollow {
		if cc.Mounts, err = w.set.ContainerMounts(c, func(s string) string { return criconfig.Expand(s, env) }); err != nil {
			return nil, err
		}
		more, err := w.ownMounts(pod, c, attempt, ips, cc.Mounts)
		if err != nil {
			return nil, err
		}
		cc.Mounts = append(cc.Mounts, more...)
		if err := os.MkdirAll(filepath.Join(shared.LogDir, c.Name), 0o755); err != nil {
			return nil, err
		}
	}
	return cc.Config(pod, shared)
}

// target is the container whose processes an ephemeral container is to see, or "".
func (w *worker) target(pod *corev1.Pod, name string) string {
	for i := range pod.Spec.EphemeralContainers {
		e := &pod.Spec.EphemeralContainers[i]
		if e.Name != name || e.TargetContainerName == "" {
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		s := plan.State{Containers: w.containers}
		if t := s.Newest(e.TargetContainerName); t != nil {
			return t.ID
		}
	}
	return ""
}

// ownMounts are /etc/hosts and the file for the termination message.
func (w *worker) ownMounts(pod *corev1.Pod, c *corev1.Container, attempt uint32, ips []string, have []*runtimeapi.Mount) ([]*runtimeapi.Mount, error) {
	var out []*runtimeapi.Mount
	taken := false
	for _, m := range have {
		taken = taken || m.ContainerPath == "/etc/hosts"
	}
	if !taken {
		var node []byte
		if pod.Spec.HostNetwork {
			node, _ = os.ReadFile("/etc/hosts")
		}
		path := filepath.Join(w.set.Dir, "etc-hosts")
		if err := os.MkdirAll(w.set.Dir, 0o750); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, criconfig.Hosts(pod, ips, w.k.cfg.ClusterDomain, node), 0o644); err != nil {
			return nil, fmt.Errorf("write hosts file: %w", err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			return nil, err
		}
		out = append(out, &runtimeapi.Mount{ContainerPath: "/etc/hosts", HostPath: path})
	}
	if c.TerminationMessagePath != "" {
		dir := filepath.Join(w.set.Dir, "containers", c.Name)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, err
		}
		path := filepath.Join(dir, fmt.Sprintf("%d", attempt))
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			return nil, fmt.Errorf("make termination log: %w", err)
		}
		if err := os.Chmod(path, 0o666); err != nil { // any user in the container may write
			return nil, err
		}
		out = append(out, &runtimeapi.Mount{ContainerPath: c.TerminationMessagePath, HostPath: path})
	}
	return out, nil
}
