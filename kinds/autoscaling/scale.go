// Package autoscaling holds HorizontalPodAutoscaler, and the Scale view, through which autoscalers and kubectl scale see and change the number of replicas of any
// kind that has one.
package autoscaling

import (
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// ScaleGVK is the type of the view.
var ScaleGVK = autoscalingv1.SchemeGroupVersion.WithKind("Scale")

// Parts are what a scalable object has. Replicas points into the object; it is nil when unset, which counts as none.
type Parts struct {
	Replicas **int32
	Current  int32
	Selector *metav1.LabelSelector
}

// Scale makes the scale subresource of a kind. Of what is sent only spec.replicas counts, apart from the preconditions: metadata.uid, checked here,
// and metadata.resourceVersion, checked by the API server.
func Scale[T kinds.Object](resource schema.GroupResource, parts func(obj T) Parts, validate func(obj, old T) field.ErrorList) *kinds.Subresource {
	return &kinds.Subresource{
		Name: "scale", Verbs: []string{"get", "update", "patch"},
		GVK: ScaleGVK, New: func() runtime.Object { return &autoscalingv1.Scale{} },
		Read: func(obj kinds.Object) (runtime.Object, error) { return read(obj, parts(obj.(T))) },
		Write: func(obj kinds.Object, in runtime.Object) error {
			scale, ok := in.(*autoscalingv1.Scale)
			if !ok {
				return apierrors.NewBadRequest(fmt.Sprintf("expected input object type to be Scale, but %T", in))
			}
			if scale.Spec.Replicas < 0 {
				fld := field.NewPath("spec", "replicas")
				return apierrors.NewInvalid(ScaleGVK.GroupKind(), obj.GetName(), apivalidation.ValidateNonnegativeField(int64(scale.Spec.Replicas), fld))
			}
			if scale.UID != "" && scale.UID != obj.GetUID() {
				resource := schema.GroupResource{Group: resource.Group, Resource: resource.Resource + "/scale"}
				return apierrors.NewConflict(resource, obj.GetName(),
					fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", scale.UID, obj.GetUID()))
			}
			replicas := scale.Spec.Replicas
			*parts(obj.(T)).Replicas = &replicas
			return nil
		},
		Validate: func(obj, old kinds.Object) field.ErrorList { return validate(obj.(T), old.(T)) },
	}
}

func read(obj metav1.Object, p Parts) (runtime.Object, error) {
	selector, err := metav1.LabelSelectorAsSelector(p.Selector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	scale := &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
			ResourceVersion: obj.GetResourceVersion(), CreationTimestamp: obj.GetCreationTimestamp(),
		},
		Status: autoscalingv1.ScaleStatus{Replicas: p.Current, Selector: selector.String()},
	}
	if *p.Replicas != nil {
		scale.Spec.Replicas = **p.Replicas
	}
	return scale, nil
}
