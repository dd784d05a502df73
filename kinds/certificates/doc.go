// Package certificates holds the kinds of the certificates.k8s.io group, one file a kind with all of its meaning.
package certificates
