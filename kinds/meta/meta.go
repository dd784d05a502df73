// Package meta checks metav1.ObjectMeta, the part that all objects share, for every kind: names, labels, annotations, owners, finalizers.
// The API server calls it beside the kind's own validation, with Kubernetes' messages and field paths.
//
// It is a thin layer over k8s.io/apimachinery, which holds the rules. Functions are pure and change nothing.
package meta

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

var root = field.NewPath("metadata")

// ValidateCreate says what is wrong with a new object's metadata. The name has been generated and the namespace of the request set already.
func ValidateCreate(obj metav1.Object, k *kinds.Kind) field.ErrorList {
	errs := inOrder(validation.ValidateObjectMetaAccessor(obj, k.Namespaced, k.ValidName, root))
	if len(errs) == 0 {
		// Whatever a kind thinks of names, a name must be one segment of a URL.
		for _, detail := range path.ValidatePathSegmentName(obj.GetName(), false) {
			errs = append(errs, field.Invalid(root.Child("name"), obj.GetName(), detail))
		}
	}
	return append(errs, finalizers(obj)...)
}

// ValidateUpdate says what is wrong with a change of metadata. Names are not checked against the kind's rule again: an object that is stored may
// be changed even if the rule has become stricter since.
func ValidateUpdate(new, old metav1.Object) field.ErrorList {
	errs := inOrder(validation.ValidateObjectMetaAccessor(new, old.GetNamespace() != "", path.ValidatePathSegmentName, root))
	errs = append(errs, validation.ValidateObjectMetaAccessorUpdate(new, old, root)...)
	return append(errs, finalizers(new)...)
}

// finalizers: in built-in kinds a finalizer without a domain is one of Kubernetes' own. Custom objects and their definitions are not so strict.
func finalizers(obj metav1.Object) field.ErrorList {
	switch obj.(type) {
	case *unstructured.Unstructured, *apiextensionsv1.CustomResourceDefinition:
		return nil
	}
	var errs field.ErrorList
	for i, name := range obj.GetFinalizers() {
		switch {
		case strings.Contains(name, "/"), name == string(corev1.FinalizerKubernetes), name == metav1.FinalizerOrphanDependents, name == metav1.FinalizerDeleteDependents:
		default:
			errs = append(errs, field.Invalid(root.Child("finalizers").Index(i), name, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}
