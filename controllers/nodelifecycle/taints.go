package nodelifecycle

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
)

// conditionTaint says which taint a condition in which state brings.
type conditionTaint struct {
	condition corev1.NodeConditionType
	status    corev1.ConditionStatus
	taint     string
}

var conditionTaints = []conditionTaint{
	{corev1.NodeReady, corev1.ConditionFalse, corev1.TaintNodeNotReady},
	{corev1.NodeReady, corev1.ConditionUnknown, corev1.TaintNodeUnreachable},
	{corev1.NodeMemoryPressure, corev1.ConditionTrue, corev1.TaintNodeMemoryPressure},
	{corev1.NodeDiskPressure, corev1.ConditionTrue, corev1.TaintNodeDiskPressure},
	{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, corev1.TaintNodeNetworkUnavailable},
	{corev1.NodePIDPressure, corev1.ConditionTrue, corev1.TaintNodePIDPressure},
}

// betaLabels follow the stable ones.
var betaLabels = map[string]string{corev1.LabelOSStable: "beta.kubernetes.io/os", corev1.LabelArchStable: "beta.kubernetes.io/arch"}

// excludeFromDisruption is a label of nodes that do not count when it is asked whether all are down.
const excludeFromDisruption = "node.kubernetes.io/exclude-disruption"

func planTaints(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	node, ok := controllers.As[*corev1.Node](s, core.Node, "", key.Name)
	if !ok {
		return controllers.Plan{}
	}
	want := wantedTaints(node, allDown(controllers.All[*corev1.Node](s, core.Node, "")), now)
	updated := node.DeepCopy()
	updated.Spec.Taints = mergeTaints(node.Spec.Taints, want)
	changed := len(updated.Spec.Taints) != len(node.Spec.Taints) || !slices.EqualFunc(updated.Spec.Taints, node.Spec.Taints, sameTaint)
	for stable, beta := range betaLabels {
		if value, ok := node.Labels[stable]; ok && node.Labels[beta] != value {
			updated.Labels[beta] = value
			changed = true
		}
	}
	if !changed {
		return controllers.Plan{}
	}
	return controllers.Plan{Updates: []controllers.Update{{Kind: core.Node, Object: updated}}}
}

// wantedTaints is what a node's conditions and spec.unschedulable say as taints. disrupted: no node is ready; then it is not the nodes that fail but the way to
// them, and no pod is moved.
func wantedTaints(node *corev1.Node, disrupted bool, now time.Time) []corev1.Taint {
	var want []corev1.Taint
	for _, t := range conditionTaints {
		c := condition(node, t.condition)
		if c == nil || c.Status != t.status {
			continue
		}
		want = append(want, corev1.Taint{Key: t.taint, Effect: corev1.TaintEffectNoSchedule})
		if t.condition == corev1.NodeReady && !disrupted {
			added := metav1.NewTime(now)
			want = append(want, corev1.Taint{Key: t.taint, Effect: corev1.TaintEffectNoExecute, TimeAdded: &added})
		}
	}
	if node.Spec.Unschedulable {
		want = append(want, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	// A node that has not reported yet keeps the taint it was registered with (TaintNodesByCondition).
	if readiness(node) == "" {
		for _, t := range node.Spec.Taints {
			if t.Key == corev1.TaintNodeNotReady {
				want = append(want, t)
			}
		}
	}
	return want
}

// mergeTaints keeps the taints that are not ours, and of ours those that are wanted, as they are; what is missing comes last.
func mergeTaints(have, want []corev1.Taint) []corev1.Taint {
	var merged []corev1.Taint
	for _, t := range have {
		if !managed(t) || slices.ContainsFunc(want, func(w corev1.Taint) bool { return sameTaint(w, t) }) {
			merged = append(merged, t)
		}
	}
	for _, w := range want {
		if !slices.ContainsFunc(merged, func(t corev1.Taint) bool { return sameTaint(w, t) }) {
			merged = append(merged, w)
		}
	}
	return merged
}

// managed reports whether a taint is one that this controller adds, and so removes.
func managed(t corev1.Taint) bool {
	ready := t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable
	switch t.Effect {
	case corev1.TaintEffectNoExecute:
		return ready
	case corev1.TaintEffectNoSchedule:
		return t.Key == corev1.TaintNodeUnschedulable || slices.ContainsFunc(conditionTaints, func(c conditionTaint) bool { return c.taint == t.Key })
	}
	return false
}

// sameTaint compares as the API does: by key and effect.
func sameTaint(a, b corev1.Taint) bool { return a.Key == b.Key && a.Effect == b.Effect }

// allDown reports that there are nodes and none is ready.
func allDown(nodes []*corev1.Node) bool {
	counted := 0
	for _, node := range nodes {
		if _, excluded := node.Labels[excludeFromDisruption]; excluded {
			continue
		}
		if counted++; readiness(node) == corev1.ConditionTrue {
			return false
		}
	}
	return counted > 0
}

func noExecute(node *corev1.Node) []corev1.Taint {
	var list []corev1.Taint
	for _, t := range node.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoExecute {
			list = append(list, t)
		}
	}
	return list
}
