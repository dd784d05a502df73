package apiserver

import (
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// evictionOptions are the delete options that an Eviction carries, or nil.
func evictionOptions(in runtime.Object) *metav1.DeleteOptions {
	if e, ok := in.(*policyv1.Eviction); ok {
		return e.DeleteOptions
	}
	return nil
}
