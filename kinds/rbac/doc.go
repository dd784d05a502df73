// Package rbac has the kinds of rbac.authorization.k8s.io: who may do what.
package rbac
