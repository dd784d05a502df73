package fields

import (
	"fmt"
	"reflect"
	"sort"

	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

type shape uint8

const (
	leaf      shape = iota // owned as a whole
	structure              // a Go struct, each field owned by itself
	mapping                // a map, each key owned by itself
	keyed                  // a list of structs that some of their fields tell apart
	set                    // a list of scalars without order
)

// node says how the values of one Go type are owned in one place of the schema.
type node struct {
	shape  shape
	fields []structField
	elem   *node
	keys   []key
}

type structField struct {
	name  string
	place place
	node  *node // nil: not in the schema
}

type key struct {
	name     string
	place    place
	fallback any // the default that the schema declares
}

type planner struct {
	schema *schema.Schema
	done   map[planKey]*node
}

type planKey struct {
	t    reflect.Type
	name string
	// atomic is the relationship that a reference may lay over a named type.
	relation schema.ElementRelationship
}

func (p *planner) node(t reflect.Type, ref schema.TypeRef) (*node, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	k := planKey{t: t}
	if ref.NamedType != nil {
		k.name = *ref.NamedType
		if ref.ElementRelationship != nil {
			k.relation = *ref.ElementRelationship
		}
		if n, ok := p.done[k]; ok {
			return n, nil
		}
	}
	atom, ok := p.schema.Resolve(ref)
	if !ok {
		return nil, fmt.Errorf("fields: no type %q in the schema", k.name)
	}
	n := &node{}
	if ref.NamedType != nil {
		p.done[k] = n // before going on: types may hold themselves
	}
	return n, p.fill(n, t, atom)
}

func (p *planner) fill(n *node, t reflect.Type, a schema.Atom) error {
	if value.TypeReflectEntryOf(t).CanConvertToUnstructured() {
		// Times, quantities and the like are scalars, raw values are atomic; anything else would have to be looked into.
		if a.Map != nil && a.Map.ElementRelationship != schema.Atomic || a.List != nil && a.List.ElementRelationship != schema.Atomic {
			if a.Scalar == nil {
				return fmt.Errorf("fields: %s writes its own JSON and is not owned as a whole", t)
			}
		}
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		if a.Map == nil {
			return fmt.Errorf("fields: %s is no map in the schema", t)
		}
		if a.Map.ElementRelationship == schema.Atomic {
			return nil
		}
		n.shape = structure
		for _, entry := range value.TypeReflectEntryOf(t).OrderedFields() {
			f := structField{name: entry.JsonName, place: newPlace(t, entry)}
			if declared, ok := a.Map.FindField(f.name); ok {
				child, err := p.node(fieldType(t, f.name), declared.Type)
				if err != nil {
					return err
				}
				f.node = child
			}
			n.fields = append(n.fields, f)
		}
		return nil
	case reflect.Map:
		if a.Map == nil {
			return fmt.Errorf("fields: %s is no map in the schema", t)
		}
		if a.Map.ElementRelationship == schema.Atomic {
			return nil
		}
		if t.Key().Kind() != reflect.String {
			return fmt.Errorf("fields: %s has keys that are no strings", t)
		}
		n.shape = mapping
		var err error
		n.elem, err = p.node(t.Elem(), a.Map.ElementType)
		return err
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return nil
		}
		if a.List == nil {
			return fmt.Errorf("fields: %s is no list in the schema", t)
		}
		if a.List.ElementRelationship != schema.Associative {
			return nil
		}
		n.shape = set
		var err error
		if n.elem, err = p.node(t.Elem(), a.List.ElementType); err != nil {
			return err
		}
		if len(a.List.Keys) == 0 {
			if n.elem.shape != leaf {
				return fmt.Errorf("fields: %s is a set of what is no scalar", t)
			}
			return nil
		}
		n.shape = keyed
		item, ok := p.schema.Resolve(a.List.ElementType)
		if !ok || item.Map == nil {
			return fmt.Errorf("fields: the items of %s are no maps", t)
		}
		elem := t.Elem()
		for elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		entries := value.TypeReflectEntryOf(elem).Fields()
		for _, name := range a.List.Keys {
			entry := entries[name]
			if entry == nil {
				return fmt.Errorf("fields: %s has no field %s", elem, name)
			}
			declared, _ := item.Map.FindField(name)
			n.keys = append(n.keys, key{name: name, place: newPlace(elem, entry), fallback: declared.Default})
		}
		sort.Slice(n.keys, func(i, j int) bool { return n.keys[i].name < n.keys[j].name })
		return nil
	case reflect.Interface:
		return fmt.Errorf("fields: %s can be anything", t)
	}
	return nil
}

// fieldType is the Go type of the field with a JSON name, looking into embedded structs.
func fieldType(t reflect.Type, name string) reflect.Type {
	return value.TypeReflectEntryOf(t).Fields()[name].GetFrom(reflect.New(t).Elem()).Type()
}
