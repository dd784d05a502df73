package cri

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/sys"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/pelletier/go-toml/v2"
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/internal/images"
)

// Plugins of containerd whose directories differ from the others'.
const (
	taskPlugin = "io.containerd.runtime.v2.task"
	criPlugin  = "io.containerd.grpc.v1.cri"
)

// namespace is where CRI keeps its objects in containerd, by convention.
const namespace = images.Namespace

// EmbeddedOptions say where the embedded containerd lives and with which programs it works. All paths are absolute.
type EmbeddedOptions struct {
	Root   string // persistent data: images, snapshots, metadata
	State  string // what a reboot may lose: bundles, network namespaces, sockets of shims
	Socket string // unix socket that serves CRI and containerd's own API to crictl, ctr and `tenet image`; State/containerd.sock

	Runc string // path of runc
	Shim string // path of containerd-shim-runc-v2

	CNIConfDir string // where the pod network's conflist is, or will be: it is picked up when it appears
	CNIBinDir  string // where CNI plugins are

	SandboxImage string // the image of sandboxes; empty: the built-in pause image, imported when missing
	RegistryDir  string // certs.d style directory with <host>/hosts.toml; may be empty or missing

	Logger *slog.Logger // containerd's warnings and errors; slog.Default()
}

func (o *EmbeddedOptions) complete() error {
	for name, v := range map[string]string{"Root": o.Root, "State": o.State, "Runc": o.Runc, "Shim": o.Shim, "CNIConfDir": o.CNIConfDir, "CNIBinDir": o.CNIBinDir} {
		if !filepath.IsAbs(v) {
			return fmt.Errorf("container runtime: %s must be an absolute path, not %q", name, v)
		}
	}
	for name, p := range map[string]string{"runc": o.Runc, "containerd-shim-runc-v2": o.Shim} {
		if filepath.Base(p) != name {
			return fmt.Errorf("container runtime: %s must be a file of the name %s", p, name)
		}
	}
	if o.Root == o.State {
		return fmt.Errorf("container runtime: Root and State must differ (%s)", o.Root)
	}
	if o.Socket == "" {
		o.Socket = filepath.Join(o.State, "containerd.sock")
	}
	if o.SandboxImage == "" {
		o.SandboxImage = images.Pause
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// Daemon is containerd inside this process, ready to run pods. It is a [Runtime] whose calls are function calls.
type Daemon struct {
	rt     runtimeapi.RuntimeServiceServer
	images runtimeapi.ImageServiceServer

	client  *containerd.Client
	server  *grpc.Server
	set     *plugin.Set
	failed  chan error
	options EmbeddedOptions
	starts  *gate
	seccomp string // path of the sandbox's own seccomp profile; empty: not our pause image
	stop    context.CancelFunc
	once    sync.Once
	closed  error
}

var _ Runtime = (*Daemon)(nil)

// Embedded starts containerd in this process and returns when CRI is ready: pods of an earlier run are adopted, the sandbox image is there.
// Needs root. ctx bounds the start only; end it with Close.
func Embedded(ctx context.Context, o EmbeddedOptions) (_ *Daemon, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("container runtime: needs root to make containers; run as root, or without a node (tenet server)")
	}
	for _, p := range []string{o.Runc, o.Shim} {
		if _, err := os.Stat(p); err != nil {
			return nil, fmt.Errorf("container runtime: %w", err)
		}
	}
	if err := makeDirs(o); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}

	// containerd looks for the shim, and the shim for runc, by name on PATH. (Its runtime_path setting costs an execution of the shim for every task.)
	if err := prependPath(filepath.Dir(o.Shim), filepath.Dir(o.Runc)); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}

	// What is started for every pod, CNI plugins before all, lives for milliseconds: a Go program's threads for more processors only cost it time.
	if err := os.Setenv("GOMAXPROCS", "1"); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}

	d := &Daemon{options: o, failed: make(chan error, 1), set: plugin.NewPluginSet(), starts: &gate{free: startsAtOnce(), patience: 2 * time.Second}}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	run = captureLogs(run, o.Logger, d.fail)

	ready, err := d.load(run)
	if err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	if err := d.serve(run); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	select {
	case <-ready:
	case err := <-d.failed:
		return nil, fmt.Errorf("container runtime: %w", err)
	case <-ctx.Done():
		return nil, fmt.Errorf("container runtime: not ready: %w", ctx.Err())
	}
	if o.SandboxImage == images.Pause {
		if err := images.EnsurePause(ctx, d.client); err != nil {
			return nil, fmt.Errorf("container runtime: pause image: %w", err)
		}
		if d.seccomp, err = writeSandboxSeccomp(o.State); err != nil {
			return nil, fmt.Errorf("container runtime: %w", err)
		}
	}
	return d, nil
}

// startsAtOnce is a little more than there are processors: some of every start is waiting.
func startsAtOnce() int { return runtime.GOMAXPROCS(0) + 2 }

// makeDirs makes what containerd expects to exist. Users of pods in user namespaces walk through State, so others may (0711).
func makeDirs(o EmbeddedOptions) error {
	for dir, mode := range map[string]os.FileMode{o.Root: 0o700, o.State: 0o711} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
		if err := os.Chmod(dir, mode); err != nil {
			return err
		}
	}
	for dir := filepath.Dir(o.State); dir != "/"; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if st.Mode().Perm()&0o001 == 0 {
			slog.Warn("Pods in user namespaces will not start: a parent of the state directory may not be entered by others", "directory", dir)
			break
		}
	}
	if err := os.MkdirAll(filepath.Dir(o.Socket), 0o711); err != nil {
		return err
	}
	if err := volatileSandboxes(o); err != nil {
		return err
	}
	return os.MkdirAll(o.CNIConfDir, 0o755)
}

// volatileSandboxes has the files of sandboxes (hostname, hosts, resolv.conf: written anew for each) kept in State: a sandbox does not outlive
// what a reboot loses. containerd knows one directory for them and for the containers' exit codes, which stay on the disk.
func volatileSandboxes(o EmbeddedOptions) error {
	target := filepath.Join(o.State, "sandboxes")
	if err := os.MkdirAll(target, 0o700); err != nil {
		return err
	}
	at := filepath.Join(o.Root, criPlugin, "sandboxes")
	if old, err := os.Readlink(at); err == nil && old == target {
		return nil
	}
	// Fails where a Tenet before this change has sandboxes that still run; they go on as they are. A link to another State is replaced.
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, at)
}

// prependPath makes this process and its children look in dirs first.
func prependPath(dirs ...string) error {
	path := filepath.SplitList(os.Getenv("PATH"))
	for _, dir := range slices.Backward(dirs) {
		path = slices.DeleteFunc(path, func(p string) bool { return p == dir })
		path = slices.Insert(path, 0, dir)
	}
	return os.Setenv("PATH", strings.Join(path, string(filepath.ListSeparator)))
}

// load starts containerd's plugins in the order of their dependencies. The channel is closed when all that said they need longer are ready.
func (d *Daemon) load(ctx context.Context) (<-chan struct{}, error) {
	host := detect(d.options)
	config := containerdConfig(d.options, host)
	if err := mount.SetTempMountLocation(filepath.Join(d.options.Root, "tmpmounts")); err != nil {
		return nil, err
	}
	var pending sync.WaitGroup
	skip := func(r *plugin.Registration) bool {
		return unwanted[r.URI()] || r.Type == plugins.SnapshotPlugin && r.ID != host.snapshotter()
	}
	for _, reg := range registry.Graph(skip) {
		id := reg.URI()
		ic := d.initContext(ctx, id)
		registered := false
		ic.RegisterReadiness = func() func() {
			registered = true
			pending.Add(1)
			return pending.Done
		}
		if reg.Config != nil {
			if err := decode(config[id], reg.Config); err != nil {
				return nil, fmt.Errorf("configuration of %s: %w", id, err)
			}
			ic.Config = reg.Config
		}
		start := time.Now()
		p := reg.Init(ic)
		if err := d.set.Add(p); err != nil {
			return nil, err
		}
		if err := p.Err(); err != nil {
			if !plugin.IsSkipPlugin(err) || registered {
				return nil, fmt.Errorf("%s: %w", id, err)
			}
			continue
		}
		d.options.Logger.Debug("containerd plugin started", "plugin", id, "took", time.Since(start))
	}

	p := d.set.Get(plugins.GRPCPlugin, "cri")
	if p == nil {
		return nil, errors.New("containerd has no CRI plugin")
	}
	instance, err := p.Instance()
	if err != nil {
		return nil, fmt.Errorf("CRI plugin: %w", err)
	}
	d.rt, d.images = instance.(runtimeapi.RuntimeServiceServer), instance.(runtimeapi.ImageServiceServer)
	d.client, err = containerd.New("", containerd.WithDefaultNamespace(namespace), containerd.WithInMemoryServices(d.initContext(ctx, "")))
	if err != nil {
		return nil, fmt.Errorf("containerd client: %w", err)
	}
	ready := make(chan struct{})
	go func() {
		pending.Wait()
		close(ready)
	}()
	return ready, nil
}

func (d *Daemon) initContext(ctx context.Context, id string) *plugin.InitContext {
	root := filepath.Join(d.options.Root, id)
	if id == taskPlugin { // its root is an empty working directory for each running container
		root = filepath.Join(d.options.State, "work")
	}
	return plugin.NewContext(ctx, d.set, map[string]string{
		plugins.PropertyRootDir:      root,
		plugins.PropertyStateDir:     filepath.Join(d.options.State, id),
		plugins.PropertyGRPCAddress:  d.options.Socket,
		plugins.PropertyTTRPCAddress: d.options.Socket + ".ttrpc",
	})
}

// decode lays settings over a plugin's default configuration, whose type is internal to containerd. An unknown setting is an error.
func decode(settings map[string]any, into any) error {
	if settings == nil {
		return nil
	}
	b, err := toml.Marshal(settings)
	if err != nil {
		return err
	}
	return toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(into)
}

// serve opens the sockets: containerd's plugin for ttrpc, on which shims report, and a gRPC server for crictl, ctr and the command line.
func (d *Daemon) serve(ctx context.Context) error {
	d.server = grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(unaryNamespace), grpc.StreamInterceptor(streamNamespace))
	for _, p := range d.set.GetAll() {
		instance, err := p.Instance()
		if err != nil {
			continue
		}
		if s, ok := instance.(interface{ Register(*grpc.Server) error }); ok && p.Registration.Type == plugins.GRPCPlugin {
			if err := s.Register(d.server); err != nil {
				return fmt.Errorf("%s: %w", p.Registration.URI(), err)
			}
		}
		if s, ok := instance.(interface{ Start(context.Context) error }); ok && p.Registration.Type == plugins.ServerPlugin {
			if err := s.Start(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.Registration.URI(), err)
			}
		}
	}
	l, err := sys.GetLocalListener(d.options.Socket, os.Geteuid(), os.Getegid())
	if err != nil {
		return err
	}
	go func(l net.Listener) {
		if err := d.server.Serve(l); err != nil && ctx.Err() == nil {
			d.fail(fmt.Errorf("serving %s: %w", d.options.Socket, err))
		}
	}(l)
	return nil
}

// fail records that containerd can not go on; only the first reason counts.
func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

// Failed delivers at most one error: why the runtime stopped working by itself. It takes a new Embedded to go on.
func (d *Daemon) Failed() <-chan error { return d.failed }

// Client is containerd's own API, in memory: for images and what CRI does not offer.
func (d *Daemon) Client() *containerd.Client { return d.client }

// Socket is where CRI is served to other processes.
func (d *Daemon) Socket() string { return d.options.Socket }

// Close stops containerd and leaves pods running; their shims keep them until the next Embedded with the same directories.
func (d *Daemon) Close() error {
	d.once.Do(func() {
		d.stop()
		if d.server != nil {
			d.server.Stop()
		}
		var errs []error
		for _, p := range slices.Backward(d.set.GetAll()) {
			instance, err := p.Instance()
			if err != nil {
				continue
			}
			if c, ok := instance.(io.Closer); ok {
				if err := c.Close(); err != nil {
					errs = append(errs, fmt.Errorf("stop %s: %w", p.Registration.URI(), err))
				}
			}
		}
		d.closed = errors.Join(errs...)
	})
	return d.closed
}
