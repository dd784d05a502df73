package policy

import (
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	k8sadmission "k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/kubernetes/scheme"
)

// objects is how k8s.io/apiserver's JSON patcher makes and names objects.
type objects struct{}

var _ k8sadmission.ObjectInterfaces = objects{}

func (objects) GetObjectCreater() runtime.ObjectCreater                       { return objects{} }
func (objects) GetObjectTyper() runtime.ObjectTyper                           { return objects{} }
func (objects) GetObjectDefaulter() runtime.ObjectDefaulter                   { return objects{} }
func (objects) GetObjectConvertor() runtime.ObjectConvertor                   { return scheme.Scheme }
func (objects) GetEquivalentResourceMapper() runtime.EquivalentResourceMapper { return nil }

// Default implements runtime.ObjectDefaulter: defaults are set when the object is put back.
func (objects) Default(runtime.Object) {}

// New implements runtime.ObjectCreater.
func (objects) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	if obj, err := scheme.Scheme.New(kind); err == nil {
		return obj, nil
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	return u, nil
}

// ObjectKinds implements runtime.ObjectTyper.
func (objects) ObjectKinds(obj runtime.Object) ([]schema.GroupVersionKind, bool, error) {
	if _, loose := obj.(runtime.Unstructured); loose {
		return []schema.GroupVersionKind{obj.GetObjectKind().GroupVersionKind()}, false, nil
	}
	return scheme.Scheme.ObjectKinds(obj)
}

// Recognizes implements runtime.ObjectTyper.
func (objects) Recognizes(schema.GroupVersionKind) bool { return true }

func newLike(obj runtime.Object) runtime.Object {
	return reflect.New(reflect.TypeOf(obj).Elem()).Interface().(runtime.Object)
}
