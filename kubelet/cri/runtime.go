// Package cri is how the kubelet runs containers: the CRI v1 contract as Tenet uses it ([Runtime]) and the ways to get one.
//
//   - [Embedded] runs containerd inside this process and calls it as functions. This is the default.
//   - [Dial] talks to any CRI v1 runtime over its unix socket.
//   - Package fake keeps pods in memory: for tests and hollow nodes.
//
// It is the last step of the loop, "execute": nothing here knows the API, and nothing here decides.
//
// # Guarantees
//
// Errors are gRPC status errors, as CRI defines them, whichever implementation they come from ([IsNotFound]).
// Requests are kept by the runtime and responses may be shared with it: change neither after the call.
// Stopping the runtime, or the process it lives in, leaves pods running; the next start adopts them.
//
// # Non-guarantees
//
// Events are a hint, not a log: a slow reader, a restart of the runtime or a lost connection drops some. Who needs the truth lists after (re)connecting.
package cri

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Runtime is the part of the CRI v1 runtime and image services that Tenet uses. All methods may be called concurrently.
type Runtime interface {
	Pods
	Containers
	Streams
	Images

	Version(ctx context.Context, r *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error)
	Status(ctx context.Context, r *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error)
	RuntimeConfig(ctx context.Context, r *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error)
	UpdateRuntimeConfig(ctx context.Context, r *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error)

	// Events calls f, one event after the other, for every change of a container's or sandbox's state, until ctx ends or the stream breaks; the error says which.
	// containerd keeps events for some minutes while nobody listens, and gives them to the next listener.
	Events(ctx context.Context, f func(*runtimeapi.ContainerEventResponse)) error

	// Close gives up the connection, or stops the embedded runtime. Pods keep running.
	Close() error
}

// Pods are sandboxes: the network namespace, cgroup parent and pause process that a pod's containers share.
type Pods interface {
	RunPodSandbox(ctx context.Context, r *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error)
	StopPodSandbox(ctx context.Context, r *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error)
	RemovePodSandbox(ctx context.Context, r *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error)
	PodSandboxStatus(ctx context.Context, r *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error)
	ListPodSandbox(ctx context.Context, r *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error)
	PodSandboxStats(ctx context.Context, r *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error)
	ListPodSandboxStats(ctx context.Context, r *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error)
	UpdatePodSandboxResources(ctx context.Context, r *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error)
}

// Containers run inside a sandbox.
type Containers interface {
	CreateContainer(ctx context.Context, r *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error)
	StartContainer(ctx context.Context, r *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error)
	StopContainer(ctx context.Context, r *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error)
	RemoveContainer(ctx context.Context, r *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error)
	ContainerStatus(ctx context.Context, r *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error)
	ListContainers(ctx context.Context, r *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error)
	UpdateContainerResources(ctx context.Context, r *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error)
	ReopenContainerLog(ctx context.Context, r *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error)
	ContainerStats(ctx context.Context, r *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error)
	ListContainerStats(ctx context.Context, r *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error)
}

// Streams reach into running containers. Exec, Attach and PortForward return a URL on a loopback address that speaks SPDY and WebSocket v4 (not v5).
type Streams interface {
	ExecSync(ctx context.Context, r *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error)
	Exec(ctx context.Context, r *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error)
	Attach(ctx context.Context, r *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error)
	PortForward(ctx context.Context, r *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error)
}

// Images are what containers are made of.
type Images interface {
	ListImages(ctx context.Context, r *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error)
	ImageStatus(ctx context.Context, r *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error)
	PullImage(ctx context.Context, r *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error)
	RemoveImage(ctx context.Context, r *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error)
	ImageFsInfo(ctx context.Context, r *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error)
}

// IsNotFound says that the sandbox, container or image of the call does not exist (any more).
func IsNotFound(err error) bool { return status.Code(err) == codes.NotFound }

// Message is what went wrong without the gRPC decoration ("rpc error: code = ... desc = ..."), fit for a status or an event.
func Message(err error) string {
	if err == nil {
		return ""
	}
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}
	return err.Error()
}
