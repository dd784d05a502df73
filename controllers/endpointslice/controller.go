// Package endpointslice says where the pods behind a Service are: in EndpointSlices, and in Endpoints, the old form that some clients still read.
//
// The EndpointSlice controller owns the slices labelled endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io. It keeps the endpoints where
// they are in the slices, fills slices that change anyway, and makes as few writes as that allows, by upstream's rules; the tests compare it with upstream's
// reconciler. Names follow from the state they are planned in, and a slice that is no longer needed is used again before another one is made.
//
// Services without a selector get nothing here: package endpointslicemirroring serves them.
package endpointslice

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// ManagedBy is the value of the managed-by label of the slices that this controller owns.
const ManagedBy = "endpointslice-controller.k8s.io"

// How long changes of pods are gathered: a Service of thousands of pods that come up one by one would be planned and written at each. Endpoints are one object with up
// to 1,000 addresses, and wait longer.
const (
	gather          = 25 * time.Millisecond
	gatherEndpoints = 250 * time.Millisecond
)

// New is the controller of EndpointSlices.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "endpointslice", Component: "endpoint-slice-controller",
		Inputs: []controllers.Input{
			{Kind: core.Service, Keys: controllers.Self},
			{Kind: core.Pod, Keys: podKeys, Delay: gather},
			{Kind: core.Node, Keys: nodeKeys},
			{Kind: discovery.EndpointSlice, Keys: sliceKeys},
		},
		Outputs: []controllers.Output{{Kind: discovery.EndpointSlice, Fields: "all with managed-by=" + ManagedBy}},
		Plan:    Plan,
	}
}

// podKeys names the Services that a pod belongs to, or did, when something changed that an endpoint shows.
func podKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	older, _ := c.Old.(*corev1.Pod)
	newer, _ := c.New.(*corev1.Pod)
	if older != nil && newer != nil && !endpointChanged(older, newer) {
		return nil
	}
	var sets []labels.Set
	for _, pod := range []*corev1.Pod{older, newer} {
		if pod != nil && (len(pod.Status.PodIPs) > 0 || len(pod.Status.PodIP) > 0) {
			sets = append(sets, pod.Labels)
		}
	}
	return servicesSelecting(r, c.Object().GetNamespace(), sets)
}

func servicesSelecting(r controllers.Reader, namespace string, sets []labels.Set) (keys []controllers.Key) {
	if len(sets) == 0 {
		return nil
	}
	for _, svc := range controllers.All[*corev1.Service](r, core.Service, namespace) {
		if svc.Spec.Selector != nil && slices.ContainsFunc(sets, func(s labels.Set) bool { return selects(svc.Spec.Selector, s) }) {
			keys = append(keys, controllers.KeyOf(svc))
		}
	}
	return keys
}

// selects is what a selector of the same labels says, without making one: it is asked for every Service of a namespace at every change of a pod.
func selects(want map[string]string, have labels.Set) bool {
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			return false
		}
	}
	return true
}

func endpointChanged(a, b *corev1.Pod) bool {
	return (a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) || (controllers.PodReady(a) == nil) != (controllers.PodReady(b) == nil) ||
		ended(a) != ended(b) || a.Status.PodIP != b.Status.PodIP || !slices.Equal(a.Status.PodIPs, b.Status.PodIPs) ||
		a.Spec.Hostname != b.Spec.Hostname || a.Spec.Subdomain != b.Spec.Subdomain || !maps.Equal(a.Labels, b.Labels)
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// nodeKeys names the Services of the pods on a node that came, went or moved to another zone, and those whose hints depend on all nodes.
func nodeKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) (keys []controllers.Key) {
	older, _ := c.Old.(*corev1.Node)
	newer, _ := c.New.(*corev1.Node)
	moved := older == nil || newer == nil || older.Labels[corev1.LabelTopologyZone] != newer.Labels[corev1.LabelTopologyZone]
	if !moved && nodeReady(older) == nodeReady(newer) {
		return nil
	}
	for _, svc := range controllers.All[*corev1.Service](r, core.Service, "") {
		if svc.Spec.Selector != nil && byTopology(svc) {
			keys = append(keys, controllers.KeyOf(svc))
		}
	}
	if !moved {
		return keys
	}
	sets := map[string][]labels.Set{}
	for _, obj := range r.ByField(core.Pod, "", "spec.nodeName", c.Object().GetName()) {
		sets[obj.GetNamespace()] = append(sets[obj.GetNamespace()], obj.GetLabels())
	}
	for namespace, list := range sets {
		keys = append(keys, servicesSelecting(r, namespace, list)...)
	}
	return keys
}

func nodeReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// sliceKeys names the Service of a slice that is ours, or was.
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
