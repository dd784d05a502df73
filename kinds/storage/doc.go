// Package storage holds the kinds of the storage.k8s.io group, one file a kind with all of its meaning.
package storage
