// Package node holds the kinds of the node.k8s.io group, one file a kind with all of its meaning.
package node
