// Package flowcontrol holds the kinds of the flowcontrol.apiserver.k8s.io group, one file a kind with all of its meaning.
package flowcontrol
