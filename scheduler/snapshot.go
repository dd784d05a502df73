package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Snapshot is what is known of nodes and of the pods placed on them. It is changed by SetNode, SetPod and their like, and read by Place; the caller
// sees to it that this does not happen at once.
type Snapshot struct {
	nodes map[string]*nodeState
	order []*nodeState // by the time they came, so that the search is fair and deterministic
	pods  map[types.NamespacedName]placed
	next  int // where the next search for a node begins, among equals
}

// NewSnapshot is an empty one.
func NewSnapshot() *Snapshot {
	return &Snapshot{nodes: map[string]*nodeState{}, pods: map[types.NamespacedName]placed{}}
}

// nodeState is one node with the sums of what its pods ask for. node is nil while only pods of it are known.
type nodeState struct {
	name        string
	node        *corev1.Node
	allocatable amounts
	images      map[string]int64 // size by name
	requested   amounts
	ranked      amounts
	ports       map[types.NamespacedName][]hostPort
	pods        map[types.NamespacedName]placed
}

// placed is what is kept of a pod on a node.
type placed struct {
	node     string
	uid      types.UID
	owner    types.UID // the controlling owner
	deleting bool
	demand   demand
}

func (s *Snapshot) state(name string) *nodeState {
	n := s.nodes[name]
	if n == nil {
		n = &nodeState{name: name, requested: amounts{}, ranked: amounts{}, ports: map[types.NamespacedName][]hostPort{}, pods: map[types.NamespacedName]placed{}}
		s.nodes[name] = n
	}
	return n
}

// SetNode adds or replaces a node.
func (s *Snapshot) SetNode(node *corev1.Node) {
	n := s.state(node.Name)
	if n.node == nil {
		s.order = append(s.order, n)
	}
	n.node = node
	n.allocatable = amountsOf(node.Status.Allocatable)
	n.images = make(map[string]int64, len(node.Status.Images))
	for _, image := range node.Status.Images {
		for _, name := range image.Names {
			n.images[name] = image.SizeBytes
		}
	}
}

// RemoveNode forgets a node; its pods are still known until they go.
func (s *Snapshot) RemoveNode(name string) {
	n := s.nodes[name]
	if n == nil {
		return
	}
	for i, o := range s.order {
		if o == n {
			s.order = append(s.order[:i], s.order[i+1:]...)
			break
		}
	}
	n.node = nil
	if len(n.pods) == 0 {
		delete(s.nodes, name)
	}
}

// SetPod counts a pod on the node it is bound to, or assumed on. A pod that has ended, or has no node, counts nowhere.
func (s *Snapshot) SetPod(pod *corev1.Pod, node string) {
	name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	if node == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		s.RemovePod(name)
		return
	}
	p := placed{node: node, uid: pod.UID, deleting: pod.DeletionTimestamp != nil, demand: demandOf(pod)}
	if c := metav1.GetControllerOfNoCopy(pod); c != nil {
		p.owner = c.UID
	}
	s.RemovePod(name)
	s.pods[name] = p
	n := s.state(node)
	n.pods[name] = p
	n.requested.add(p.demand.requests, 1)
	n.ranked.add(p.demand.ranked, 1)
	if len(p.demand.ports) > 0 {
		n.ports[name] = p.demand.ports
	}
}

// RemovePod forgets a pod, and reports whether it held a place.
func (s *Snapshot) RemovePod(name types.NamespacedName) bool {
	p, ok := s.pods[name]
	if !ok {
		return false
	}
	delete(s.pods, name)
	n := s.nodes[p.node]
	delete(n.pods, name)
	delete(n.ports, name)
	n.requested.add(p.demand.requests, -1)
	n.ranked.add(p.demand.ranked, -1)
	if n.node == nil && len(n.pods) == 0 {
		delete(s.nodes, p.node)
	}
	return true
}

// Nodes is the number of nodes.
func (s *Snapshot) Nodes() int { return len(s.order) }
