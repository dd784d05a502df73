// Package coordination holds the kinds of the coordination.k8s.io group, one file a kind with all of its meaning.
package coordination
