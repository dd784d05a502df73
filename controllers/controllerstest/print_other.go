package controllerstest

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/tenet-run/tenet/kinds"
)

// printOther is the part of Print for kinds that need more than a line of it.
func printOther(b *strings.Builder, obj kinds.Object) {
	switch o := obj.(type) {
	case *corev1.ReplicationController:
		st := o.Status
		fmt.Fprintf(b, " replicas=%d/%d ready=%d available=%d", st.Replicas, *o.Spec.Replicas, st.ReadyReplicas, st.AvailableReplicas)
		for _, c := range st.Conditions {
			fmt.Fprintf(b, " %s=%s(%s: %s)", c.Type, c.Status, c.Reason, c.Message)
		}
	case *discoveryv1.EndpointSlice, *corev1.Endpoints:
		printEndpoints(b, o)
	}
}
