package apiserver

import (
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/tenet-run/tenet/apiserver/fields"
	"github.com/tenet-run/tenet/kinds"
)

// ownership tracks who owns which fields of a kind, for writes through one served version and one door (the main resource or a subresource). It is upstream's
// field manager, over converters that know one Kind. Made at first use, because schemas are large.
type ownership struct {
	*managedfields.FieldManager
	// fast does what updates mostly need, without generic values; nil when it cannot for this kind and version.
	fast *fields.Tracker
	// kind is set for custom kinds.
	kind *kinds.Kind
	// empty is what a create is compared with; never changed.
	empty kinds.Object
}

type ownerKey struct {
	served      *kinds.Served
	subresource string
}

func (c *call) ownership() (*ownership, error) {
	key := ownerKey{c.served, c.subresource}
	if o, ok := c.owners.Load(key); ok {
		return o.(*ownership), nil
	}
	resets := c.kind.Resets
	if c.sub != nil {
		resets = c.sub.Resets
	}
	filters := map[fieldpath.APIVersion]fieldpath.Filter{}
	if len(resets) > 0 {
		set := fieldpath.NewSet()
		for _, r := range resets {
			var p fieldpath.Path
			for _, part := range strings.Split(r, ".") {
				p = append(p, fieldpath.PathElement{FieldName: &part})
			}
			set.Insert(p)
		}
		for _, s := range c.kind.Served {
			filters[fieldpath.APIVersion(s.GroupVersion().String())] = fieldpath.NewExcludeSetFilter(set)
		}
	}
	conv := converter{kind: c.kind}
	build, types, hub := managedfields.NewDefaultFieldManager, c.cfg.Types, hubVersion(c.served)
	if c.kind.Custom() {
		build, types, hub = managedfields.NewDefaultCRDFieldManager, c.kind.Types, c.kind.Storage.GVK.GroupVersion()
	}
	fm, err := build(types, conv, conv, conv, c.gvk(), hub, c.subresource, filters)
	if err != nil {
		return nil, err
	}
	o := &ownership{FieldManager: fm, empty: c.kind.New()}
	if c.served.FromHub == nil && !c.kind.Custom() {
		empty := c.kind.New()
		empty.GetObjectKind().SetGroupVersionKind(c.gvk())
		if tv, err := types.ObjectToTyped(empty); err == nil {
			if o.fast, err = fields.New(empty, tv, c.served.GroupVersion().String(), c.subresource, resets); err != nil {
				c.log.Debug("fields are tracked the slow way", "kind", c.gvk(), "error", err)
				o.fast = nil
			}
		}
	}
	if c.kind.Custom() {
		// Definitions change: what belongs to one that was replaced goes.
		o.kind = c.kind
		c.owners.Range(func(key, v any) bool {
			if k := v.(*ownership).kind; k != nil && c.live.At(k.Storage.Prefix) != k {
				c.owners.Delete(key)
			}
			return true
		})
	}
	c.owners.Store(key, o)
	return o, nil
}

// trackUpdate records in obj's managedFields what changed from old (nil on create) under a manager's name.
func (c *call) trackUpdate(old, obj kinds.Object, manager string) error {
	o, err := c.ownership()
	if err != nil {
		return err
	}
	created := old == nil
	if created {
		old = o.empty
	}
	if o.fast != nil {
		have := old.GetManagedFields()
		if c.sub != nil || obj.GetManagedFields() == nil || sameEntries(have, obj.GetManagedFields()) {
			if entries, ok := o.fast.Update(old, obj, have, manager, created, c.now()); ok {
				obj.SetManagedFields(entries)
				return nil
			}
		}
	}
	if created {
		old = c.kind.New()
	}
	tracked := o.UpdateNoErrors(old, obj, manager)
	if m, ok := tracked.(kinds.Object); ok && m != obj {
		obj.SetManagedFields(m.GetManagedFields())
	}
	return nil
}

// sameEntries reports that a client sent back the managers that it was given.
func sameEntries(a, b []metav1.ManagedFieldsEntry) bool {
	return len(a) > 0 && len(a) == len(b) && equality.Semantic.DeepEqual(a, b)
}

// sameButTimes compares two lists of managers, times aside.
func sameButTimes(a, b []metav1.ManagedFieldsEntry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		x.Time, y.Time = nil, nil
		if !equality.Semantic.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

// hubVersion names the hub type towards upstream's field manager, apart from every served version.
func hubVersion(s *kinds.Served) schema.GroupVersion {
	return schema.GroupVersion{Group: s.Group, Version: runtime.APIVersionInternal}
}

// converter converts, defaults and makes objects of one kind. Typed objects without type header are in the hub version.
type converter struct{ kind *kinds.Kind }

var (
	_ runtime.ObjectConvertor = converter{}
	_ runtime.ObjectDefaulter = converter{}
	_ runtime.ObjectCreater   = converter{}
)

func (v converter) custom() bool {
	return v.kind.Custom()
}

func (v converter) served(gvk schema.GroupVersionKind) (*kinds.Served, error) {
	if s := v.kind.Serves(gvk.GroupVersion()); s != nil {
		return s, nil
	}
	return nil, runtime.NewNotRegisteredErrForKind("tenet", gvk)
}

// ConvertToVersion implements runtime.ObjectConvertor. It never changes in.
func (v converter) ConvertToVersion(in runtime.Object, to runtime.GroupVersioner) (runtime.Object, error) {
	gv, ok := to.(schema.GroupVersion)
	if !ok {
		return nil, fmt.Errorf("convert %s: no single version asked for", v.kind.Kind)
	}
	from := in.GetObjectKind().GroupVersionKind()
	var hub kinds.Object
	if from.Empty() {
		hub = in.(kinds.Object)
	} else {
		s, err := v.served(from)
		if err != nil {
			return nil, err
		}
		obj, ok := in.(kinds.Object)
		if _, loose := in.(runtime.Unstructured); loose && !v.custom() {
			obj, ok = s.New(), true
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(in.(runtime.Unstructured).UnstructuredContent(), obj); err != nil {
				return nil, err
			}
			obj.GetObjectKind().SetGroupVersionKind(from)
		}
		if !ok {
			return nil, fmt.Errorf("convert %s: %T is no object", v.kind.Kind, in)
		}
		if from.GroupVersion() == gv {
			return obj, nil
		}
		if s.ToHub != nil {
			if obj, err = s.ToHub(obj); err != nil {
				return nil, err
			}
		}
		hub = obj
		if hub == in {
			hub = shallow(hub)
		}
		if !v.custom() {
			hub.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		}
	}
	if gv.Version == runtime.APIVersionInternal || v.custom() && gv == v.kind.Storage.GVK.GroupVersion() {
		return hub, nil
	}
	s, err := v.served(gv.WithKind(v.kind.Kind))
	if err != nil {
		return nil, err
	}
	out := hub
	if s.FromHub != nil {
		if out, err = s.FromHub(hub); err != nil {
			return nil, err
		}
	}
	if out == hub {
		out = shallow(hub)
	}
	out.GetObjectKind().SetGroupVersionKind(gv.WithKind(v.kind.Kind))
	return out, nil
}

// shallow copies the outermost struct of an object, so that its type header can be set.
func shallow(obj kinds.Object) kinds.Object {
	if _, loose := obj.(runtime.Unstructured); loose {
		return obj.DeepCopyObject().(kinds.Object)
	}
	v := reflect.ValueOf(obj).Elem()
	out := reflect.New(v.Type())
	out.Elem().Set(v)
	return out.Interface().(kinds.Object)
}

// Convert implements runtime.ObjectConvertor; the field manager does not use it.
func (v converter) Convert(in, out, _ any) error {
	return fmt.Errorf("convert %T to %T: unknown conversion", in, out)
}

// ConvertFieldLabel implements runtime.ObjectConvertor.
func (v converter) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

// Default implements runtime.ObjectDefaulter.
func (v converter) Default(obj runtime.Object) {
	if s, err := v.served(obj.GetObjectKind().GroupVersionKind()); err == nil && s.Default != nil {
		s.Default(obj.(kinds.Object))
	}
}

// New implements runtime.ObjectCreater: an empty hub object.
func (v converter) New(schema.GroupVersionKind) (runtime.Object, error) { return v.kind.New(), nil }
