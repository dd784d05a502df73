// Package discovery holds the kinds of the discovery.k8s.io group, one file a kind with all of its meaning.
package discovery
