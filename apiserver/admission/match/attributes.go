// Package match tells which requests a webhook or a policy is about: by rules, by selectors of namespace and object, and, when a rule names another version of
// the same kind, with the object in that version (matchPolicy Equivalent). It also shows requests as k8s.io/apiserver's CEL code wants to see them.
package match

import (
	"fmt"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	k8sadmission "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
)

// Visible reports whether others than Tenet are asked about a request. The server does some things in two steps, of which one is what the client asked for: a
// binding is created, and then the pod is updated; an eviction is created, and then the pod deleted.
func Visible(r *admission.Request) bool {
	if !r.Kind.Stored() {
		return false // questions about rights: who stood in their way would stand in everybody's
	}
	if r.Subresource == "" || r.Operation == admission.Connect {
		return true
	}
	sub := r.Kind.Subresource(r.Subresource)
	if sub == nil {
		return false
	}
	verbs := map[admission.Operation][]string{admission.Create: {"create"}, admission.Update: {"update", "patch"}}[r.Operation]
	for _, v := range sub.Verbs {
		for _, want := range verbs {
			if v == want {
				return true
			}
		}
	}
	return false
}

// Attributes shows a request as k8s.io/apiserver's admission does, in the version that the client speaks.
type Attributes struct {
	Request *admission.Request
	kind    schema.GroupVersionKind
	options runtime.Object
}

var _ k8sadmission.Attributes = (*Attributes)(nil)

// New makes attributes.
func New(r *admission.Request) *Attributes {
	a := &Attributes{Request: r, kind: r.Served.GroupVersion().WithKind(r.Kind.Kind)}
	if sub := other(r); sub != nil {
		a.kind = sub.GVK
	}
	if r.Options != nil {
		a.options = typed(r.Options)
	}
	return a
}

// other is the subresource that a request is about when that has a type of its own.
func other(r *admission.Request) *kinds.Subresource {
	if r.Subresource == "" {
		return nil
	}
	if sub := r.Kind.Subresource(r.Subresource); sub != nil && sub.New != nil {
		return sub
	}
	return nil
}

// typed gives options their type header, which those of callers in this process lack.
func typed(o runtime.Object) runtime.Object {
	header := func(kind string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: kind} }
	switch o := o.(type) {
	case *metav1.CreateOptions:
		c := *o
		c.TypeMeta = header("CreateOptions")
		return &c
	case *metav1.UpdateOptions:
		c := *o
		c.TypeMeta = header("UpdateOptions")
		return &c
	case *metav1.DeleteOptions:
		c := *o
		c.TypeMeta = header("DeleteOptions")
		return &c
	}
	return o
}

func (a *Attributes) GetName() string      { return a.Request.Name }
func (a *Attributes) GetNamespace() string { return a.Request.Namespace }
func (a *Attributes) GetResource() schema.GroupVersionResource {
	return a.Request.Served.GroupVersion().WithResource(a.Request.Kind.Plural)
}
func (a *Attributes) GetSubresource() string { return a.Request.Subresource }
func (a *Attributes) GetOperation() k8sadmission.Operation {
	return k8sadmission.Operation(a.Request.Operation)
}
func (a *Attributes) GetOperationOptions() runtime.Object { return a.options }
func (a *Attributes) IsDryRun() bool                      { return a.Request.DryRun }
func (a *Attributes) GetObject() runtime.Object {
	if a.Request.Object == nil {
		return nil
	}
	return a.Request.Object
}
func (a *Attributes) GetOldObject() runtime.Object {
	if a.Request.Old == nil {
		return nil
	}
	return a.Request.Old
}
func (a *Attributes) GetKind() schema.GroupVersionKind                        { return a.kind }
func (a *Attributes) GetUserInfo() user.Info                                  { return a.Request.User }
func (a *Attributes) AddAnnotation(string, string) error                      { return nil }
func (a *Attributes) AddAnnotationWithLevel(_, _ string, _ audit.Level) error { return nil }
func (a *Attributes) GetReinvocationContext() k8sadmission.ReinvocationContext {
	return nil
}

// Invocation is a request in the version in which it matched a rule.
type Invocation struct {
	*Attributes
	// Served is that version.
	Served *kinds.Served
	// Kind is the type of the object, the subresource's own when it has one.
	Kind schema.GroupVersionKind
}

// Resource is the resource in the version that matched.
func (i *Invocation) Resource() schema.GroupVersionResource {
	return i.Served.GroupVersion().WithResource(i.Request.Kind.Plural)
}

// Object and OldObject are the objects in the version that matched, with their type header; nil where there is none. They are not to be changed.
func (i *Invocation) Object() (runtime.Object, error) {
	r := i.Request
	if sub := other(r); sub != nil {
		if sub.Read == nil || r.Object == nil {
			return headed(r.In, i.Kind), nil
		}
		return i.view(sub, r.Object)
	}
	return i.versioned(r.Object)
}

// OldObject is like Object.
func (i *Invocation) OldObject() (runtime.Object, error) {
	r := i.Request
	if sub := other(r); sub != nil {
		if sub.Read == nil || r.Old == nil {
			return nil, nil // what an action acts on is not what was there before it
		}
		return i.view(sub, r.Old)
	}
	if r.Operation == admission.Connect {
		return nil, nil
	}
	return i.versioned(r.Old)
}

func (i *Invocation) view(sub *kinds.Subresource, obj kinds.Object) (runtime.Object, error) {
	v, err := sub.Read(obj)
	if err != nil {
		return nil, err
	}
	return headed(v, i.Kind), nil
}

func (i *Invocation) versioned(obj kinds.Object) (runtime.Object, error) {
	if obj == nil {
		return nil, nil
	}
	return Versioned(obj, i.Served, i.Kind)
}

// Versioned is a hub object in a served version, with its type header. It is not to be changed.
func Versioned(obj kinds.Object, s *kinds.Served, gvk schema.GroupVersionKind) (runtime.Object, error) {
	out := obj
	if s.FromHub != nil {
		var err error
		if out, err = s.FromHub(obj); err != nil {
			return nil, err
		}
	}
	return headed(out, gvk), nil
}

// headed is an object with a type header, which shares everything else with the one it was made of.
func headed(obj runtime.Object, gvk schema.GroupVersionKind) runtime.Object {
	if obj == nil || reflect.ValueOf(obj).IsNil() {
		return nil
	}
	if obj.GetObjectKind().GroupVersionKind() == gvk {
		return obj
	}
	if _, loose := obj.(runtime.Unstructured); loose {
		obj = obj.DeepCopyObject()
	} else {
		v := reflect.ValueOf(obj).Elem()
		c := reflect.New(v.Type())
		c.Elem().Set(v)
		obj = c.Interface().(runtime.Object)
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return obj
}

// Replace puts an object of the version that matched, which becomes the request's, in the place of the request's object.
func (i *Invocation) Replace(obj runtime.Object) error {
	r := i.Request
	if sub := other(r); sub != nil {
		if sub.Read == nil || r.Object == nil {
			reflect.ValueOf(r.In).Elem().Set(reflect.ValueOf(obj).Elem())
			return nil
		}
		return sub.Write(r.Object, obj)
	}
	next, ok := obj.(kinds.Object)
	if !ok {
		return fmt.Errorf("%T is no object", obj)
	}
	if i.Served.Default != nil {
		i.Served.Default(next)
	}
	if i.Served.ToHub != nil {
		var err error
		if next, err = i.Served.ToHub(next); err != nil {
			return err
		}
	}
	if _, loose := next.(runtime.Unstructured); !loose {
		next.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	r.Object = next
	return nil
}

// Versioned is the invocation as CEL expressions are given it.
func (i *Invocation) Versioned() (*k8sadmission.VersionedAttributes, error) {
	obj, err := i.Object()
	if err != nil {
		return nil, err
	}
	old, err := i.OldObject()
	if err != nil {
		return nil, err
	}
	v := &k8sadmission.VersionedAttributes{Attributes: i.Attributes, VersionedKind: i.Kind}
	v.VersionedObject.Set(obj)
	v.VersionedOldObject.Set(old)
	return v, nil
}
