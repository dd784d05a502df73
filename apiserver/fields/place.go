package fields

import (
	"reflect"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// place is where a field is in a Go struct. It does what value.FieldCacheEntry does, without looking at each step whether there are pointers on the way.
type place struct {
	entry *value.FieldCacheEntry
	// path leads to the field through embedded structs; nil: some of them are pointers.
	path []int
	// plain: the field is left out of JSON exactly when it is empty (omitempty and no omitzero).
	plain bool
}

func newPlace(t reflect.Type, entry *value.FieldCacheEntry) place {
	p := place{entry: entry}
	path, tag, ok := locate(t, entry.JsonName)
	if ok {
		p.path = path
		_, options, _ := strings.Cut(tag, ",")
		p.plain = strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero")
	}
	return p
}

// locate finds the field of a JSON name; the last one, as upstream does. Not ok: there is a pointer on the way.
func locate(t reflect.Type, name string) (path []int, tag string, ok bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		jsonTag := f.Tag.Get("json")
		if f.PkgPath != "" && !f.Anonymous || jsonTag == "-" {
			continue
		}
		have, _, _ := strings.Cut(jsonTag, ",")
		if f.Anonymous && have == "" {
			if f.Type.Kind() == reflect.Struct {
				if inner, innerTag, innerOK := locate(f.Type, name); innerOK {
					path, tag, ok = append([]int{i}, inner...), innerTag, true
				}
			}
			continue
		}
		if have == "" {
			have = f.Name
		}
		if have == name {
			path, tag, ok = []int{i}, jsonTag, true
		}
	}
	return path, tag, ok
}

// in is the field of a struct, absent when JSON leaves it out.
func (p *place) in(s side) side {
	if s.none() {
		return absent
	}
	if p.path == nil {
		f := p.entry.GetFrom(s.v)
		if p.entry.CanOmit(f) {
			return absent
		}
		return there(f)
	}
	f := s.v
	for _, i := range p.path {
		f = f.Field(i)
	}
	if p.omits(f) {
		return absent
	}
	return there(f)
}

func (p *place) omits(f reflect.Value) bool {
	if !p.plain {
		return p.entry.CanOmit(f)
	}
	switch f.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return f.Len() == 0
	case reflect.Pointer:
		return f.IsNil()
	case reflect.Struct:
		return false
	}
	return p.entry.CanOmit(f)
}
