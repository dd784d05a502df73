package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/cgroups"
	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/kubelet/volumes"
	"github.com/tenet-run/tenet/network/podnet"
)

// StopPods ends every pod of a data directory whose tenet does not run any more, and takes the node's network away. It needs nothing but the container
// runtime, so it works after a crash too. It returns how many pods there were.
func StopPods(ctx context.Context, dataDir string, cfg NodeConfig) (int, error) {
	if _, err := os.Stat(filepath.Join(dataDir, "containerd")); errors.Is(err, fs.ErrNotExist) {
		return 0, nil // never was a node
	}
	if err := cfg.complete(); err != nil {
		return 0, err
	}
	o, err := runtimeOptions(ctx, dataDir, cfg)
	if err != nil {
		return 0, err
	}
	o.Logger = slog.New(slog.DiscardHandler)
	r, err := cri.Embedded(ctx, o)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	list, err := r.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(list.Items))
	for i, sandbox := range list.Items {
		wg.Go(func() { errs[i] = stopSandbox(ctx, r, sandbox.Id) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return len(list.Items), err
	}
	if err := removeCgroups(list.Items); err != nil {
		return len(list.Items), err
	}
	return len(list.Items), errors.Join(
		volumes.Unmount(filepath.Join(dataDir, "kubelet", "pods")),
		podnet.Cleanup(networkConfig(dataDir, cfg, podCIDR.String())),
		podnet.RemoveServiceAddress(serviceIP),
	)
}

// removeCgroups takes the groups of the pods away, and those above them when nobody else's pods are there.
func removeCgroups(pods []*runtimeapi.PodSandbox) error {
	tree, err := cgroups.Open("/sys/fs/cgroup", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil // none were made either
	}
	var errs []error
	for _, path := range tree.Pods() {
		for _, p := range pods {
			if p.Metadata != nil && strings.HasSuffix(path, "/pod"+p.Metadata.Uid) {
				errs = append(errs, tree.Remove(path))
			}
		}
	}
	tree.Prune()
	return errors.Join(errs...)
}

// stopGrace is how long, in seconds, a container may take to end by itself.
const stopGrace = 5

func stopSandbox(ctx context.Context, r cri.Runtime, id string) error {
	list, err := r.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{PodSandboxId: id}})
	if err != nil {
		return fmt.Errorf("containers of sandbox %s: %w", id, err)
	}
	var wg sync.WaitGroup
	for _, c := range list.Containers {
		if c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
			wg.Go(func() { r.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: c.Id, Timeout: stopGrace}) })
		}
	}
	wg.Wait() // what did not stop is killed with the sandbox
	if _, err := r.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("stop sandbox %s: %w", id, err)
	}
	if _, err := r.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
		return fmt.Errorf("remove sandbox %s: %w", id, err)
	}
	return nil
}
