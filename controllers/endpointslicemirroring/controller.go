// Package endpointslicemirroring makes EndpointSlices of the Endpoints that somebody wrote for a Service without a selector, so that who reads slices sees them.
//
// It owns the slices labelled endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io. Endpoints with the label
// endpointslice.kubernetes.io/skip-mirror=true are left out: who writes them, as for the API server's own Service, writes slices too.
package endpointslicemirroring

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// ManagedBy is the value of the managed-by label of the slices that this controller owns.
const ManagedBy = "endpointslicemirroring-controller.k8s.io"

// New is the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "endpointslicemirroring", Component: "endpoint-slice-mirroring-controller",
		Inputs: []controllers.Input{
			{Kind: core.Endpoints, Keys: endpointsKeys},
			{Kind: core.Service, Keys: serviceKeys},
			{Kind: discovery.EndpointSlice, Keys: sliceKeys},
		},
		Outputs: []controllers.Output{{Kind: discovery.EndpointSlice, Fields: "all with managed-by=" + ManagedBy}},
		Plan:    Plan,
	}
}

func endpointsKeys(_ controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	for _, obj := range []kinds.Object{c.Old, c.New} {
		if obj != nil && mirrored(obj) {
			return []controllers.Key{controllers.KeyOf(obj)}
		}
	}
	return nil
}

// serviceKeys: a Service matters when it comes, goes, or gets or loses its selector.
func serviceKeys(_ controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	selects := func(obj kinds.Object) bool { return obj.(*corev1.Service).Spec.Selector != nil }
	if c.Old != nil && c.New != nil && selects(c.Old) == selects(c.New) || (c.Old == nil || c.New == nil) && selects(c.Object()) {
		return nil
	}
	return []controllers.Key{controllers.KeyOf(c.Object())}
}

func sliceKeys(_ controllers.Reader, _ *kinds.Kind, c client.Change) (keys []controllers.Key) {
	for _, obj := range []kinds.Object{c.Old, c.New} {
		if obj == nil || obj.GetLabels()[discoveryv1.LabelManagedBy] != ManagedBy {
			continue
		}
		if name := obj.GetLabels()[discoveryv1.LabelServiceName]; name != "" {
			keys = append(keys, controllers.Key{Namespace: obj.GetNamespace(), Name: name})
		}
	}
	return slices.Compact(keys)
}

// leaderElection marks Endpoints that were locks, not addresses.
const leaderElection = "control-plane.alpha.kubernetes.io/leader"

func mirrored(ep kinds.Object) bool {
	_, lock := ep.GetAnnotations()[leaderElection]
	return ep.GetLabels()[discoveryv1.LabelSkipMirror] != "true" && !lock
}
