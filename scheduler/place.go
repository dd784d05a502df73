package scheduler

import (
	"fmt"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Placement is the answer to where a pod goes.
type Placement struct {
	// Node is the name of the node, or "" when there is none.
	Node string
	// Reasons counts the nodes that said no, by what they said. Set when Node is "".
	Reasons map[string]int
	// Nodes is the number of nodes there are.
	Nodes int
}

// Message says why there is no node, as upstream words it: "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable."
func (p Placement) Message() string {
	if p.Nodes == 0 {
		return "no nodes available to schedule pods"
	}
	parts := make([]string, 0, len(p.Reasons))
	for reason, n := range p.Reasons {
		parts = append(parts, fmt.Sprintf("%d %s", n, reason))
	}
	sort.Strings(parts)
	return fmt.Sprintf("0/%d nodes are available: %s.", p.Nodes, strings.Join(parts, ", "))
}

// Place finds the best node for a pod. The error says what of the pod can never be evaluated.
// Among equals the nodes take turns.
func (s *Snapshot) Place(pod *corev1.Pod) (Placement, error) {
	c, err := candidateOf(pod)
	if err != nil {
		return Placement{}, err
	}
	reasons := map[string]int{}
	var fit []*nodeState
	for i := range s.order {
		n := s.order[(s.next+i)%len(s.order)]
		if why := reject(c, n); len(why) > 0 {
			for _, w := range why {
				reasons[w]++
			}
			continue
		}
		fit = append(fit, n)
	}
	if len(fit) == 0 {
		return Placement{Reasons: reasons, Nodes: len(s.order)}, nil
	}
	s.next = (s.next + 1) % len(s.order)
	best := fit[0]
	if len(fit) > 1 {
		best = fit[s.best(c, fit)]
	}
	return Placement{Node: best.name, Nodes: len(s.order)}, nil
}

func reject(c *candidate, n *nodeState) []string {
	for _, f := range filters {
		if why := f.reject(c, n); len(why) > 0 {
			return why
		}
	}
	return nil
}

// best is the index of the node with the highest weighted sum of scores, the first among equals.
func (s *Snapshot) best(c *candidate, nodes []*nodeState) int {
	total := make([]int64, len(nodes))
	scores := make([]int64, len(nodes))
	for _, r := range scorers {
		clear(scores)
		r.score(s, c, nodes, scores)
		for i, v := range scores {
			total[i] += r.weight * v
		}
	}
	best := 0
	for i, v := range total {
		if v > total[best] {
			best = i
		}
	}
	return best
}

func controllerOf(pod *corev1.Pod) types.UID {
	if c := metav1.GetControllerOfNoCopy(pod); c != nil {
		return c.UID
	}
	return ""
}
