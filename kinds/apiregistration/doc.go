// Package apiregistration holds the kind of the apiregistration.k8s.io group: which server answers for which API group version.
package apiregistration
