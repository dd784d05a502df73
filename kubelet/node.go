package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds/coordination"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/kubelet/nodestatus"
)

const (
	leaseNamespace = "kube-node-lease"
	leaseSeconds   = 40
	leaseRenewal   = 10 * time.Second
	statusPeriod   = 5 * time.Minute // a status that does not change is written this often
)

// node keeps this machine's Node and Lease.
type node struct {
	k    *Kubelet
	wake chan struct{}

	mu      sync.Mutex
	obj     *corev1.Node
	machine nodestatus.MachineInfo
	images  []*runtimeapi.Image
	written time.Time
	ready   bool
	alloc   corev1.ResourceList
	cidr    string
}

func newNode(k *Kubelet) *node {
	n := &node{k: k, wake: make(chan struct{}, 1), machine: nodestatus.Machine(k.cfg.RootDir)}
	return n
}

func memoryTotal() int64 { return nodestatus.Memory() }

// poke makes the node's state be looked at now.
func (n *node) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// CheckNode makes the kubelet look at once at what makes its node ready; to be called when the network becomes ready.
func (k *Kubelet) CheckNode() { k.node.poke() }

func (n *node) object() *corev1.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.obj
}

func (n *node) allocatable() corev1.ResourceList {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.alloc
}

func (n *node) run(ctx context.Context) {
	log := n.k.log
	begun := time.Now()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := n.register(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("The node could not be registered", "err", err)
		if sleep(ctx, wait) != nil {
			return
		}
	}
	log.Info("The node is registered")
	n.k.cfg.Recorder.Event(core.Node, n.object(), corev1.EventTypeNormal, "Starting", "Starting kubelet.")
	n.k.wg.Add(1)
	go func() { defer n.k.wg.Done(); n.follow(ctx) }()

	timer := time.NewTimer(0)
	defer timer.Stop()
	renewed := time.Time{}
	for retry := 200 * time.Millisecond; ; {
		next := leaseRenewal
		if time.Since(renewed) >= leaseRenewal {
			if err := n.renew(ctx); err == nil {
				renewed = time.Now()
				retry = 200 * time.Millisecond
			} else if ctx.Err() == nil {
				log.Warn("The node's lease could not be renewed", "err", err)
				next, retry = retry, min(2*retry, leaseRenewal/2)
			}
		}
		if !renewed.IsZero() {
			next = min(next, max(time.Until(renewed.Add(leaseRenewal)), 0))
		}
		if err := n.update(ctx); err != nil && ctx.Err() == nil {
			log.Warn("The node's status could not be written", "err", err)
			next = min(next, time.Second)
		}
		if !n.isReady() { // the runtime tells nobody when its network is there
			again := 500 * time.Millisecond
			if time.Since(begun) < 5*time.Second {
				again = 20 * time.Millisecond
			}
			next = min(next, again)
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-n.wake:
		}
	}
}

func (n *node) isReady() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}

// follow hears of changes of the Node: the range for its pods above all.
func (n *node) follow(ctx context.Context) {
	opts := client.FollowOptions{Fields: map[string]string{"metadata.name": n.k.cfg.NodeName}}
	err := n.k.cfg.Cache.Follow(ctx, core.Node, "", opts, func(c client.Change) {
		if c.New == nil {
			return
		}
		obj := c.New.(*corev1.Node)
		n.mu.Lock()
		n.obj = obj
		changed := obj.Spec.PodCIDR != n.cidr
		n.cidr = obj.Spec.PodCIDR
		n.mu.Unlock()
		if !changed {
			return
		}
		if _, err := n.k.cfg.Runtime.UpdateRuntimeConfig(ctx, &runtimeapi.UpdateRuntimeConfigRequest{RuntimeConfig: &runtimeapi.RuntimeConfig{NetworkConfig: &runtimeapi.NetworkConfig{PodCidr: obj.Spec.PodCIDR}}}); err != nil && ctx.Err() == nil {
			n.k.log.Warn("The runtime did not take the range for pods", "cidr", obj.Spec.PodCIDR, "err", err)
		}
		if n.k.cfg.OnPodCIDR != nil {
			n.k.cfg.OnPodCIDR(obj.Spec.PodCIDR)
		}
		n.poke()
	}, nil)
	if err != nil && ctx.Err() == nil {
		n.k.log.Error("The node can no longer be followed", "err", err)
	}
}

// notReady says why pods cannot run here, or "".
func (n *node) notReady(ctx context.Context) string {
	r, err := n.k.cfg.Runtime.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return "container runtime is down: " + cri.Message(err)
	}
	for _, c := range r.GetStatus().GetConditions() {
		if c.Status {
			continue
		}
		switch c.Type {
		case "RuntimeReady":
			return fmt.Sprintf("container runtime not ready: RuntimeReady=false reason:%s message:%s", c.Reason, c.Message)
		case "NetworkReady":
			return fmt.Sprintf("container runtime network not ready: NetworkReady=false reason:%s message:%s", c.Reason, c.Message)
		}
	}
	if n.k.cfg.NetworkReady != nil {
		if err := n.k.cfg.NetworkReady(); err != nil {
			return "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:" + err.Error()
		}
	}
	return ""
}

func (n *node) facts(ctx context.Context) *nodestatus.Facts {
	cfg := &n.k.cfg
	f := &nodestatus.Facts{
		Name: cfg.NodeName, IPs: cfg.NodeIPs, Machine: n.machine, MaxPods: cfg.MaxPods, Port: cfg.Port, Version: cfg.Version, Reserved: cfg.Reserved,
		NotReady: n.notReady(ctx),
	}
	if !cfg.Hollow {
		f.Pressure = nodestatus.Pressure(cfg.RootDir)
	}
	if v, err := cfg.Runtime.Version(ctx, &runtimeapi.VersionRequest{}); err == nil {
		f.Runtime = v.RuntimeName + "://" + v.RuntimeVersion
	}
	if l, err := cfg.Runtime.ListImages(ctx, &runtimeapi.ListImagesRequest{}); err == nil {
		f.Images = l.Images
	}
	return f
}

func (n *node) labels() map[string]string {
	l := map[string]string{
		corev1.LabelHostname: n.k.cfg.NodeName, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
		"beta.kubernetes.io/os": runtime.GOOS, "beta.kubernetes.io/arch": runtime.GOARCH,
	}
	maps.Copy(l, n.k.cfg.Labels)
	return l
}

// register creates the Node, or brings the labels of the one there is up to date.
func (n *node) register(ctx context.Context) error {
	cfg := &n.k.cfg
	want := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: cfg.NodeName, Labels: n.labels(), Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}}}
	want.Spec.Taints = cfg.Taints
	if cfg.PodCIDR != "" {
		want.Spec.PodCIDR, want.Spec.PodCIDRs = cfg.PodCIDR, []string{cfg.PodCIDR}
	}
	old, err := client.As[*corev1.Node](cfg.Client.Get(ctx, core.Node, "", cfg.NodeName))
	if apierrors.IsNotFound(err) {
		want.Status = nodestatus.Status(&corev1.NodeStatus{}, n.facts(ctx), time.Now())
		got, err := client.As[*corev1.Node](cfg.Client.Create(ctx, core.Node, want, metav1.CreateOptions{FieldManager: manager}))
		if err != nil {
			return err
		}
		n.keep(got)
		return nil
	}
	if err != nil {
		return err
	}
	changed := old.DeepCopy()
	if changed.Labels == nil {
		changed.Labels = map[string]string{}
	}
	maps.Copy(changed.Labels, want.Labels)
	if changed.Spec.PodCIDR == "" && cfg.PodCIDR != "" {
		changed.Spec.PodCIDR, changed.Spec.PodCIDRs = want.Spec.PodCIDR, want.Spec.PodCIDRs
	}
	if !equality.Semantic.DeepEqual(old, changed) {
		if changed, err = n.patch(ctx, old, changed, ""); err != nil {
			return err
		}
	}
	n.keep(changed)
	return nil
}

func (n *node) keep(obj *corev1.Node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.obj, n.alloc, n.written = obj, obj.Status.Allocatable, time.Now()
	n.ready = false
	for _, c := range obj.Status.Conditions {
		n.ready = n.ready || c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	}
}

// patch writes the difference of two states of the Node, so that what others own stays theirs.
func (n *node) patch(ctx context.Context, old, changed *corev1.Node, subresource string) (*corev1.Node, error) {
	a, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(changed)
	if err != nil {
		return nil, err
	}
	p, err := strategicpatch.CreateTwoWayMergePatch(a, b, corev1.Node{})
	if err != nil {
		return nil, err
	}
	return client.As[*corev1.Node](n.k.cfg.Client.Patch(ctx, core.Node, "", old.Name, types.StrategicMergePatchType, p, subresource, metav1.PatchOptions{FieldManager: manager}))
}

// update writes the status when it has changed, or after a long while.
func (n *node) update(ctx context.Context) error {
	old := n.object()
	f := n.facts(ctx)
	now := old.DeepCopy()
	now.Status = nodestatus.Status(&old.Status, f, time.Now())
	n.mu.Lock()
	n.ready = f.NotReady == ""
	n.alloc = now.Status.Allocatable
	due := time.Since(n.written) >= statusPeriod
	n.mu.Unlock()
	if !due && !nodestatus.Changed(&old.Status, &now.Status, equality.Semantic.DeepEqual) {
		return nil
	}
	got, err := n.patch(ctx, old, now, "status")
	if err != nil {
		return err
	}
	for _, reason := range nodestatus.Transitions(&old.Status, &now.Status) {
		n.k.cfg.Recorder.Event(core.Node, old, corev1.EventTypeNormal, reason, fmt.Sprintf("Node %s status is now: %s", n.k.cfg.NodeName, reason))
	}
	n.mu.Lock()
	n.obj, n.written = got, time.Now()
	n.mu.Unlock()
	return nil
}

// renew says that the node is alive.
func (n *node) renew(ctx context.Context) error {
	cfg := &n.k.cfg
	now := metav1.NowMicro()
	l, err := client.As[*coordinationv1.Lease](cfg.Client.Get(ctx, coordination.Lease, leaseNamespace, cfg.NodeName))
	if apierrors.IsNotFound(err) {
		seconds := int32(leaseSeconds)
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: cfg.NodeName, Namespace: leaseNamespace}}
		if obj := n.object(); obj != nil {
			lease.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: obj.Name, UID: obj.UID}}
		}
		lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &cfg.NodeName, LeaseDurationSeconds: &seconds, RenewTime: &now}
		_, err = cfg.Client.Create(ctx, coordination.Lease, lease, metav1.CreateOptions{FieldManager: manager})
		return err
	}
	if err != nil {
		return err
	}
	l = l.DeepCopy()
	l.Spec.HolderIdentity, l.Spec.RenewTime = &cfg.NodeName, &now
	_, err = cfg.Client.Update(ctx, coordination.Lease, l, "", metav1.UpdateOptions{FieldManager: manager})
	return err
}
