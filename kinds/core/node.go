package core

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds"
)

// Node is a machine that runs pods. Unlike elsewhere, a create may set status: the node agent registers in one write.
var Node = kinds.Define(kinds.Definition[*corev1.Node, *corev1.NodeList]{
	Group: "", Version: "v1", Kind: "Node", Plural: "nodes", ShortNames: []string{"no"}, Prefix: "minions",
	New: func() *corev1.Node { return &corev1.Node{} }, NewList: func() *corev1.NodeList { return &corev1.NodeList{} },
	Default:        defaultNode,
	StatusOnCreate: true,
	CopyStatus:     func(dst, src *corev1.Node) { dst.Status = src.Status },
	CopySpec: func(dst, src *corev1.Node) {
		dst.Spec = src.Spec
		if src.Status.Config == nil {
			dst.Status.Config = nil // dynamic kubelet configuration is gone
		}
	},
	BeforeCreate: func(n *corev1.Node) { n.Spec.ConfigSource, n.Status.Config = nil, nil },
	BeforeUpdate: func(n, old *corev1.Node) {
		if old.Spec.ConfigSource == nil {
			n.Spec.ConfigSource = nil
		}
	},
	Validate:       validateNode,
	ValidateUpdate: func(n, old *corev1.Node) fieldErrors { return append(validateNode(n), validateNodeChange(n, old)...) },
	ValidateStatus: validateNodeChange,
	Warnings:       nodeWarnings,
	Fields: map[string]func(*corev1.Node) string{
		"spec.unschedulable": func(n *corev1.Node) string { return strconv.FormatBool(n.Spec.Unschedulable) },
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Status", "string", "The status of the node"),
		kinds.Column("Roles", "string", "The roles of the node"),
		kinds.AgeColumn(),
		kinds.Column("Version", "string", corev1.NodeSystemInfo{}.SwaggerDoc()["kubeletVersion"]),
		kinds.WideColumn("Internal-IP", "string", corev1.NodeStatus{}.SwaggerDoc()["addresses"]),
		kinds.WideColumn("External-IP", "string", corev1.NodeStatus{}.SwaggerDoc()["addresses"]),
		kinds.WideColumn("OS-Image", "string", corev1.NodeSystemInfo{}.SwaggerDoc()["osImage"]),
		kinds.WideColumn("Kernel-Version", "string", corev1.NodeSystemInfo{}.SwaggerDoc()["kernelVersion"]),
		kinds.WideColumn("Container-Runtime", "string", corev1.NodeSystemInfo{}.SwaggerDoc()["containerRuntimeVersion"]),
	},
	Row: nodeRow,
	Subresources: []*kinds.Subresource{{
		Name: "proxy", Verbs: proxyVerbs, Connect: true,
		GVK: corev1.SchemeGroupVersion.WithKind("NodeProxyOptions"), New: newObject[corev1.NodeProxyOptions],
	}},
})

func defaultNode(n *corev1.Node) {
	// podCIDR is the first of podCIDRs; who writes both, and differently, means podCIDR.
	switch cidr, all := n.Spec.PodCIDR, n.Spec.PodCIDRs; {
	case cidr == "" && len(all) > 0:
		n.Spec.PodCIDR = all[0]
	case cidr != "" && (len(all) == 0 || all[0] != cidr):
		n.Spec.PodCIDRs = []string{cidr}
	}
	roundUp(n.Status.Capacity)
	roundUp(n.Status.Allocatable)
	if n.Status.Allocatable == nil && n.Status.Capacity != nil {
		n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	}
}

// roundUp makes thousandths the finest unit, which is what Kubernetes keeps.
func roundUp(list corev1.ResourceList) {
	for name, q := range list {
		q.RoundUp(resource.Milli)
		list[name] = q
	}
}

func nodeRow(n *corev1.Node) []any {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			status = "Ready"
			if c.Status != corev1.ConditionTrue {
				status = "NotReady"
			}
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	info := n.Status.NodeInfo
	kernel := orElse(info.KernelVersion, "<unknown>")
	if info.Architecture != "" {
		kernel += " (" + info.Architecture + ")"
	}
	return []any{
		n.Name, status, nodeRoles(n), kinds.Age(n.CreationTimestamp), info.KubeletVersion,
		nodeAddress(n, corev1.NodeInternalIP), nodeAddress(n, corev1.NodeExternalIP),
		orElse(info.OSImage, "<unknown>"), kernel, orElse(info.ContainerRuntimeVersion, "<unknown>"),
	}
}

func nodeRoles(n *corev1.Node) string {
	var roles []string
	for k, v := range n.Labels {
		if role, ok := strings.CutPrefix(k, "node-role.kubernetes.io/"); ok && role != "" {
			roles = append(roles, role)
		} else if k == "kubernetes.io/role" && v != "" {
			roles = append(roles, v)
		}
	}
	slices.Sort(roles)
	return orElse(strings.Join(slices.Compact(roles), ","), "<none>")
}

func nodeAddress(n *corev1.Node, typ corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == typ {
			return a.Address
		}
	}
	return "<none>"
}
