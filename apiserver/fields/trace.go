package fields

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Comparing two objects is mostly the building of two sets of paths. Objects that are written again and again look alike: the same fields, the same keys in maps and
// lists, with other values. So the comparison first only notes where it went and what it would have put into the sets, in a string. The same string gives the same
// sets, which are built once.

// outcome is what one comparison gives. It is shared and never changed.
type outcome struct {
	changed, removed *fieldpath.Set
	// raw is changed as managedFields have it; made at first use.
	raw atomic.Pointer[[]byte]
}

// json is changed as managedFields have it.
func (o *outcome) json() ([]byte, error) {
	if raw := o.raw.Load(); raw != nil {
		return *raw, nil
	}
	raw, err := o.changed.ToJSON()
	if err != nil {
		return nil, err
	}
	o.raw.Store(&raw)
	return raw, nil
}

const (
	// maxOutcomes is how many outcomes a tracker remembers; then it begins anew.
	maxOutcomes = 256
	// maxTrace is the longest trace that is remembered.
	maxTrace = 16 << 10
)

// memory is what a tracker remembers of comparisons.
type memory struct {
	mu       sync.RWMutex
	outcomes map[string]*outcome
}

func (m *memory) get(trace []byte) *outcome {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.outcomes[string(trace)]
}

func (m *memory) put(trace []byte, o *outcome) {
	if len(trace) > maxTrace {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.outcomes == nil || len(m.outcomes) >= maxOutcomes {
		m.outcomes = map[string]*outcome{}
	}
	m.outcomes[string(trace)] = o
}

// tracer does what walker does, and writes down what that would do. Each mark stands for one step; names and values carry their length, so that a trace can be
// read in one way only.
type tracer struct{ trace []byte }

const (
	markAdd byte = iota + 1
	markRemove
	markField // a struct's field: its place among the fields
	markName  // a map's key
	markKey   // an item of a list
	markPart  // one of the item's keys
	markEnd
)

var tracers = sync.Pool{New: func() any { return &tracer{} }}

func (t *tracer) mark(m byte) { t.trace = append(t.trace, m) }

func (t *tracer) text(s string) {
	t.trace = binary.AppendUvarint(t.trace, uint64(len(s)))
	t.trace = append(t.trace, s...)
}

func (t *tracer) leaf(old, now side) error {
	switch {
	case old.absent:
		t.mark(markAdd)
	case now.absent:
		t.mark(markRemove)
	default:
		same, err := equal(old, now)
		if err != nil {
			return err
		}
		if !same {
			t.mark(markAdd)
		}
	}
	return nil
}

func (t *tracer) compare(n *node, old, now side) error {
	if n == nil {
		return errUndecided
	}
	if n.shape == leaf {
		return t.leaf(old, now)
	}
	if empty(n, old) && empty(n, now) {
		if !old.absent && !now.absent {
			if old.null != now.null {
				return errUndecided
			}
			return nil
		}
		return t.leaf(old, now)
	}
	switch n.shape {
	case structure:
		for i := range n.fields {
			f := &n.fields[i]
			a, b := f.place.in(old), f.place.in(now)
			if a.absent && b.absent {
				continue
			}
			t.trace = append(t.trace, markField, byte(i), byte(i>>8))
			if err := t.compare(f.node, a, b); err != nil {
				return err
			}
			t.mark(markEnd)
		}
	case mapping:
		if err := t.mapping(n, old, now); err != nil {
			return err
		}
	case keyed, set:
		if err := t.items(n, old, now); err != nil {
			return err
		}
	}
	if old.absent {
		t.mark(markAdd)
	} else if now.absent {
		t.mark(markRemove)
	}
	return nil
}

func (t *tracer) mapping(n *node, old, now side) error {
	var few [16]string
	names := few[:0]
	if !now.none() {
		for it := now.v.MapRange(); it.Next(); {
			names = append(names, it.Key().String())
		}
	}
	if !old.none() {
		for it := old.v.MapRange(); it.Next(); {
			if now.none() || !now.v.MapIndex(it.Key()).IsValid() {
				names = append(names, it.Key().String())
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		t.mark(markName)
		t.text(name)
		if n.elem != nil && n.elem.shape == leaf && old.none() {
			t.mark(markAdd) // what the values are makes no difference
		} else if err := t.compare(n.elem, entry(old, name), entry(now, name)); err != nil {
			return err
		}
		t.mark(markEnd)
	}
	return nil
}

// entry is what a map has under a key.
func entry(s side, name string) side {
	if s.none() {
		return absent
	}
	v := s.v.MapIndex(reflect.ValueOf(name).Convert(s.v.Type().Key()))
	if !v.IsValid() {
		return absent
	}
	return there(v)
}

func (t *tracer) items(n *node, old, now side) error {
	if !old.none() {
		return t.changedItems(n, old, now)
	}
	// A list that is new.
	var few [16][2]int // where the names of items stand in the trace
	names := few[:0]
	for i := range now.v.Len() {
		it := there(now.v.Index(i))
		if it.null {
			return errUndecided
		}
		t.mark(markKey)
		begin := len(t.trace)
		if err := t.name(n, it); err != nil {
			return err
		}
		for _, other := range names {
			if bytes.Equal(t.trace[other[0]:other[1]], t.trace[begin:]) {
				return errUndecided
			}
		}
		names = append(names, [2]int{begin, len(t.trace)})
		if err := t.compare(n.elem, absent, it); err != nil {
			return err
		}
		t.mark(markEnd)
	}
	return nil
}

// name writes what tells an item from the others.
func (t *tracer) name(n *node, it side) error {
	if n.shape == set {
		return t.scalar(it.v)
	}
	some := false
	for i := range n.keys {
		k := &n.keys[i]
		f := k.place.in(it)
		switch {
		case !f.none():
			t.trace = append(t.trace, markPart, byte(i))
			if err := t.scalar(f.v); err != nil {
				return err
			}
			some = true
		case f.null:
			return errUndecided
		case k.fallback != nil:
			t.trace = append(t.trace, markPart, byte(i))
			if err := t.any(k.fallback); err != nil {
				return err
			}
			some = true
		}
	}
	if !some {
		return errUndecided
	}
	return nil
}

func (t *tracer) scalar(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		t.mark('s')
		t.text(v.String())
		return nil
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
	}
	u, ok := scalar(v)
	if !ok {
		return errUndecided
	}
	return t.any(u)
}

func (t *tracer) any(v any) error {
	switch v := v.(type) {
	case string:
		t.mark('s')
		t.text(v)
	case bool:
		if v {
			t.mark('t')
		} else {
			t.mark('f')
		}
	case int64:
		t.mark('i')
		t.trace = binary.AppendVarint(t.trace, v)
	default:
		return errUndecided // a default of a type that is seldom
	}
	return nil
}

// changedItems compares lists of which the old one has items.
func (t *tracer) changedItems(n *node, old, now side) error {
	before, err := n.items(old)
	if err != nil {
		return err
	}
	after, err := n.items(now)
	if err != nil {
		return err
	}
	pair := func(pe *fieldpath.PathElement, a, b side) error {
		t.mark(markKey)
		if err := t.element(n, pe); err != nil {
			return err
		}
		if err := t.compare(n.elem, a, b); err != nil {
			return err
		}
		t.mark(markEnd)
		return nil
	}
	find := func(in []item, i int, pe fieldpath.PathElement) side {
		if i < len(in) && in[i].pe.Equals(pe) {
			return in[i].side
		}
		for j := range in {
			if in[j].pe.Equals(pe) {
				return in[j].side
			}
		}
		return absent
	}
	for i := range after {
		if err := pair(&after[i].pe, find(before, i, after[i].pe), after[i].side); err != nil {
			return err
		}
	}
	for i := range before {
		if find(after, i, before[i].pe).absent {
			if err := pair(&before[i].pe, before[i].side, absent); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tracer) element(n *node, pe *fieldpath.PathElement) error {
	if pe.Value != nil {
		return t.any((*pe.Value).Unstructured())
	}
	for _, f := range *pe.Key {
		i := slices.IndexFunc(n.keys, func(k key) bool { return k.name == f.Name })
		t.trace = append(t.trace, markPart, byte(i))
		if err := t.any(value.Value(f.Value).Unstructured()); err != nil {
			return err
		}
	}
	return nil
}
