package custom

import (
	"fmt"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tenet-run/tenet/kinds"
)

var viewVerbs = []string{"get", "update", "patch"}

// statusDoor lets nothing but the status change.
func (w *work) statusDoor() *kinds.Subresource {
	return &kinds.Subresource{
		Name: "status", Verbs: viewVerbs, Resets: []string{"metadata", "spec"},
		Before: func(obj, old kinds.Object) {
			u := obj.(*unstructured.Unstructured)
			status, has := u.Object["status"]
			managed := u.GetManagedFields()
			*u = *old.(*unstructured.Unstructured).DeepCopy()
			u.SetManagedFields(managed)
			if has {
				u.Object["status"] = status
			} else {
				delete(u.Object, "status")
			}
		},
		Validate: w.validateStatus,
	}
}

func split(path string) []string { return strings.Split(trimDot(path), ".") }

// scaleDoor shows and sets the replicas at the paths that the definition names.
func (w *work) scaleDoor() *kinds.Subresource {
	return &kinds.Subresource{
		Name: "scale", Verbs: viewVerbs,
		GVK: autoscalingv1.SchemeGroupVersion.WithKind("Scale"),
		New: func() runtime.Object { return &autoscalingv1.Scale{} },
		Read: func(obj kinds.Object) (runtime.Object, error) {
			u, err := w.in(obj)
			if err != nil {
				return nil, err
			}
			scale, found, err := w.readScale(u)
			if err == nil && !found {
				err = apierrors.NewInternalError(fmt.Errorf("the spec replicas field %q does not exist", w.scale.SpecReplicasPath))
			}
			return scale, err
		},
		Write: func(obj kinds.Object, in runtime.Object) error {
			u := obj.(*unstructured.Unstructured)
			versioned, err := w.in(u)
			if err != nil {
				return err
			}
			if versioned == u {
				return unstructured.SetNestedField(u.Object, int64(in.(*autoscalingv1.Scale).Spec.Replicas), split(w.scale.SpecReplicasPath)...)
			}
			versioned = versioned.DeepCopy()
			if err := unstructured.SetNestedField(versioned.Object, int64(in.(*autoscalingv1.Scale).Spec.Replicas), split(w.scale.SpecReplicasPath)...); err != nil {
				return err
			}
			hub, err := w.d.to(versioned, w.d.storage)
			if err != nil {
				return err
			}
			u.Object = hub.Object
			return nil
		},
	}
}

func (w *work) readScale(u *unstructured.Unstructured) (scale *autoscalingv1.Scale, found bool, err error) {
	spec, found, err := unstructured.NestedInt64(u.Object, split(w.scale.SpecReplicasPath)...)
	if err != nil {
		return nil, false, err
	}
	status, _, err := unstructured.NestedInt64(u.Object, split(w.scale.StatusReplicasPath)...)
	if err != nil {
		return nil, false, err
	}
	selector := ""
	if path := w.scale.LabelSelectorPath; path != nil && *path != "" {
		if selector, _, err = unstructured.NestedString(u.Object, split(*path)...); err != nil {
			return nil, false, err
		}
	}
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name: u.GetName(), Namespace: u.GetNamespace(), UID: u.GetUID(), ResourceVersion: u.GetResourceVersion(), CreationTimestamp: u.GetCreationTimestamp(),
		},
		Spec:   autoscalingv1.ScaleSpec{Replicas: int32(spec)},
		Status: autoscalingv1.ScaleStatus{Replicas: int32(status), Selector: selector},
	}, found, nil
}
