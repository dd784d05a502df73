// Package nodelifecycle watches over nodes and over the pods on them: five controllers, one decision each.
//
//   - health: a node that renews neither its Lease nor its status is marked Unknown, and its pods not ready.
//   - taints: what a node's conditions say is said again as taints, which scheduler and eviction act on.
//   - eviction: pods leave nodes with NoExecute taints, after as long as they tolerate those.
//   - podgc: pods are deleted that no kubelet will ever delete, because their node is gone or they never had one.
//   - ipam: every node gets a range of pod addresses of its own.
package nodelifecycle

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/coordination"
	"github.com/tenet-run/tenet/kinds/core"
)

// Upstream's defaults.
const (
	DefaultMonitorGrace  = 50 * time.Second // without renewal, for a node that has reported before
	DefaultStartupGrace  = 60 * time.Second // for one that has not
	DefaultTerminatedMax = 12500            // ended pods that are kept
)

// Options of the controllers. Zero values mean the defaults.
type Options struct {
	MonitorGrace, StartupGrace time.Duration
	TerminatedMax              int
	// PodCIDR is what nodes get their ranges from, and NodeMask the size of those (24). An invalid prefix: no ranges are given out.
	PodCIDR  netip.Prefix
	NodeMask int
}

// New is the controllers.
func New(o Options) []controllers.Controller {
	if o.MonitorGrace == 0 {
		o.MonitorGrace = DefaultMonitorGrace
	}
	if o.StartupGrace == 0 {
		o.StartupGrace = DefaultStartupGrace
	}
	if o.TerminatedMax == 0 {
		o.TerminatedMax = DefaultTerminatedMax
	}
	if o.NodeMask == 0 {
		o.NodeMask = 24
	}
	list := []controllers.Controller{health(o), taints(), eviction(), podGC(o)}
	if o.PodCIDR.IsValid() {
		list = append(list, ipam(o))
	}
	return list
}

func health(o Options) controllers.Controller {
	return controllers.Controller{
		Name: "nodehealth", Component: "node-controller",
		Inputs: []controllers.Input{
			{Kind: core.Node, Keys: controllers.Self},
			{Kind: coordination.Lease, Keys: leaseKeys},
			{Kind: core.Pod, Keys: podOnSilentNode},
		},
		Outputs: []controllers.Output{
			{Kind: core.Node, Fields: "status.conditions of nodes that went silent"},
			{Kind: core.Pod, Fields: "status.conditions[Ready] on nodes that went silent"},
		},
		Plan: func(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
			return planHealth(o, s, key, now)
		},
	}
}

func taints() controllers.Controller {
	return controllers.Controller{
		Name: "nodetaints", Component: "node-controller",
		Inputs: []controllers.Input{{Kind: core.Node, Keys: taintKeys}},
		Outputs: []controllers.Output{
			{Kind: core.Node, Fields: "spec.taints[node.kubernetes.io/*]"},
			{Kind: core.Node, Fields: "metadata.labels[beta.kubernetes.io/*]"},
		},
		Plan: planTaints,
	}
}

func eviction() controllers.Controller {
	return controllers.Controller{
		Name: "taint-eviction", Component: "taint-eviction-controller",
		Inputs: []controllers.Input{
			{Kind: core.Pod, Keys: podOnTaintedNode},
			{Kind: core.Node, Keys: podsOfTaintedNode},
		},
		Outputs: []controllers.Output{{Kind: core.Pod, Fields: "delete from nodes with NoExecute taints"}},
		Plan:    planEviction,
	}
}

func podGC(o Options) controllers.Controller {
	return controllers.Controller{
		Name: "podgc", Component: "pod-garbage-collector-controller",
		Inputs: []controllers.Input{
			{Kind: core.Pod, Keys: strayKeys},
			{Kind: core.Pod, Keys: endedKeys, Delay: endedSettle},
			{Kind: core.Node, Keys: podsOfGoneNode},
		},
		Outputs: []controllers.Output{{Kind: core.Pod, Fields: "delete when no kubelet will"}},
		Plan: func(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
			return planPodGC(o, s, key, now)
		},
	}
}

func ipam(o Options) controllers.Controller {
	return controllers.Controller{
		Name: "nodeipam", Component: "cidrAllocator",
		Inputs:  []controllers.Input{{Kind: core.Node, Keys: allNodes}},
		Outputs: []controllers.Output{{Kind: core.Node, Fields: "spec.podCIDR, spec.podCIDRs"}},
		Plan:    func(s controllers.Snapshot, _ controllers.Key, _ time.Time) controllers.Plan { return planIPAM(o, s) },
	}
}

// leaseKeys names the node that a Lease is the heartbeat of.
func leaseKeys(_ controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	if obj := c.Object(); obj.GetNamespace() == corev1.NamespaceNodeLease {
		return []controllers.Key{{Name: obj.GetName()}}
	}
	return nil
}

// podOnSilentNode names the node of a pod that is ready although the node is silent.
func podOnSilentNode(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	pod, ok := c.New.(*corev1.Pod)
	if !ok || pod.Spec.NodeName == "" || controllers.PodReady(pod) == nil {
		return nil
	}
	if node, ok := controllers.As[*corev1.Node](r, core.Node, "", pod.Spec.NodeName); ok && readiness(node) == corev1.ConditionUnknown {
		return []controllers.Key{{Name: node.Name}}
	}
	return nil
}

// taintKeys names the node, and when its readiness changed all that are not ready, for whether those are tainted depends on the others.
func taintKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	keys := []controllers.Key{controllers.KeyOf(c.Object())}
	if c.Old != nil && c.New != nil && readiness(c.Old.(*corev1.Node)) == readiness(c.New.(*corev1.Node)) {
		return keys
	}
	for _, node := range controllers.All[*corev1.Node](r, core.Node, "") {
		if readiness(node) != corev1.ConditionTrue && node.Name != keys[0].Name {
			keys = append(keys, controllers.KeyOf(node))
		}
	}
	return keys
}

// podOnTaintedNode names a pod that came to be on a node with NoExecute taints, or may tolerate others now.
func podOnTaintedNode(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	pod, ok := c.New.(*corev1.Pod)
	if !ok || pod.Spec.NodeName == "" {
		return nil
	}
	if old, ok := c.Old.(*corev1.Pod); ok && old.Spec.NodeName == pod.Spec.NodeName && equality.Semantic.DeepEqual(old.Spec.Tolerations, pod.Spec.Tolerations) {
		return nil
	}
	if node, ok := controllers.As[*corev1.Node](r, core.Node, "", pod.Spec.NodeName); ok && len(noExecute(node)) > 0 {
		return []controllers.Key{controllers.KeyOf(pod)}
	}
	return nil
}

// podsOfTaintedNode names all pods of a node whose NoExecute taints changed.
func podsOfTaintedNode(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	var before, after []corev1.Taint
	if old, ok := c.Old.(*corev1.Node); ok {
		before = noExecute(old)
	}
	if node, ok := c.New.(*corev1.Node); ok {
		after = noExecute(node)
	}
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	return podKeys(r, c.Object().GetName())
}

// strayKeys names a pod that is being deleted, or whose node does not exist.
func strayKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	pod, ok := c.New.(*corev1.Pod)
	if !ok {
		return nil
	}
	if pod.Spec.NodeName == "" {
		if pod.DeletionTimestamp != nil {
			return []controllers.Key{controllers.KeyOf(pod)}
		}
		return nil
	}
	node, ok := controllers.As[*corev1.Node](r, core.Node, "", pod.Spec.NodeName)
	if !ok || pod.DeletionTimestamp != nil && outOfService(node) {
		return []controllers.Key{controllers.KeyOf(pod)}
	}
	return nil
}

// endedKeys names all ended pods at once, when one more has ended.
func endedKeys(_ controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	pod, ok := c.New.(*corev1.Pod)
	if !ok || !ended(pod) {
		return nil
	}
	if old, ok := c.Old.(*corev1.Pod); ok && ended(old) {
		return nil
	}
	return []controllers.Key{endedPods}
}

// podsOfGoneNode names the pods of a node that was removed, or taken out of service.
func podsOfGoneNode(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	if node, ok := c.New.(*corev1.Node); ok && !outOfService(node) {
		return nil
	}
	return podKeys(r, c.Object().GetName())
}

// allNodes is one key for all nodes, for a range must be given out once.
func allNodes(_ controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	if node, ok := c.New.(*corev1.Node); ok && node.Spec.PodCIDR != "" {
		return nil
	}
	return []controllers.Key{{Name: "all"}}
}

func podKeys(r controllers.Reader, node string) []controllers.Key {
	var keys []controllers.Key
	for _, pod := range podsOn(r, node) {
		keys = append(keys, controllers.KeyOf(pod))
	}
	return keys
}

func podsOn(r controllers.Reader, node string) []*corev1.Pod {
	return client.All[*corev1.Pod](r.ByField(core.Pod, "", "spec.nodeName", node))
}

// readiness is a node's Ready condition; "" when it never had one.
func readiness(node *corev1.Node) corev1.ConditionStatus {
	if c := condition(node, corev1.NodeReady); c != nil {
		return c.Status
	}
	return ""
}

func condition(node *corev1.Node, t corev1.NodeConditionType) *corev1.NodeCondition {
	i := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == t })
	if i < 0 {
		return nil
	}
	return &node.Status.Conditions[i]
}
