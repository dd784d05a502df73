// Package meta checks metav1.ObjectMeta, the part that all objects share, for every kind: names, labels, annotations, owners, finalizers.
// The API server calls it beside the kind's own validation, with Kubernetes' messages and field paths.
//
// It is a thin layer over k8s.io/apimachinery, which holds the rules. Functions are pure and change nothing.
package meta

import (
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

var root = field.NewPath("metadata")

// ValidateCreate says what is wrong with a new object's metadata. The name has been generated and the namespace of the request set already.
func ValidateCreate(obj metav1.Object, k *kinds.Kind) field.ErrorList {
	errs := validation.ValidateObjectMetaAccessor(obj, k.Namespaced, k.ValidName, root)
	if len(errs) > 0 {
		return errs
	}
	// Whatever a kind thinks of names, a name must be one segment of a URL.
	return validation.ValidateObjectMetaAccessor(obj, k.Namespaced, path.ValidatePathSegmentName, root)
}

// ValidateUpdate says what is wrong with a change of metadata. Names are not checked against the kind's rule again: an object that is stored may
// be changed even if the rule has become stricter since.
func ValidateUpdate(new, old metav1.Object) field.ErrorList {
	errs := validation.ValidateObjectMetaAccessor(new, old.GetNamespace() != "", path.ValidatePathSegmentName, root)
	return append(errs, validation.ValidateObjectMetaAccessorUpdate(new, old, root)...)
}
