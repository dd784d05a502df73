package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds/core"
)

type taintNodesByCondition struct{}

// TaintNodesByCondition taints new nodes as not ready, so that no pod comes to one before it has said that it is; the node life cycle controller takes it off.
func TaintNodesByCondition() Plugin { return taintNodesByCondition{} }

func (taintNodesByCondition) Name() string { return "TaintNodesByCondition" }

func (taintNodesByCondition) Mutate(_ context.Context, r *Request) error {
	node, ok := r.Object.(*corev1.Node)
	if !ok || r.Kind != core.Node || r.Subresource != "" || r.Operation != Create {
		return nil
	}
	taint := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}
	for _, t := range node.Spec.Taints {
		if t.MatchTaint(&taint) {
			return nil
		}
	}
	node.Spec.Taints = append(node.Spec.Taints, taint)
	return nil
}
