package nodelifecycle

import (
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/coordination"
	"github.com/tenet-run/tenet/kinds/core"
)

// pulse is what is remembered of a node: its last signs of life, and when they were seen, by the clock here. Clocks of nodes may be wrong.
type pulse struct {
	heartbeat metav1.Time      // of the Ready condition
	renewed   metav1.MicroTime // of the Lease
	reported  bool             // it has a Ready condition
	seen      time.Time
}

// kubeletConditions go Unknown with the node. NetworkUnavailable is not the kubelet's.
var kubeletConditions = []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure}

func planHealth(o Options, s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	node, ok := controllers.As[*corev1.Node](s, core.Node, "", key.Name)
	if !ok {
		return controllers.Plan{}
	}
	last, known := s.Memory.(pulse)
	p := feel(s, node, last, known, now)
	plan := controllers.Plan{Remember: p}
	if !known {
		plan.Events = []controllers.Event{{Kind: core.Node, About: node, Type: corev1.EventTypeNormal, Reason: "RegisteredNode", Message: fmt.Sprintf("Registered Node %s in Controller", node.Name)}}
	}
	grace := o.MonitorGrace
	if !p.reported {
		grace = o.StartupGrace
	}
	if left := p.seen.Add(grace).Sub(now); left > 0 {
		plan.RequeueAfter = left + time.Millisecond
		return plan
	}
	if updated, changed := silenced(node, now); changed {
		plan.StatusUpdates = []controllers.Update{{Kind: core.Node, Object: updated, Done: &controllers.Event{
			Kind: core.Node, About: node, Type: corev1.EventTypeNormal, Reason: "NodeNotReady", Message: fmt.Sprintf("Node %s status is now: NodeNotReady", node.Name),
		}}}
		return plan // which brings the next plan
	}
	for _, pod := range podsOn(s, node.Name) {
		if controllers.PodReady(pod) != nil {
			plan.StatusUpdates = append(plan.StatusUpdates, notReady(pod, now))
		}
	}
	return plan
}

// feel looks for signs of life since the last plan.
func feel(s controllers.Reader, node *corev1.Node, last pulse, known bool, now time.Time) pulse {
	p := pulse{seen: last.seen}
	if ready := condition(node, corev1.NodeReady); ready != nil {
		p.reported, p.heartbeat = true, ready.LastHeartbeatTime
	}
	if lease, ok := controllers.As[*coordinationv1.Lease](s, coordination.Lease, corev1.NamespaceNodeLease, node.Name); ok && lease.Spec.RenewTime != nil {
		p.renewed = *lease.Spec.RenewTime
	}
	switch {
	case !known && !p.reported:
		p.seen = node.CreationTimestamp.Time
		if !p.renewed.IsZero() {
			p.seen = now
		}
	case !known, p.reported && !last.reported, !p.heartbeat.Equal(&last.heartbeat), last.renewed.Before(&p.renewed):
		p.seen = now
	}
	return p
}

// silenced is the node with all that its kubelet says set to Unknown.
func silenced(node *corev1.Node, now time.Time) (*corev1.Node, bool) {
	updated := node.DeepCopy()
	changed := false
	for _, t := range kubeletConditions {
		c := condition(updated, t)
		switch {
		case c == nil:
			updated.Status.Conditions = append(updated.Status.Conditions, corev1.NodeCondition{
				Type: t, Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated", Message: "Kubelet never posted node status.",
				LastHeartbeatTime: node.CreationTimestamp, LastTransitionTime: metav1.NewTime(now),
			})
			changed = true
		case c.Status != corev1.ConditionUnknown:
			c.Status, c.Reason, c.Message = corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status."
			c.LastTransitionTime = metav1.NewTime(now)
			changed = true
		}
	}
	return updated, changed
}

// notReady takes a pod of a silent node out of service.
func notReady(pod *corev1.Pod, now time.Time) controllers.Update {
	updated := pod.DeepCopy()
	c := controllers.PodReady(updated)
	c.Status, c.LastTransitionTime = corev1.ConditionFalse, metav1.NewTime(now)
	return controllers.Update{Kind: core.Pod, Object: updated, Done: &controllers.Event{
		Kind: core.Pod, About: pod, Type: corev1.EventTypeWarning, Reason: "NodeNotReady", Message: "Node is not ready",
	}}
}
