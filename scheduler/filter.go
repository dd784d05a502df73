package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	v1helper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// candidate is a pod with everything that is the same for all nodes worked out.
type candidate struct {
	pod       *corev1.Pod
	demand    demand
	affinity  nodeaffinity.RequiredNodeAffinity
	preferred *nodeaffinity.PreferredSchedulingTerms
}

func candidateOf(pod *corev1.Pod) (*candidate, error) {
	c := &candidate{pod: pod, demand: demandOf(pod), affinity: nodeaffinity.GetRequiredNodeAffinity(pod)}
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && len(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) > 0 {
		terms, err := nodeaffinity.NewPreferredSchedulingTerms(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		if err != nil {
			return nil, err
		}
		c.preferred = terms
	}
	return c, nil
}

// filter says why a node cannot take the pod, in upstream's words; nothing if it can.
type filter struct {
	name   string
	reject func(c *candidate, n *nodeState) []string
}

// filters in the order of upstream's default profile. The first that objects decides what is said.
var filters = []filter{
	{"NodeUnschedulable", nodeUnschedulable},
	{"NodeName", nodeName},
	{"TaintToleration", taintToleration},
	{"NodeAffinity", nodeAffinity},
	{"NodePorts", nodePorts},
	{"NodeResourcesFit", nodeResourcesFit},
}

var unschedulableTaint = corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}

func nodeUnschedulable(c *candidate, n *nodeState) []string {
	if !n.node.Spec.Unschedulable || v1helper.TolerationsTolerateTaint(klog.Logger{}, c.pod.Spec.Tolerations, &unschedulableTaint, false) {
		return nil
	}
	return []string{"node(s) were unschedulable"}
}

func nodeName(c *candidate, n *nodeState) []string {
	if c.pod.Spec.NodeName == "" || c.pod.Spec.NodeName == n.name {
		return nil
	}
	return []string{"node(s) didn't match the requested node name"}
}

func taintToleration(c *candidate, n *nodeState) []string {
	hard := func(t *corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	}
	if _, found := v1helper.FindMatchingUntoleratedTaint(klog.Logger{}, n.node.Spec.Taints, c.pod.Spec.Tolerations, hard, false); found {
		return []string{"node(s) had untolerated taint(s)"}
	}
	return nil
}

func nodeAffinity(c *candidate, n *nodeState) []string {
	// An error means a term that can never match: the same as no match.
	if ok, _ := c.affinity.Match(n.node); ok {
		return nil
	}
	return []string{"node(s) didn't match Pod's node affinity/selector"}
}

func nodePorts(c *candidate, n *nodeState) []string {
	for _, want := range c.demand.ports {
		for _, taken := range n.ports {
			for _, t := range taken {
				if want.conflicts(t) {
					return []string{"node(s) didn't have free ports for the requested pod ports"}
				}
			}
		}
	}
	return nil
}

func nodeResourcesFit(c *candidate, n *nodeState) []string {
	var short []string
	if int64(len(n.pods))+1 > n.allocatable[corev1.ResourcePods] {
		short = append(short, "Too many pods")
	}
	for name, want := range c.demand.requests {
		if want > n.allocatable[name]-n.requested[name] {
			short = append(short, "Insufficient "+string(name))
		}
	}
	return short
}
