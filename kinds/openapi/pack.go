package openapi

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	smd "sigs.k8s.io/structured-merge-diff/v6/schema"
)

// The packed form of a schema, made to be read quickly: a table of all strings, each once (uvarint count, uvarint lengths, then the bytes), the
// types, and the kinds with their types. Strings are referred to by their place in the table. Reading cuts them out of one string, so that it costs
// no copy.

// Pack writes a schema and the type of each kind in the compact form that [unpack] reads.
func Pack(s *smd.Schema, byKind map[schema.GroupVersionKind]string) ([]byte, error) {
	p := packer{places: map[string]uint64{}}
	types := slices.Clone(s.Types)
	sort.Slice(types, func(i, j int) bool { return types[i].Name < types[j].Name })
	p.number(uint64(len(types)))
	for _, t := range types {
		p.text(t.Name)
		if err := p.atom(t.Atom); err != nil {
			return nil, fmt.Errorf("pack %s: %w", t.Name, err)
		}
	}
	gvks := slices.SortedFunc(maps.Keys(byKind), func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) })
	p.number(uint64(len(gvks)))
	for _, gvk := range gvks {
		p.text(gvk.Group)
		p.text(gvk.Version)
		p.text(gvk.Kind)
		p.text(byKind[gvk])
	}
	out := binary.AppendUvarint(nil, uint64(len(p.table)))
	for _, t := range p.table {
		out = binary.AppendUvarint(out, uint64(len(t)))
	}
	out = append(out, strings.Join(p.table, "")...)
	return append(out, p.out...), nil
}

type packer struct {
	out    []byte
	table  []string
	places map[string]uint64
}

func (p *packer) number(n uint64) { p.out = binary.AppendUvarint(p.out, n) }

func (p *packer) text(s string) {
	place, ok := p.places[s]
	if !ok {
		place = uint64(len(p.table))
		p.places[s] = place
		p.table = append(p.table, s)
	}
	p.number(place)
}

// Bits of an atom and of a reference.
const (
	hasScalar = 1 << iota
	hasList
	hasMap
)

const (
	isNamed = 1 << iota
	isNullable
	hasRelationship
	isInlined
)

func (p *packer) atom(a smd.Atom) error {
	var bits uint64
	if a.Scalar != nil {
		bits |= hasScalar
	}
	if a.List != nil {
		bits |= hasList
	}
	if a.Map != nil {
		bits |= hasMap
	}
	p.number(bits)
	if a.Scalar != nil {
		p.text(string(*a.Scalar))
	}
	if l := a.List; l != nil {
		p.text(string(l.ElementRelationship))
		p.number(uint64(len(l.Keys)))
		for _, k := range l.Keys {
			p.text(k)
		}
		if err := p.ref(l.ElementType); err != nil {
			return err
		}
	}
	if m := a.Map; m != nil {
		if len(m.Unions) > 0 {
			return errors.New("unions are not supported")
		}
		p.text(string(m.ElementRelationship))
		if err := p.ref(m.ElementType); err != nil {
			return err
		}
		fields := slices.Clone(m.Fields)
		sort.Slice(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
		p.number(uint64(len(fields)))
		for _, f := range fields {
			p.text(f.Name)
			text := ""
			if f.Default != nil {
				b, err := json.Marshal(f.Default)
				if err != nil {
					return fmt.Errorf("default of %s: %w", f.Name, err)
				}
				text = string(b)
			}
			p.text(text)
			if err := p.ref(f.Type); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *packer) ref(r smd.TypeRef) error {
	var bits uint64
	if r.NamedType != nil {
		bits |= isNamed
	} else if r.Inlined.Scalar != nil || r.Inlined.List != nil || r.Inlined.Map != nil {
		bits |= isInlined
	}
	if r.Nullable {
		bits |= isNullable
	}
	if r.ElementRelationship != nil {
		bits |= hasRelationship
	}
	p.number(bits)
	if r.NamedType != nil {
		p.text(*r.NamedType)
	}
	if r.ElementRelationship != nil {
		p.text(string(*r.ElementRelationship))
	}
	if bits&isInlined != 0 {
		return p.atom(r.Inlined)
	}
	return nil
}

var errShort = errors.New("openapi: packed schema ends early")

// unpack is the reverse of [Pack]. A type keeps the place of its fields only as long as the schema lives.
func unpack(in string) (types []smd.TypeDef, byKind map[schema.GroupVersionKind]string, err error) {
	defer func() {
		if r := recover(); r != nil {
			if r != errShort {
				panic(r)
			}
			err = errShort
		}
	}()
	u := unpacker{in: in}
	u.table = make([]string, u.count())
	lengths := make([]int, len(u.table))
	for i := range lengths {
		lengths[i] = int(u.number())
	}
	for i, n := range lengths {
		if n > len(u.in) {
			panic(errShort)
		}
		u.table[i], u.in = u.in[:n], u.in[n:]
	}
	types = make([]smd.TypeDef, u.count())
	for i := range types {
		types[i].Name = *u.text()
		types[i].Atom = u.atom()
	}
	n := u.count()
	byKind = make(map[schema.GroupVersionKind]string, n)
	for range n {
		gvk := schema.GroupVersionKind{Group: *u.text(), Version: *u.text(), Kind: *u.text()}
		byKind[gvk] = *u.text()
	}
	return types, byKind, nil
}

type unpacker struct {
	in    string
	table []string
}

func (u *unpacker) number() uint64 {
	var n uint64
	for i := 0; i < len(u.in) && i < binary.MaxVarintLen64; i++ {
		b := u.in[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			u.in = u.in[i+1:]
			return n
		}
	}
	panic(errShort)
}

// count is a number of things that follow, each of at least a byte.
func (u *unpacker) count() int {
	n := u.number()
	if n > uint64(len(u.in)) {
		panic(errShort)
	}
	return int(n)
}

func (u *unpacker) text() *string {
	n := u.number()
	if n >= uint64(len(u.table)) {
		panic(errShort)
	}
	return &u.table[n]
}

func (u *unpacker) atom() (a smd.Atom) {
	bits := u.number()
	if bits&hasScalar != 0 {
		a.Scalar = (*smd.Scalar)(u.text())
	}
	if bits&hasList != 0 {
		a.List = &smd.List{ElementRelationship: smd.ElementRelationship(*u.text())}
		if n := u.count(); n > 0 {
			a.List.Keys = make([]string, n)
			for i := range a.List.Keys {
				a.List.Keys[i] = *u.text()
			}
		}
		a.List.ElementType = u.ref()
	}
	if bits&hasMap != 0 {
		a.Map = &smd.Map{ElementRelationship: smd.ElementRelationship(*u.text())}
		a.Map.ElementType = u.ref()
		if n := u.count(); n > 0 {
			a.Map.Fields = make([]smd.StructField, n)
			for i := range a.Map.Fields {
				f := &a.Map.Fields[i]
				f.Name = *u.text()
				f.Default = u.value()
				f.Type = u.ref()
			}
		}
	}
	return a
}

func (u *unpacker) ref() (r smd.TypeRef) {
	bits := u.number()
	if bits&isNamed != 0 {
		r.NamedType = u.text()
	}
	if bits&hasRelationship != 0 {
		r.ElementRelationship = (*smd.ElementRelationship)(u.text())
	}
	r.Nullable = bits&isNullable != 0
	if bits&isInlined != 0 {
		r.Inlined = u.atom()
	}
	return r
}

// value reads a default. Nearly all are empty, so that those are made without parsing.
func (u *unpacker) value() any {
	switch text := *u.text(); text {
	case "":
		return nil
	case `""`:
		return ""
	case "{}":
		return map[string]any{}
	case "0":
		return int64(0)
	default:
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			panic(errShort)
		}
		if f, ok := v.(float64); ok && f == float64(int64(f)) {
			return int64(f)
		}
		return v
	}
}
