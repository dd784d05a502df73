// Package scheduler places pods: it gives every pod without a node the node that suits it best, or says on the pod why there is none.
//
// A [Snapshot] holds what the decision needs of nodes and of the pods on them, and is kept incrementally. [Snapshot.Place] is a pure function of
// snapshot and pod: filters, named as upstream names its plugins, say which nodes are possible and why the others are not; scores rank what is left.
// [Scheduler] is the loop: it follows pods and nodes, decides, and binds. A bind writes the node and the PodScheduled condition in one commit.
//
// # Guarantees
//
//   - A pod is bound at most once: the API server refuses a second binding.
//   - Pods wait in order of priority, then of age. A pod that cannot be placed does not hold up others, and is tried again when something changed
//     that can help it (a node added or changed, a pod gone), not by polling.
package scheduler
