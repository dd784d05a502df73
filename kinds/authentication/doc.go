// Package authentication has the kinds of authentication.k8s.io: questions about who somebody is. They are answered, not stored.
package authentication
