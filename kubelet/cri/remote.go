package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage bounds one CRI message, as the kubelet does: lists of a full node exceed gRPC's default of 4 MiB.
const maxMessage = 16 << 20

// remote is a CRI runtime behind a unix socket.
type remote struct {
	conn   *grpc.ClientConn
	rt     runtimeapi.RuntimeServiceClient
	images runtimeapi.ImageServiceClient
}

// Dial connects to the CRI v1 runtime at endpoint ("unix:///run/containerd/containerd.sock", or just the path) and checks that it answers.
func Dial(ctx context.Context, endpoint string) (Runtime, error) {
	if strings.HasPrefix(endpoint, "/") {
		endpoint = "unix://" + endpoint
	}
	if !strings.HasPrefix(endpoint, "unix:") {
		return nil, fmt.Errorf("CRI endpoint %q: want unix:///path/to/socket", endpoint)
	}
	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("CRI endpoint %q: %w", endpoint, err)
	}
	r := &remote{conn: conn, rt: runtimeapi.NewRuntimeServiceClient(conn), images: runtimeapi.NewImageServiceClient(conn)}
	if _, err := r.Version(ctx, &runtimeapi.VersionRequest{Version: "v1"}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("CRI endpoint %q does not answer (is the runtime started, and does it serve CRI v1?): %w", endpoint, err)
	}
	return r, nil
}

func (r *remote) Close() error { return r.conn.Close() }

func (r *remote) Events(ctx context.Context, f func(*runtimeapi.ContainerEventResponse)) error {
	stream, err := r.rt.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for {
		e, err := stream.Recv()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		f(e)
	}
}

func (r *remote) Version(ctx context.Context, q *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return r.rt.Version(ctx, q)
}

func (r *remote) Status(ctx context.Context, q *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return r.rt.Status(ctx, q)
}

func (r *remote) RuntimeConfig(ctx context.Context, q *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	return r.rt.RuntimeConfig(ctx, q)
}

func (r *remote) UpdateRuntimeConfig(ctx context.Context, q *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	return r.rt.UpdateRuntimeConfig(ctx, q)
}

func (r *remote) RunPodSandbox(ctx context.Context, q *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	return r.rt.RunPodSandbox(ctx, q)
}

func (r *remote) StopPodSandbox(ctx context.Context, q *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	return r.rt.StopPodSandbox(ctx, q)
}

func (r *remote) RemovePodSandbox(ctx context.Context, q *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	return r.rt.RemovePodSandbox(ctx, q)
}

func (r *remote) PodSandboxStatus(ctx context.Context, q *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	return r.rt.PodSandboxStatus(ctx, q)
}

func (r *remote) ListPodSandbox(ctx context.Context, q *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	return r.rt.ListPodSandbox(ctx, q)
}

func (r *remote) PodSandboxStats(ctx context.Context, q *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	return r.rt.PodSandboxStats(ctx, q)
}

func (r *remote) ListPodSandboxStats(ctx context.Context, q *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	return r.rt.ListPodSandboxStats(ctx, q)
}

func (r *remote) UpdatePodSandboxResources(ctx context.Context, q *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	return r.rt.UpdatePodSandboxResources(ctx, q)
}

func (r *remote) CreateContainer(ctx context.Context, q *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	return r.rt.CreateContainer(ctx, q)
}

func (r *remote) StartContainer(ctx context.Context, q *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	return r.rt.StartContainer(ctx, q)
}

func (r *remote) StopContainer(ctx context.Context, q *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	return r.rt.StopContainer(ctx, q)
}

func (r *remote) RemoveContainer(ctx context.Context, q *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	return r.rt.RemoveContainer(ctx, q)
}

func (r *remote) ContainerStatus(ctx context.Context, q *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	return r.rt.ContainerStatus(ctx, q)
}

func (r *remote) ListContainers(ctx context.Context, q *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return r.rt.ListContainers(ctx, q)
}

func (r *remote) UpdateContainerResources(ctx context.Context, q *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	return r.rt.UpdateContainerResources(ctx, q)
}

func (r *remote) ReopenContainerLog(ctx context.Context, q *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	return r.rt.ReopenContainerLog(ctx, q)
}

func (r *remote) ContainerStats(ctx context.Context, q *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	return r.rt.ContainerStats(ctx, q)
}

func (r *remote) ListContainerStats(ctx context.Context, q *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	return r.rt.ListContainerStats(ctx, q)
}

func (r *remote) ExecSync(ctx context.Context, q *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	return r.rt.ExecSync(ctx, q)
}

func (r *remote) Exec(ctx context.Context, q *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return r.rt.Exec(ctx, q)
}

func (r *remote) Attach(ctx context.Context, q *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return r.rt.Attach(ctx, q)
}

func (r *remote) PortForward(ctx context.Context, q *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	return r.rt.PortForward(ctx, q)
}

func (r *remote) ListImages(ctx context.Context, q *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return r.images.ListImages(ctx, q)
}

func (r *remote) ImageStatus(ctx context.Context, q *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	return r.images.ImageStatus(ctx, q)
}

func (r *remote) PullImage(ctx context.Context, q *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	return r.images.PullImage(ctx, q)
}

func (r *remote) RemoveImage(ctx context.Context, q *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	return r.images.RemoveImage(ctx, q)
}

func (r *remote) ImageFsInfo(ctx context.Context, q *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	return r.images.ImageFsInfo(ctx, q)
}
