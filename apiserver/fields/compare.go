package fields

import (
	"errors"
	"reflect"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// errUndecided says that only upstream's path knows.
var errUndecided = errors.New("fields: left to the generic path")

// side is one of two values compared: absent, null, or there.
type side struct {
	v      reflect.Value
	absent bool
	null   bool
}

var absent = side{absent: true}

// there is a value that is present; pointers are followed.
func there(v reflect.Value) side {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return side{null: true}
		}
		v = v.Elem()
	}
	if (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.IsNil() {
		return side{v: v, null: true}
	}
	return side{v: v}
}

func (s side) none() bool { return s.absent || s.null }

// walker compares two objects: which paths are new or different, and which are gone.
type walker struct {
	path    fieldpath.Path
	changed *fieldpath.Set
	removed *fieldpath.Set
}

func (w *walker) add()    { w.changed.Insert(w.path) }
func (w *walker) remove() { w.removed.Insert(w.path) }

// leaf compares two values as wholes.
func (w *walker) leaf(old, now side) error {
	switch {
	case old.absent:
		w.add()
	case now.absent:
		w.remove()
	default:
		same, err := equal(old, now)
		if err != nil {
			return err
		}
		if !same {
			w.add()
		}
	}
	return nil
}

func equal(a, b side) (bool, error) {
	if a.null || b.null {
		if a.null == b.null {
			return true, nil
		}
		// null against an empty list or map
		return false, errUndecided
	}
	switch a.v.Kind() {
	case reflect.String:
		return a.v.String() == b.v.String(), nil
	case reflect.Bool:
		return a.v.Bool() == b.v.Bool(), nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		return a.v.Int() == b.v.Int(), nil
	}
	if a.v.CanInterface() && reflect.DeepEqual(a.v.Interface(), b.v.Interface()) {
		return true, nil
	}
	l, err := value.NewValueReflect(pointerTo(a.v))
	if err != nil {
		return false, err
	}
	r, err := value.NewValueReflect(pointerTo(b.v))
	if err != nil {
		return false, err
	}
	return value.Equals(l, r), nil
}

func pointerTo(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p.Interface()
}

func (w *walker) compare(n *node, old, now side) error {
	if n == nil {
		return errUndecided
	}
	switch n.shape {
	case leaf:
		return w.leaf(old, now)
	case structure:
		if empty(n, old) && empty(n, now) {
			return w.emptied(old, now)
		}
		for i := range n.fields {
			f := &n.fields[i]
			a, b := f.place.in(old), f.place.in(now)
			if a.absent && b.absent {
				continue
			}
			if err := w.child(fieldpath.PathElement{FieldName: &f.name}, f.node, a, b); err != nil {
				return err
			}
		}
	case mapping:
		if empty(n, old) && empty(n, now) {
			return w.emptied(old, now)
		}
		if !now.none() {
			for it := now.v.MapRange(); it.Next(); {
				name := it.Key().String()
				a := absent
				if !old.none() {
					if v := old.v.MapIndex(it.Key()); v.IsValid() {
						a = there(v)
					}
				}
				if err := w.child(fieldpath.PathElement{FieldName: &name}, n.elem, a, there(it.Value())); err != nil {
					return err
				}
			}
		}
		if !old.none() {
			for it := old.v.MapRange(); it.Next(); {
				if !now.none() && now.v.MapIndex(it.Key()).IsValid() {
					continue
				}
				name := it.Key().String()
				if err := w.child(fieldpath.PathElement{FieldName: &name}, n.elem, there(it.Value()), absent); err != nil {
					return err
				}
			}
		}
	case keyed, set:
		if empty(n, old) && empty(n, now) {
			return w.emptied(old, now)
		}
		if err := w.items(n, old, now); err != nil {
			return err
		}
	}
	if old.absent {
		w.add()
	} else if now.absent {
		w.remove()
	}
	return nil
}

// emptied compares null, empty and absent.
func (w *walker) emptied(old, now side) error {
	if !old.absent && !now.absent {
		if old.null != now.null {
			return errUndecided
		}
		return nil
	}
	return w.leaf(old, now)
}

// empty reports that there is nothing inside.
func empty(n *node, s side) bool {
	if s.none() {
		return true
	}
	if n.shape != structure {
		return s.v.Len() == 0
	}
	for i := range n.fields {
		if !n.fields[i].place.in(s).absent {
			return false
		}
	}
	return true
}

func (w *walker) child(pe fieldpath.PathElement, n *node, old, now side) error {
	w.path = append(w.path, pe)
	err := w.compare(n, old, now)
	w.path = w.path[:len(w.path)-1]
	return err
}

type item struct {
	pe   fieldpath.PathElement
	side side
}

func (w *walker) items(n *node, old, now side) error {
	before, err := n.items(old)
	if err != nil {
		return err
	}
	after, err := n.items(now)
	if err != nil {
		return err
	}
	for i, a := range after {
		was := absent
		// Items mostly stay where they were.
		if i < len(before) && before[i].pe.Equals(a.pe) {
			was = before[i].side
		} else {
			for _, b := range before {
				if b.pe.Equals(a.pe) {
					was = b.side
					break
				}
			}
		}
		if err := w.child(a.pe, n.elem, was, a.side); err != nil {
			return err
		}
	}
next:
	for i, b := range before {
		if i < len(after) && after[i].pe.Equals(b.pe) {
			continue
		}
		for _, a := range after {
			if a.pe.Equals(b.pe) {
				continue next
			}
		}
		if err := w.child(b.pe, n.elem, b.side, absent); err != nil {
			return err
		}
	}
	return nil
}

// items names the items of a list. Two of one name are left to the generic path.
func (n *node) items(s side) ([]item, error) {
	if s.none() {
		return nil, nil
	}
	out := make([]item, s.v.Len())
	for i := range out {
		it := there(s.v.Index(i))
		if it.null {
			return nil, errUndecided
		}
		out[i].side = it
		if n.shape == set {
			v, ok := scalar(it.v)
			if !ok {
				return nil, errUndecided
			}
			wrapped := value.NewValueInterface(v)
			out[i].pe.Value = &wrapped
		} else {
			list := make(value.FieldList, 0, len(n.keys))
			for j := range n.keys {
				k := &n.keys[j]
				f := k.place.in(it)
				switch {
				case !f.none():
					v, ok := scalar(f.v)
					if !ok {
						return nil, errUndecided
					}
					list = append(list, value.Field{Name: k.name, Value: value.NewValueInterface(v)})
				case f.null:
					return nil, errUndecided
				case k.fallback != nil:
					list = append(list, value.Field{Name: k.name, Value: value.NewValueInterface(k.fallback)})
				}
			}
			if len(list) == 0 {
				return nil, errUndecided
			}
			out[i].pe.Key = &list
		}
		for j := range i {
			if out[j].pe.Equals(out[i].pe) {
				return nil, errUndecided
			}
		}
	}
	return out, nil
}

func scalar(v reflect.Value) (any, bool) {
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Bool:
		return v.Bool(), true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), true
	}
	e := value.TypeReflectEntryOf(v.Type())
	if !e.CanConvertToUnstructured() {
		return nil, false
	}
	u, err := e.ToUnstructured(v)
	if err != nil {
		return nil, false
	}
	switch u.(type) {
	case string, bool, int64:
		return u, true
	}
	return nil, false
}
