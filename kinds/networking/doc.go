// Package networking holds the kinds of the networking.k8s.io group, one file a kind with all of its meaning.
package networking
