package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/internal/carry"
	"github.com/tenet-run/tenet/internal/version"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kubelet"
	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/server/control"
)

// node is this machine as a node: container runtime, pod network, node agent.
type node struct {
	cfg  NodeConfig
	data string
	log  *slog.Logger
	wire *wire

	runtime cri.Runtime
	daemon  *cri.Daemon // nil with another runtime
	started chan struct{}
	failed  error // of the start; read after started is closed

	web  *http.Server
	work sync.WaitGroup
}

// startNode begins to start the container runtime, and returns at once.
func startNode(ctx context.Context, dataDir string, cfg NodeConfig, log *slog.Logger) *node {
	n := &node{cfg: cfg, data: dataDir, log: log, wire: newWire(cfg.Name), started: make(chan struct{})}
	go func() {
		defer close(n.started)
		n.failed = n.startRuntime(ctx)
	}()
	return n
}

func (n *node) startRuntime(ctx context.Context) error {
	if n.cfg.CRIEndpoint != "" {
		r, err := cri.Dial(ctx, n.cfg.CRIEndpoint)
		n.runtime = r
		return err
	}
	o, err := runtimeOptions(ctx, n.data, n.cfg)
	if err != nil {
		return err
	}
	o.Logger = n.log
	n.daemon, err = cri.Embedded(ctx, o)
	n.runtime = n.daemon
	return err
}

// runtimeOptions are the embedded runtime's, for tenet up and for those who stop its pods.
func runtimeOptions(ctx context.Context, dataDir string, cfg NodeConfig) (cri.EmbeddedOptions, error) {
	o := cri.EmbeddedOptions{
		Root: filepath.Join(dataDir, "containerd"), State: filepath.Join(cfg.RunDir, "containerd"),
		CNIConfDir: filepath.Join(cfg.RunDir, "cni"), RegistryDir: filepath.Join(dataDir, "certs.d"),
	}
	bin := filepath.Join(dataDir, "bin")
	var err error
	if o.Runc, err = carry.Path(ctx, bin, carry.Runc); err != nil {
		return o, err
	}
	if o.Shim, err = carry.Path(ctx, bin, carry.Shim); err != nil {
		return o, err
	}
	if o.CNIBinDir, err = carry.CNIDir(ctx, bin); err != nil {
		return o, err
	}
	for _, dir := range []string{dataDir, cfg.RunDir} {
		// Containers with user namespaces pass through.
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return o, err
		}
	}
	return o, os.MkdirAll(o.CNIConfDir, 0o755)
}

// run starts the node agent, and puts the API server on the address by which pods reach it.
func (n *node) run(ctx context.Context, plane *control.Control, serve func(net.Listener), fail context.CancelCauseFunc) error {
	select {
	case <-n.started:
	case <-ctx.Done():
		return ended(ctx)
	}
	if n.failed != nil {
		return n.failed
	}
	if n.daemon != nil {
		go func() {
			select {
			case err := <-n.daemon.Failed():
				fail(fmt.Errorf("container runtime: %w", err))
			case <-ctx.Done():
			}
		}()
	}
	if err := n.serviceAddress(serve); err != nil {
		return err
	}
	api := plane.Agent(n.cfg.Name)
	recorder := client.NewRecorder(api, core.Event, "kubelet", n.cfg.Name, n.log)
	k, err := kubelet.New(kubelet.Config{
		Client: api, Cache: plane.Cache, Recorder: recorder, Runtime: n.runtime, NodeName: n.cfg.Name, Logger: n.log,
		RootDir: filepath.Join(n.data, "kubelet"), NodeIPs: []string{n.cfg.IP}, Labels: n.cfg.Labels, MaxPods: n.cfg.MaxPods,
		ServiceHost: serviceIP.String(), ServicePort: 443, Version: version.Kubernetes,
		OnPodCIDR: func(cidr string) {
			if err := n.podNetwork(cidr); err != nil {
				fail(fmt.Errorf("pod network: %w", err))
			}
		},
	})
	if err != nil {
		return err
	}
	n.web = &http.Server{Handler: k.Handler(), ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)}
	n.work.Go(func() {
		if err := n.web.Serve(n.wire); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			fail(fmt.Errorf("node agent: %w", err))
		}
	})
	n.work.Go(func() { recorder.Run(ctx) })
	n.work.Go(func() {
		if err := k.Run(ctx); err != nil && ctx.Err() == nil {
			fail(fmt.Errorf("node agent: %w", err))
		}
	})
	return nil
}

// awaitReady returns when the node is Ready.
func (n *node) awaitReady(ctx context.Context, plane *control.Control) error {
	ctx, found := context.WithCancel(ctx)
	defer found()
	ready := false
	slow := time.AfterFunc(10*time.Second, func() { n.log.Info("still waiting for the node to become ready", "node", n.cfg.Name) })
	defer slow.Stop()
	err := plane.Cache.Follow(ctx, core.Node, "", client.FollowOptions{Fields: map[string]string{"metadata.name": n.cfg.Name}}, func(c client.Change) {
		node, ok := c.New.(*corev1.Node)
		if !ok {
			return
		}
		for _, cond := range node.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
				ready = true
				found()
			}
		}
	}, nil)
	if !ready {
		return fmt.Errorf("wait for node %s to become ready: %w", n.cfg.Name, err)
	}
	return nil
}

// stopAgent ends the node agent, whose context has ended, and waits for its last writes. Pods go on.
func (n *node) stopAgent() {
	n.wire.Close()
	if n.web != nil {
		n.web.Close()
	}
	n.work.Wait()
}

// close stops the runtime. Pods go on.
func (n *node) close() {
	<-n.started
	if n.daemon != nil {
		if err := n.daemon.Close(); err != nil {
			n.log.Warn("container runtime did not stop cleanly", "error", err)
		}
	}
}
