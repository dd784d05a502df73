package controllers

import (
	"encoding/json"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/kinds"
)

// Claimed is what an owner has of the objects it might own, and what makes it so.
type Claimed[T kinds.Object] struct {
	// Objects are owned, or will be when the patches are written.
	Objects []T
	// Requires and Patches adopt and release; both are empty when nothing is to be done.
	Requires []Require
	Patches  []Patch
}

// Claim adopts objects that match the selector and have no controller, and releases those that are owned but do not match any more. An owner that is being
// deleted does neither. Adoption requires that the owner is still there, checked live: a cache may lag, and who adopts for a dead owner hands its objects to
// the garbage collector. Finalizers are added with adoption, and taken away with release.
func Claim[T kinds.Object](owner kinds.Object, ownerKind *kinds.Kind, k *kinds.Kind, selector labels.Selector, objs []T, finalizers ...string) Claimed[T] {
	var c Claimed[T]
	for _, obj := range objs {
		ref := metav1.GetControllerOfNoCopy(obj)
		matches := selector.Matches(labels.Set(obj.GetLabels()))
		switch {
		case ref != nil && ref.UID != owner.GetUID():
		case ref != nil && matches:
			c.Objects = append(c.Objects, obj)
		case owner.GetDeletionTimestamp() != nil:
		case ref != nil:
			c.Patches = append(c.Patches, PatchOf(k, obj, types.StrategicMergePatchType, ownersPatch(obj, map[string]any{"$patch": "delete", "uid": owner.GetUID()}, "$deleteFromPrimitiveList/finalizers", finalizers)))
		case matches && obj.GetDeletionTimestamp() == nil:
			c.Patches = append(c.Patches, PatchOf(k, obj, types.StrategicMergePatchType, ownersPatch(obj, ControllerRef(owner, ownerKind), "finalizers", finalizers)))
			c.Requires = []Require{{Kind: ownerKind, Namespace: owner.GetNamespace(), Name: owner.GetName(), UID: owner.GetUID()}}
			c.Objects = append(c.Objects, obj)
		}
	}
	return c
}

// ownersPatch changes one owner reference, and finalizers; the UID in it keeps it from hitting another object of the same name.
func ownersPatch(obj kinds.Object, ref any, change string, finalizers []string) []byte {
	meta := map[string]any{"uid": obj.GetUID(), "ownerReferences": []any{ref}}
	if len(finalizers) > 0 {
		meta[change] = finalizers
	}
	data, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		panic(err) // strings and maps always encode
	}
	return data
}

// ControllerRef is the reference of an object to the owner that controls it.
func ControllerRef(owner kinds.Object, k *kinds.Kind) metav1.OwnerReference {
	return *metav1.NewControllerRef(owner, k.GVK())
}

// Stale reports that a plan failed because it was made from a state that is no longer there: nothing to tell users.
func Stale(err error) bool { return errors.Is(err, errStale) || apierrors.IsConflict(err) }
