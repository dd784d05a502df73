// Package scheduling holds the kinds of the scheduling.k8s.io group, one file a kind with all of its meaning.
package scheduling
