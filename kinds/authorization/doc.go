// Package authorization has the kinds of authorization.k8s.io: questions about who may do what. They are answered, not stored.
package authorization
