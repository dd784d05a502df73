package encode

import (
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// derived is what was made of a record, for all its readers. It hangs on store.Record.Derived.
type derived struct {
	// bodies is a list that is read without the lock and changed under it.
	bodies atomic.Pointer[Body]

	mu sync.Mutex
	// kind is what object was decoded with: a changed CustomResourceDefinition reads the same bytes in another way.
	kind   *kinds.Kind
	object weakObject
}

// find returns the body of a key, or nil.
func (d *derived) find(key any) *Body {
	for b := d.bodies.Load(); b != nil; b = b.next.Load() {
		if b.key == key {
			return b
		}
	}
	return nil
}

func derive(r *store.Record) *derived {
	if d, ok := r.Derived.Load().(*derived); ok {
		return d
	}
	r.Derived.CompareAndSwap(nil, &derived{})
	return r.Derived.Load().(*derived)
}

// weakObject keeps a decoded object for as long as somebody uses it, and at most until the garbage collector comes by.
type weakObject struct {
	pointer weak.Pointer[byte]
	of      reflect.Type // what the pointer points to
}

func (w *weakObject) get() kinds.Object {
	if w.of == nil {
		return nil
	}
	p := w.pointer.Value()
	if p == nil {
		return nil
	}
	return reflect.NewAt(w.of, unsafe.Pointer(p)).Interface().(kinds.Object)
}

func (w *weakObject) set(obj kinds.Object) {
	v := reflect.ValueOf(obj)
	w.of = v.Type().Elem()
	w.pointer = weak.Make((*byte)(v.UnsafePointer()))
}

// Object is the decoded hub object of a record, with its resourceVersion: shared by all readers, never changed.
func Object(k *kinds.Kind, r *store.Record) (kinds.Object, error) {
	d := derive(r)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.decode(k, r)
}

// decode gives the object, which is decoded when it is not there. d.mu is held.
func (d *derived) decode(k *kinds.Kind, r *store.Record) (kinds.Object, error) {
	if d.kind == k {
		if obj := d.object.get(); obj != nil {
			return obj, nil
		}
	}
	obj, err := Fresh(k, r)
	if err != nil {
		return nil, err
	}
	d.object.set(obj)
	d.kind = k
	return obj, nil
}

// Fresh decodes a record into an object that belongs to the caller.
func Fresh(k *kinds.Kind, r *store.Record) (kinds.Object, error) {
	obj, err := k.Storage.Codec.Decode(r.Value)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", r.Key, err)
	}
	obj.SetResourceVersion(strconv.FormatUint(uint64(r.Revision), 10))
	return obj, nil
}

// Convert gives a hub object in a served version. It may share memory with obj.
func Convert(s *kinds.Served, obj kinds.Object) (kinds.Object, error) {
	if s.FromHub == nil {
		return obj, nil
	}
	return s.FromHub(obj)
}

// gvk of a kind in a served version.
func gvk(k *kinds.Kind, s *kinds.Served) schema.GroupVersionKind {
	return s.GroupVersion().WithKind(k.Kind)
}
