package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kinds/core"
)

// tolerationSeconds is how long pods stay on a node that is not ready or not reachable.
const tolerationSeconds = 300

type defaultTolerationSeconds struct{}

// DefaultTolerationSeconds lets pods that say nothing about it stay five minutes on a node that is not ready or not reachable.
func DefaultTolerationSeconds() Plugin { return defaultTolerationSeconds{} }

func (defaultTolerationSeconds) Name() string { return "DefaultTolerationSeconds" }

func (defaultTolerationSeconds) Mutate(_ context.Context, r *Request) error {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok || r.Kind != core.Pod || r.Subresource != "" || r.Operation != Create && r.Operation != Update {
		return nil
	}
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if !toleratesExecution(pod.Spec.Tolerations, taint) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
				Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(tolerationSeconds)),
			})
		}
	}
	return nil
}

func toleratesExecution(tolerations []corev1.Toleration, taint string) bool {
	for _, t := range tolerations {
		if (t.Key == taint || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}
