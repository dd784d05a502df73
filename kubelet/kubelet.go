// Package kubelet is the node agent: it makes one machine run the pods that are bound to it. It is the last room of the loop, "execute".
//
// A worker per pod observes the container runtime, asks [plan.Next] what is due, and runs each action in a goroutine of its own; every end of an
// action, every change of the pod, every event of the runtime and every probe result makes it look again. Nothing is polled: a slow relist only
// catches what the runtime's event stream may lose.
//
// # Guarantees
//
//   - Pods survive the end of the kubelet and are adopted by the next one, by the labels that upstream's kubelet puts on containers. An adopted
//     container is not restarted, and restart counts go on.
//   - A status is written only when it differs from the last one; writes of one pod never overtake each other.
//   - A pod is removed from the API (grace 0, with its UID as precondition) only after its containers, volumes and cgroup are gone.
//
// # Non-guarantees
//
// Backoff of restarts and pulls is memory: a restart of the kubelet forgets it, as upstream's does.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kubelet/cgroups"
	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/kubelet/criconfig"
	"github.com/tenet-run/tenet/kubelet/images"
	"github.com/tenet-run/tenet/kubelet/probes"
	"github.com/tenet-run/tenet/kubelet/volumes"
)

// Kubelet is a node agent. Make one with [New].
type Kubelet struct {
	cfg      Config
	log      *slog.Logger
	host     criconfig.HostFacts
	tree     *cgroups.Tree // nil: no cgroups are made
	sources  volumes.Sources
	puller   *images.Puller
	handlers *probes.Handlers
	prober   *probes.Prober
	refs     *references
	node     *node
	handler  http.Handler

	mu      sync.Mutex
	workers map[types.UID]*worker
	ids     map[uint32]types.UID // user namespaces given out
	shares  int64
	wg      sync.WaitGroup
}

// New checks the configuration and makes a kubelet. It touches nothing before Run.
func New(cfg Config) (*Kubelet, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	k := &Kubelet{cfg: cfg, log: cfg.Logger, workers: map[types.UID]*worker{}, ids: map[uint32]types.UID{}, shares: -1}
	k.host = criconfig.HostFacts{SeccompDefault: cfg.SeccompDefault, SeccompRoot: filepath.Join(cfg.RootDir, "seccomp"), Memory: memoryTotal()}
	if b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil && len(b) > 0 && b[0] == 'Y' {
		k.host.AppArmor = true
	}
	if cfg.CgroupRoot != "-" && !cfg.Hollow {
		tree, err := cgroups.Open(cfg.CgroupRoot, k.log)
		if err != nil {
			k.log.Warn("There are no cgroups; pods run without limits", "err", err)
		}
		k.tree = tree
	}
	k.sources = volumes.Sources{ConfigMap: k.configMap, Secret: k.secret, NotFound: apierrors.IsNotFound, Token: k.token}
	parallel := cfg.MaxParallelPulls
	if cfg.SerializePulls {
		parallel = 1
	}
	k.puller = images.New(cfg.Runtime, parallel, k.containerEvent)
	k.handlers = &probes.Handlers{Exec: k.execSync, Transport: cfg.HTTP, Version: minor(cfg.Version)}
	k.prober = probes.New(k.handlers,
		func(t *probes.Target, _ probes.Result) { t.Owner.(*worker).poke(false) },
		func(t *probes.Target, reason, message string) {
			k.containerEvent(t.Owner.(*worker).current(), t.Container, corev1.EventTypeWarning, reason, message)
		})
	k.refs = &references{k: k, byKey: map[refKey]*reference{}, byWorker: map[*worker][]refKey{}}
	k.node = newNode(k)
	k.handler = k.routes()
	return k, nil
}

// Handler serves the kubelet's HTTP paths that the API server uses: /containerLogs, /exec, /attach, /portForward, /run, /stats/summary, /pods, /healthz.
// It does not authenticate: who may reach it is its caller's business.
func (k *Kubelet) Handler() http.Handler { return k.handler }

// Run registers the node and runs its pods until ctx ends. Pods keep running after it returned.
func (k *Kubelet) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !k.cfg.Hollow {
		for _, dir := range []string{"pods", "seccomp"} {
			if err := os.MkdirAll(filepath.Join(k.cfg.RootDir, dir), 0o750); err != nil {
				return fmt.Errorf("kubelet: make data directory: %w", err)
			}
		}
		if err := os.MkdirAll(k.cfg.LogDir, 0o755); err != nil {
			return fmt.Errorf("kubelet: make log directory: %w", err)
		}
	}
	run := func(f func(context.Context)) {
		k.wg.Add(1)
		go func() { defer k.wg.Done(); f(ctx) }()
	}
	run(k.prober.Run)
	run(k.node.run)
	k.recallUserns()
	defer k.refs.close()
	if err := k.awaitRuntime(ctx); err != nil {
		return nil // ctx has ended
	}
	run(k.runtimeEvents)
	if !k.cfg.Hollow {
		run(k.rotateLogs)
	}
	run(k.collectGarbage)
	err := k.cfg.Cache.Follow(ctx, core.Pod, "", client.FollowOptions{Fields: map[string]string{"spec.nodeName": k.cfg.NodeName}}, func(c client.Change) { k.podChanged(ctx, c) }, func() { k.adoptOrphans(ctx) })
	cancel()
	k.wg.Wait()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("kubelet: follow pods: %w", err)
	}
	return nil
}

// awaitRuntime waits until the runtime answers.
func (k *Kubelet) awaitRuntime(ctx context.Context) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		if _, err := k.cfg.Runtime.Version(ctx, &runtimeapi.VersionRequest{}); err == nil {
			k.node.poke()
			return nil
		} else if wait == 1600*time.Millisecond {
			k.log.Warn("The container runtime does not answer yet", "err", err)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// runtimeEvents pokes the workers of pods that the runtime tells of, and all of them after the stream was lost, and once in a long while.
func (k *Kubelet) runtimeEvents(ctx context.Context) {
	relist := time.NewTicker(k.cfg.RelistPeriod)
	defer relist.Stop()
	k.wg.Add(1)
	go func() {
		defer k.wg.Done()
		for {
			select {
			case <-ctx.Done():
				return
			case <-relist.C:
				k.pokeAll()
			}
		}
	}()
	for ctx.Err() == nil {
		err := k.cfg.Runtime.Events(ctx, func(e *runtimeapi.ContainerEventResponse) {
			uid := types.UID(e.GetPodSandboxStatus().GetMetadata().GetUid())
			if uid == "" {
				k.pokeAll()
			} else if w := k.worker(uid); w != nil {
				w.poke(true)
			}
		})
		if ctx.Err() != nil {
			return
		}
		k.log.Warn("The runtime's event stream broke", "err", err)
		if sleep(ctx, time.Second) != nil {
			return
		}
		k.pokeAll()
	}
}

func (k *Kubelet) worker(uid types.UID) *worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.workers[uid]
}

func (k *Kubelet) all() []*worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*worker, 0, len(k.workers))
	for _, w := range k.workers {
		out = append(out, w)
	}
	return out
}

func (k *Kubelet) pokeAll() {
	for _, w := range k.all() {
		w.poke(true)
	}
}

func (k *Kubelet) podChanged(ctx context.Context, c client.Change) {
	pod := c.Object().(*corev1.Pod)
	if c.New != nil && c.Old != nil && c.Old.GetUID() != c.New.GetUID() {
		// The name was given to another pod between two looks.
		if w := k.worker(c.Old.GetUID()); w != nil {
			w.update(nil)
		}
	}
	w := k.worker(pod.UID)
	switch {
	case c.New == nil && w != nil:
		w.update(nil)
	case c.New == nil:
	case w != nil:
		w.update(pod)
	default:
		k.begin(ctx, k.newWorker(pod))
	}
}

func (k *Kubelet) begin(ctx context.Context, w *worker) {
	k.mu.Lock()
	k.workers[w.uid] = w
	k.mu.Unlock()
	k.wg.Add(1)
	go func() { defer k.wg.Done(); w.run(ctx) }()
}

// forget is called by a worker whose pod is gone.
func (k *Kubelet) forget(w *worker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.workers[w.uid] == w {
		delete(k.workers, w.uid)
	}
	for id, uid := range k.ids {
		if uid == w.uid {
			delete(k.ids, id)
		}
	}
}

func (k *Kubelet) podDir(uid types.UID) string {
	return filepath.Join(k.cfg.RootDir, "pods", string(uid))
}

func (k *Kubelet) podLogDir(pod *corev1.Pod) string {
	return filepath.Join(k.cfg.LogDir, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
}

func (k *Kubelet) event(pod *corev1.Pod, eventType, reason, message string) {
	k.cfg.Recorder.Event(core.Pod, pod, eventType, reason, message)
}

func (k *Kubelet) containerEvent(pod *corev1.Pod, c *corev1.Container, eventType, reason, message string) {
	k.cfg.Recorder.EventField(core.Pod, pod, fieldPath(pod, c.Name), eventType, reason, message)
}

func fieldPath(pod *corev1.Pod, name string) string {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return "spec.initContainers{" + name + "}"
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return "spec.ephemeralContainers{" + name + "}"
		}
	}
	return "spec.containers{" + name + "}"
}

// execSync runs a command in a container, for probes and hooks.
func (k *Kubelet) execSync(ctx context.Context, id string, cmd []string, timeout time.Duration) ([]byte, int32, error) {
	r, err := k.cfg.Runtime.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: cmd, Timeout: int64(timeout / time.Second)})
	if err != nil {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		return nil, 0, errors.New(cri.Message(err))
	}
	return append(append([]byte(nil), r.Stdout...), r.Stderr...), r.ExitCode, nil
}

func minor(version string) string {
	v := version
	if len(v) > 0 && v[0] == 'v' {
		v = v[1:]
	}
	dots := 0
	for i := range v {
		if v[i] == '.' {
			if dots++; dots == 2 {
				return v[:i]
			}
		}
	}
	if v == "" {
		return "1.37"
	}
	return v
}
