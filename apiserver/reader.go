package apiserver

import (
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// Reader reads the newest state straight from a store's memory, without authorization. Objects are decoded at most once for all readers, whichever
// Reader they come from; they are shared and never changed. It keeps nothing of its own: make as many as you like.
type Reader struct{ store store.Store }

var _ admission.Reader = Reader{}

// NewReader reads from a store.
func NewReader(s store.Store) Reader { return Reader{s} }

func keyOf(k *kinds.Kind, namespace, name string) store.Key {
	if !k.Namespaced {
		namespace = ""
	}
	return store.Key{Prefix: k.Storage.Prefix, Namespace: namespace, Name: name}
}

// Peek returns an object, or false.
func (r Reader) Peek(k *kinds.Kind, namespace, name string) (kinds.Object, bool) {
	rec, err := r.store.Get(keyOf(k, namespace, name))
	if err != nil {
		return nil, false
	}
	obj, err := encode.Object(k, rec)
	return obj, err == nil
}

func (r Reader) peek(k *kinds.Kind, namespace string, sel *store.Selector) []kinds.Object {
	page, err := r.store.List(store.ListQuery{Prefix: k.Storage.Prefix, Namespace: namespace, Selector: sel})
	if err != nil {
		return nil
	}
	out := make([]kinds.Object, 0, len(page.Records))
	for _, rec := range page.Records {
		if obj, err := encode.Object(k, rec); err == nil {
			out = append(out, obj)
		}
	}
	return out
}

// PeekList returns the objects of a namespace (or all) that a selector matches; nil matches all.
func (r Reader) PeekList(k *kinds.Kind, namespace string, selector labels.Selector) []kinds.Object {
	if selector == nil || selector.Empty() {
		return r.peek(k, namespace, nil)
	}
	return r.peek(k, namespace, &store.Selector{Labels: selector})
}

// PeekOwned returns the objects that name an owner.
func (r Reader) PeekOwned(k *kinds.Kind, namespace string, owner types.UID) []kinds.Object {
	return r.peek(k, namespace, &store.Selector{Owner: owner})
}

// PeekField returns the objects whose selectable field has a value.
func (r Reader) PeekField(k *kinds.Kind, namespace, field, value string) []kinds.Object {
	return r.peek(k, namespace, &store.Selector{Fields: map[string]string{field: value}})
}
