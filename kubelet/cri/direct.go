package cri

import (
	"context"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// call runs one CRI method of the embedded containerd as a function, with what containerd's gRPC server would add: its namespace, and errors as gRPC status.
func call[Q, A any](ctx context.Context, f func(context.Context, Q) (A, error), q Q) (A, error) {
	a, err := f(namespaces.WithNamespace(ctx, namespace), q)
	return a, errgrpc.ToGRPC(err)
}

// gated is call for what starts pods.
func gated[Q, A any](ctx context.Context, g *gate, u urgency, f func(context.Context, Q) (A, error), q Q) (none A, _ error) {
	leave, err := g.enter(ctx, u)
	if err != nil {
		return none, status.FromContextError(err).Err()
	}
	defer leave()
	return call(ctx, f, q)
}

func (d *Daemon) Version(ctx context.Context, q *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return call(ctx, d.rt.Version, q)
}

func (d *Daemon) Status(ctx context.Context, q *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return call(ctx, d.rt.Status, q)
}

func (d *Daemon) RuntimeConfig(ctx context.Context, q *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	return call(ctx, d.rt.RuntimeConfig, q)
}

func (d *Daemon) UpdateRuntimeConfig(ctx context.Context, q *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	return call(ctx, d.rt.UpdateRuntimeConfig, q)
}

func (d *Daemon) StopPodSandbox(ctx context.Context, q *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	return call(ctx, d.rt.StopPodSandbox, q)
}

func (d *Daemon) RemovePodSandbox(ctx context.Context, q *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	return call(ctx, d.rt.RemovePodSandbox, q)
}

func (d *Daemon) PodSandboxStatus(ctx context.Context, q *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	return call(ctx, d.rt.PodSandboxStatus, q)
}

func (d *Daemon) ListPodSandbox(ctx context.Context, q *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	return call(ctx, d.rt.ListPodSandbox, q)
}

func (d *Daemon) PodSandboxStats(ctx context.Context, q *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	return call(ctx, d.rt.PodSandboxStats, q)
}

func (d *Daemon) ListPodSandboxStats(ctx context.Context, q *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	return call(ctx, d.rt.ListPodSandboxStats, q)
}

func (d *Daemon) UpdatePodSandboxResources(ctx context.Context, q *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	return call(ctx, d.rt.UpdatePodSandboxResources, q)
}

func (d *Daemon) CreateContainer(ctx context.Context, q *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	return gated(ctx, d.starts, next, d.rt.CreateContainer, q)
}

func (d *Daemon) StartContainer(ctx context.Context, q *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	return gated(ctx, d.starts, next, d.rt.StartContainer, q)
}

func (d *Daemon) StopContainer(ctx context.Context, q *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	return call(ctx, d.rt.StopContainer, q)
}

func (d *Daemon) RemoveContainer(ctx context.Context, q *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	return call(ctx, d.rt.RemoveContainer, q)
}

func (d *Daemon) ContainerStatus(ctx context.Context, q *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	return call(ctx, d.rt.ContainerStatus, q)
}

func (d *Daemon) ListContainers(ctx context.Context, q *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return call(ctx, d.rt.ListContainers, q)
}

func (d *Daemon) UpdateContainerResources(ctx context.Context, q *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	return call(ctx, d.rt.UpdateContainerResources, q)
}

func (d *Daemon) ReopenContainerLog(ctx context.Context, q *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	return call(ctx, d.rt.ReopenContainerLog, q)
}

func (d *Daemon) ContainerStats(ctx context.Context, q *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	return call(ctx, d.rt.ContainerStats, q)
}

func (d *Daemon) ListContainerStats(ctx context.Context, q *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	return call(ctx, d.rt.ListContainerStats, q)
}

func (d *Daemon) ExecSync(ctx context.Context, q *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	return call(ctx, d.rt.ExecSync, q)
}

func (d *Daemon) Exec(ctx context.Context, q *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return call(ctx, d.rt.Exec, q)
}

func (d *Daemon) Attach(ctx context.Context, q *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return call(ctx, d.rt.Attach, q)
}

func (d *Daemon) PortForward(ctx context.Context, q *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	return call(ctx, d.rt.PortForward, q)
}

func (d *Daemon) ListImages(ctx context.Context, q *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return call(ctx, d.images.ListImages, q)
}

func (d *Daemon) ImageStatus(ctx context.Context, q *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	return call(ctx, d.images.ImageStatus, q)
}

func (d *Daemon) PullImage(ctx context.Context, q *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	return call(ctx, d.images.PullImage, q)
}

func (d *Daemon) RemoveImage(ctx context.Context, q *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	return call(ctx, d.images.RemoveImage, q)
}

func (d *Daemon) ImageFsInfo(ctx context.Context, q *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	return call(ctx, d.images.ImageFsInfo, q)
}
