// Package fake is a CRI runtime that keeps pods in memory: for tests, also in virtual time, and for hollow nodes that carry thousands of pods.
//
// Containers do what a [Behavior] says and tell of it by events, as a real runtime does. Nothing on the machine is touched, except that container logs
// are written when a log directory exists.
package fake

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/cri"
)

// Behavior is what a container does.
type Behavior struct {
	// StartError fails the start.
	StartError string
	// RunFor ends the container by itself after this time with ExitCode; 0: it runs until it is stopped.
	RunFor   time.Duration
	ExitCode int32
	// Exits: the container ends at once with ExitCode.
	Exits bool
	// StopTakes is how long it goes on after the stop signal. Longer than the grace period: it is killed (137).
	StopTakes time.Duration
	// Log lines are written to stdout at the start.
	Log []string
}

// Options change how the runtime behaves. All may be zero.
type Options struct {
	Behave func(pod *runtimeapi.PodSandboxConfig, c *runtimeapi.ContainerConfig) Behavior
	// Exec answers ExecSync; nil: success without output.
	Exec func(container string, cmd []string) (stdout string, code int32, err error)
	// Pull fails pulls of images; nil: every image can be pulled.
	Pull     func(image string, auth *runtimeapi.AuthConfig) error
	PullTime time.Duration
	// Images are there from the beginning.
	Images []string
	// SandboxTime and StartTime are how long these take.
	SandboxTime, StartTime time.Duration
	SandboxError           func(pod *runtimeapi.PodSandboxConfig) error
	// PodCIDR is where addresses come from: 10.88.0.0/16.
	PodCIDR netip.Prefix
	// Quiet sends no events.
	Quiet bool
}

type sandbox struct {
	id      string
	config  *runtimeapi.PodSandboxConfig
	ready   bool
	created time.Time
	ip      string
}

type container struct {
	id, box  string
	config   *runtimeapi.ContainerConfig
	behavior Behavior
	state    runtimeapi.ContainerState
	created  time.Time
	started  time.Time
	finished time.Time
	code     int32
	reason   string
	message  string
	logPath  string
	ended    chan struct{}
	timer    *time.Timer
}

// Runtime is the fake. Make one with New.
type Runtime struct {
	o Options

	mu         sync.Mutex
	next       int
	ip         netip.Addr
	sandboxes  map[string]*sandbox
	containers map[string]*container
	images     map[string]bool
	listeners  map[chan *runtimeapi.ContainerEventResponse]bool
	calls      map[string]int
}

var _ cri.Runtime = (*Runtime)(nil)

// New makes a runtime without pods.
func New(o Options) *Runtime {
	if !o.PodCIDR.IsValid() {
		o.PodCIDR = netip.MustParsePrefix("10.88.0.0/16")
	}
	r := &Runtime{
		o: o, ip: o.PodCIDR.Addr(), sandboxes: map[string]*sandbox{}, containers: map[string]*container{}, images: map[string]bool{},
		listeners: map[chan *runtimeapi.ContainerEventResponse]bool{}, calls: map[string]int{},
	}
	for _, i := range o.Images {
		r.images[i] = true
	}
	return r
}

// Calls is how often a method was called.
func (r *Runtime) Calls(method string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[method]
}

// Dump prints sandboxes and containers, oldest first, one a line: "web/nginx#0 running".
func (r *Runtime) Dump() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, s := range r.sandboxes {
		state := "notready"
		if s.ready {
			state = "ready"
		}
		lines = append(lines, fmt.Sprintf("%s: %s#%d %s", s.id, s.config.Metadata.Name, s.config.Metadata.Attempt, state))
	}
	for _, c := range r.containers {
		l := fmt.Sprintf("%s: %s/%s#%d %s", c.id, r.sandboxes[c.box].config.Metadata.Name, c.config.Metadata.Name, c.config.Metadata.Attempt,
			strings.ToLower(strings.TrimPrefix(c.state.String(), "CONTAINER_")))
		if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
			l += fmt.Sprintf("(%d)", c.code)
		}
		lines = append(lines, l)
	}
	sort.Strings(lines)
	for i, l := range lines {
		_, lines[i], _ = strings.Cut(l, ": ")
	}
	return strings.Join(lines, "\n")
}

// Exit ends the running container of a pod by itself. It reports whether there was one.
func (r *Runtime) Exit(pod, name string, code int32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.config.Metadata.Name == name && r.sandboxes[c.box].config.Metadata.Name == pod && c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
			r.end(c, code, "")
			return true
		}
	}
	return false
}

// Crash ends the sandboxes of a pod and all in them, as a reboot or the death of the pause process does.
func (r *Runtime) Crash(pod string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sandboxes {
		if s.config.Metadata.Name == pod && s.ready {
			r.stopSandbox(s)
		}
	}
}

func (r *Runtime) id(prefix string) string {
	r.next++
	return fmt.Sprintf("%s%08d", prefix, r.next)
}

func (r *Runtime) call(method string) { r.calls[method]++ }

func notFound(what, id string) error {
	return status.Errorf(codes.NotFound, "an error occurred when try to find %s %q: not found", what, id)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (r *Runtime) tell(id string, kind runtimeapi.ContainerEventType, box string) {
	if r.o.Quiet {
		return
	}
	s := r.sandboxes[box]
	e := &runtimeapi.ContainerEventResponse{ContainerId: id, ContainerEventType: kind, CreatedAt: time.Now().UnixNano()}
	if s != nil {
		e.PodSandboxStatus = &runtimeapi.PodSandboxStatus{Id: s.id, Metadata: s.config.Metadata, Labels: s.config.Labels}
	}
	for l := range r.listeners {
		select {
		case l <- e:
		default: // events are a hint
		}
	}
}

// Events implements cri.Runtime.
func (r *Runtime) Events(ctx context.Context, f func(*runtimeapi.ContainerEventResponse)) error {
	c := make(chan *runtimeapi.ContainerEventResponse, 4096)
	r.mu.Lock()
	r.listeners[c] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.listeners, c)
		r.mu.Unlock()
	}()
	for {
		select {
		case e := <-c:
			f(e)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Runtime) end(c *container, code int32, reason string) {
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return
	}
	c.state, c.code, c.finished = runtimeapi.ContainerState_CONTAINER_EXITED, code, time.Now()
	if c.reason = reason; reason == "" {
		if c.reason = "Completed"; code != 0 {
			c.reason = "Error"
		}
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	close(c.ended)
	r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, c.box)
}

// RunPodSandbox implements cri.Runtime.
func (r *Runtime) RunPodSandbox(ctx context.Context, q *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	r.mu.Lock()
	r.call("RunPodSandbox")
	r.mu.Unlock()
	if err := wait(ctx, r.o.SandboxTime); err != nil {
		return nil, err
	}
	if r.o.SandboxError != nil {
		if err := r.o.SandboxError(q.Config); err != nil {
			return nil, status.Error(codes.Unknown, err.Error())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sandboxes {
		if m, n := s.config.Metadata, q.Config.Metadata; m.Uid == n.Uid && m.Attempt == n.Attempt {
			return nil, status.Errorf(codes.AlreadyExists, "failed to reserve sandbox name %q: it is reserved for %q", m.Name, s.id)
		}
	}
	s := &sandbox{id: r.id("box"), config: q.Config, ready: true, created: time.Now()}
	if q.Config.Linux.GetSecurityContext().GetNamespaceOptions().GetNetwork() != runtimeapi.NamespaceMode_NODE {
		r.ip = r.ip.Next()
		s.ip = r.ip.String()
	}
	r.sandboxes[s.id] = s
	r.tell(s.id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, s.id)
	r.tell(s.id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, s.id)
	return &runtimeapi.RunPodSandboxResponse{PodSandboxId: s.id}, nil
}

func (r *Runtime) stopSandbox(s *sandbox) {
	for _, c := range r.containers {
		if c.box == s.id {
			r.end(c, 137, "")
		}
	}
	if s.ready {
		s.ready = false
		r.tell(s.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, s.id)
	}
}

// StopPodSandbox implements cri.Runtime.
func (r *Runtime) StopPodSandbox(ctx context.Context, q *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call("StopPodSandbox")
	if s := r.sandboxes[q.PodSandboxId]; s != nil {
		r.stopSandbox(s)
	}
	return &runtimeapi.StopPodSandboxResponse{}, nil
}

// RemovePodSandbox implements cri.Runtime.
func (r *Runtime) RemovePodSandbox(ctx context.Context, q *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call("RemovePodSandbox")
	if s := r.sandboxes[q.PodSandboxId]; s != nil {
		r.stopSandbox(s)
		for id, c := range r.containers {
			if c.box == s.id {
				delete(r.containers, id)
			}
		}
		r.tell(s.id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, s.id)
		delete(r.sandboxes, s.id)
	}
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}

func (s *sandbox) state() runtimeapi.PodSandboxState {
	if s.ready {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

// PodSandboxStatus implements cri.Runtime.
func (r *Runtime) PodSandboxStatus(ctx context.Context, q *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call("PodSandboxStatus")
	s := r.sandboxes[q.PodSandboxId]
	if s == nil {
		return nil, notFound("sandbox", q.PodSandboxId)
	}
	st := &runtimeapi.PodSandboxStatus{
		Id: s.id, Metadata: s.config.Metadata, State: s.state(), CreatedAt: s.created.UnixNano(), Labels: s.config.Labels, Annotations: s.config.Annotations,
		Network: &runtimeapi.PodSandboxNetworkStatus{Ip: s.ip},
		Linux:   &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: s.config.GetLinux().GetSecurityContext().GetNamespaceOptions()}},
	}
	return &runtimeapi.PodSandboxStatusResponse{Status: st}, nil
}

func chosen(want, have map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// ListPodSandbox implements cri.Runtime.
func (r *Runtime) ListPodSandbox(ctx context.Context, q *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call("ListPodSandbox")
	out := &runtimeapi.ListPodSandboxResponse{}
	for _, s := range r.sandboxes {
		if f := q.GetFilter(); f != nil && (f.Id != "" && f.Id != s.id || !chosen(f.LabelSelector, s.config.Labels) || f.State != nil && f.State.State != s.state()) {
			continue
		}
		out.Items = append(out.Items, &runtimeapi.PodSandbox{Id: s.id, Metadata: s.config.Metadata, State: s.state(), CreatedAt: s.created.UnixNano(), Labels: s.config.Labels, Annotations: s.config.Annotations})
	}
	return out, nil
}

// CreateContainer implements cri.Runtime.
func (r *Runtime) CreateContainer(ctx context.Context, q *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call("CreateContainer")
	s := r.sandboxes[q.PodSandboxId]
	if s == nil || !s.ready {
		return nil, notFound("sandbox", q.PodSandboxId)
	}
	for _, c := range r.containers {
		if m, n := c.config.Metadata, q.Config.Metadata; r.sandboxes[c.box].config.Metadata.Uid == s.config.Metadata.Uid && m.Name == n.Name && m.Attempt == n.Attempt {
			return nil, status.Errorf(codes.AlreadyExists, "failed to reserve container name %q: it is reserved for %q", n.Name, c.id)
		}
	}
	c := &container{id: r.id("ctr"), box: s.id, config: q.Config, state: runtimeapi.ContainerState_CONTAINER_CREATED, created: time.Now(), ended: make(chan struct{})}
	if r.o.Behave != nil {
		c.behavior = r.o.Behave(s.config, q.Config)
	}
	if s.config.LogDirectory != "" {
		c.logPath = filepath.Join(s.config.LogDirectory, q.Config.LogPath)
	}
	r.containers[c.id] = c
	r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, c.box)
	return &runtimeapi.CreateContainerResponse{ContainerId: c.id}, nil
}

// StartContainer implements cri.Runtime.
func (r *Runtime) StartContainer(ctx context.Context, q *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	if err := wait(ctx, r.o.StartTime); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call("StartContainer")
	c := r.containers[q.ContainerId]
	if c == nil {
		return nil, notFound("container", q.ContainerId)
	}
	if c.state != runtimeapi.ContainerState_CONTAINER_CREATED {
		return nil, status.Errorf(codes.FailedPrecondition, "container %q is in state %v", c.id, c.state)
	}
	c.started = time.Now()
	b := c.behavior
	if b.StartError != "" {
		c.state, c.code, c.finished, c.reason, c.message = runtimeapi.ContainerState_CONTAINER_EXITED, 128, time.Now(), "StartError", b.StartError
		close(c.ended)
		return nil, status.Error(codes.Unknown, b.StartError)
	}
	c.state = runtimeapi.ContainerState_CONTAINER_RUNNING
	if c.logPath != "" && len(b.Log) > 0 {
		var text strings.Builder
		for _, l := range b.Log {
			fmt.Fprintf(&text, "%s stdout F %s\n", time.Now().UTC().Format(time.RFC3339Nano), l)
		}
		os.WriteFile(c.logPath, []byte(text.String()), 0o640)
	}
	r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, c.box)
	if b.Exits {
		r.end(c, b.ExitCode, "")
	} else if b.RunFor > 0 {
		c.timer = time.AfterFunc(b.RunFor, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.end(c, b.ExitCode, "")
		})
	}
	return &runtimeapi.StartContainerResponse{}, nil
}

// StopContainer implements cri.Runtime.
func (r *Runtime) StopContainer(ctx context.Context, q *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	r.mu.Lock()
	r.call("StopContainer")
	c := r.containers[q.ContainerId]
	if c == nil || c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		r.mu.Unlock()
		return &runtimeapi.StopContainerResponse{}, nil
	}
	takes, grace := c.behavior.StopTakes, time.Duration(q.Timeout)*time.Second
	r.mu.Unlock()
	code := int32(143)
	if takes > grace {
		takes, code = grace, 137
	}
	t := time.NewTimer(takes)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.ended:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(c, code, "")
	return &runtimeapi.StopContainerResponse{}, nil
}

// RemoveContainer implements cri.Runtime.
func (r *Runtime) RemoveContainer(ctx context.Context, q *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call("RemoveContainer")
	if c := r.containers[q.ContainerId]; c != nil {
		r.end(c, 137, "")
		delete(r.containers, c.id)
		r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, c.box)
	}
	return &runtimeapi.RemoveContainerResponse{}, nil
}

// ContainerStatus implements cri.Runtime.
func (r *Runtime) ContainerStatus(ctx context.Context, q *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call("ContainerStatus")
	c := r.containers[q.ContainerId]
	if c == nil {
		return nil, notFound("container", q.ContainerId)
	}
	st := &runtimeapi.ContainerStatus{
		Id: c.id, Metadata: c.config.Metadata, State: c.state, CreatedAt: c.created.UnixNano(), ExitCode: c.code, Reason: c.reason, Message: c.message,
		Image: &runtimeapi.ImageSpec{Image: c.config.Image.GetUserSpecifiedImage()}, ImageRef: c.config.Image.GetImage(), ImageId: c.config.Image.GetImage(),
		Labels: c.config.Labels, Annotations: c.config.Annotations, Mounts: c.config.Mounts, LogPath: c.logPath,
	}
	if !c.started.IsZero() {
		st.StartedAt = c.started.UnixNano()
	}
	if !c.finished.IsZero() {
		st.FinishedAt = c.finished.UnixNano()
	}
	return &runtimeapi.ContainerStatusResponse{Status: st}, nil
}

// ListContainers implements cri.Runtime.
func (r *Runtime) ListContainers(ctx context.Context, q *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call("ListContainers")
	out := &runtimeapi.ListContainersResponse{}
	for _, c := range r.containers {
		if f := q.GetFilter(); f != nil && (f.Id != "" && f.Id != c.id || f.PodSandboxId != "" && f.PodSandboxId != c.box || !chosen(f.LabelSelector, c.config.Labels) || f.State != nil && f.State.State != c.state) {
			continue
		}
		out.Containers = append(out.Containers, &runtimeapi.Container{Id: c.id, PodSandboxId: c.box, Metadata: c.config.Metadata, Image: c.config.Image, ImageRef: c.config.Image.GetImage(), State: c.state, CreatedAt: c.created.UnixNano(), Labels: c.config.Labels, Annotations: c.config.Annotations})
	}
	return out, nil
}
