package encode

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// encoder appends the JSON of the value at p. It writes what encoding/json writes for a value that has come out of storage: there, a list or a map without items is
// always nil, so one that is empty is written as nil would be. So the same bytes come of an object on its way into storage and of the one that is read back.
type encoder func(dst []byte, p unsafe.Pointer) ([]byte, error)

// compiler makes encoders of Go types, once each.
type compiler struct {
	done    sync.Map // of reflect.Type to encoder
	compact compacted
}

// marshal encodes a pointer to a struct.
func (c *compiler) marshal(obj any) ([]byte, error) {
	v := reflect.ValueOf(obj)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return json.Marshal(obj)
	}
	t := v.Type().Elem()
	e, ok := c.done.Load(t)
	if !ok {
		making := map[reflect.Type]*encoder{}
		e, _ = c.done.LoadOrStore(t, c.of(t, making))
	}
	b := scratch.Get().(*[]byte)
	defer scratch.Put(b)
	out, err := e.(encoder)((*b)[:0], v.UnsafePointer())
	if err != nil {
		return nil, err
	}
	if cap(out) <= 64<<10 {
		*b = out
	}
	return slices.Clone(out), nil
}

// scratch is where bodies are written before their length is known.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

var (
	timeType     = reflect.TypeFor[metav1.Time]()
	quantityType = reflect.TypeFor[resource.Quantity]()
	intstrType   = reflect.TypeFor[intstr.IntOrString]()
	fieldsType   = reflect.TypeFor[metav1.FieldsV1]()
	marshalers   = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()}
)

func (c *compiler) of(t reflect.Type, making map[reflect.Type]*encoder) encoder {
	if e, ok := making[t]; ok { // types may hold themselves
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) { return (*e)(dst, p) }
	}
	e := new(encoder)
	making[t] = e
	*e = c.make(t, making)
	return *e
}

func (c *compiler) make(t reflect.Type, making map[reflect.Type]*encoder) encoder {
	switch t {
	case timeType:
		return appendTime
	case quantityType:
		return appendQuantity
	case intstrType:
		return appendIntOrString
	case fieldsType:
		return c.compact.append
	}
	for _, m := range marshalers {
		if t.Kind() == reflect.Pointer {
			break // what it points to tells
		}
		if t.Implements(m) || reflect.PointerTo(t).Implements(m) {
			return generic(t)
		}
	}
	switch t.Kind() {
	case reflect.String:
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) { return appendString(dst, *(*string)(p)), nil }
	case reflect.Bool:
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) { return strconv.AppendBool(dst, *(*bool)(p)), nil }
	case reflect.Int32:
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
			return strconv.AppendInt(dst, int64(*(*int32)(p)), 10), nil
		}
	case reflect.Int64:
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
			return strconv.AppendInt(dst, *(*int64)(p), 10), nil
		}
	case reflect.Pointer:
		elem := c.of(t.Elem(), making)
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
			if to := *(*unsafe.Pointer)(p); to != nil {
				return elem(dst, to)
			}
			return append(dst, "null"...), nil
		}
	case reflect.Slice:
		return c.slice(t, making)
	case reflect.Map:
		return c.mapping(t, making)
	case reflect.Struct:
		return c.structure(t, making)
	}
	return generic(t)
}

// generic leaves a value to encoding/json.
func generic(t reflect.Type) encoder {
	return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
		data, err := json.Marshal(reflect.NewAt(t, p).Interface())
		return append(dst, data...), err
	}
}

// isMessage: some lists are protobuf messages of their own (authentication's ExtraValue); those know nil from empty.
func isMessage(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ Unmarshal([]byte) error }]())
}

type header struct { // of a slice
	data unsafe.Pointer
	len  int
	cap  int
}

func (c *compiler) slice(t reflect.Type, making map[reflect.Type]*encoder) encoder {
	if t.Elem().Kind() == reflect.Uint8 {
		if t.Elem().Implements(marshalers[0]) || reflect.PointerTo(t.Elem()).Implements(marshalers[1]) {
			return generic(t)
		}
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
			b := *(*[]byte)(p)
			if b == nil {
				return append(dst, "null"...), nil
			}
			dst = append(dst, '"')
			dst = base64.StdEncoding.AppendEncode(dst, b)
			return append(dst, '"'), nil
		}
	}
	elem, size := c.of(t.Elem(), making), t.Elem().Size()
	own := isMessage(t)
	return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
		h := (*header)(p)
		if h.len == 0 {
			if own && h.data != nil {
				return append(dst, "[]"...), nil
			}
			return append(dst, "null"...), nil
		}
		var err error
		dst = append(dst, '[')
		for i := range h.len {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = elem(dst, unsafe.Add(h.data, uintptr(i)*size)); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	}
}

func (c *compiler) mapping(t reflect.Type, making map[reflect.Type]*encoder) encoder {
	if t.Key().Kind() != reflect.String || t.Key().Implements(marshalers[1]) {
		return generic(t)
	}
	if t.Elem().Kind() == reflect.String && !t.Elem().Implements(marshalers[0]) && !t.Elem().Implements(marshalers[1]) {
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
			return appendStrings(dst, *(*map[string]string)(p)), nil
		}
	}
	elem := c.of(t.Elem(), making)
	nothing := "" // what nil is when it comes out of storage, where a map has no nil bytes and messages
	switch {
	case t.Elem().Kind() == reflect.Slice && t.Elem().Elem().Kind() == reflect.Uint8:
		nothing = `""`
	case t.Elem().Kind() == reflect.Slice && isMessage(t.Elem()):
		nothing = "[]"
	}
	return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
		m := reflect.NewAt(t, p).Elem()
		if m.Len() == 0 {
			return append(dst, "null"...), nil
		}
		type member struct {
			key   string
			value reflect.Value
		}
		members := make([]member, 0, m.Len())
		values := reflect.MakeSlice(reflect.SliceOf(t.Elem()), m.Len(), m.Len())
		for it := m.MapRange(); it.Next(); {
			v := values.Index(len(members))
			v.SetIterValue(it)
			members = append(members, member{it.Key().String(), v})
		}
		slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
		var err error
		dst = append(dst, '{')
		for i := range members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, members[i].key), ':')
			if nothing != "" && members[i].value.IsNil() {
				dst = append(dst, nothing...)
				continue
			}
			if dst, err = elem(dst, members[i].value.Addr().UnsafePointer()); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	}
}

// appendStrings appends the commonest map: labels, annotations, data.
func appendStrings(dst []byte, m map[string]string) []byte {
	if len(m) == 0 {
		return append(dst, "null"...)
	}
	var few [16]string
	keys := few[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, k), ':')
		dst = appendString(dst, m[k])
	}
	return append(dst, '}')
}

type structField struct {
	name   string // `"name":`
	offset uintptr
	omit   func(unsafe.Pointer) bool // nil: never left out
	encode encoder
}

func (c *compiler) structure(t reflect.Type, making map[reflect.Type]*encoder) encoder {
	fields, ok := c.fields(nil, t, 0, making)
	seen := map[string]bool{}
	for _, f := range fields {
		ok = ok && !seen[f.name] // encoding/json has rules for fields of one name
		seen[f.name] = true
	}
	if !ok {
		return generic(t)
	}
	return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
		dst = append(dst, '{')
		var err error
		first := true
		for i := range fields {
			f := &fields[i]
			at := unsafe.Add(p, f.offset)
			if f.omit != nil && f.omit(at) {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(dst, f.name...)
			if dst, err = f.encode(dst, at); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	}
}

// fields lists the fields of a struct and of those embedded in it. Not ok: there is something that is left to encoding/json.
func (c *compiler) fields(out []structField, t reflect.Type, base uintptr, making map[reflect.Type]*encoder) ([]structField, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" {
			if f.Type.Kind() != reflect.Struct {
				return nil, false
			}
			var ok bool
			if out, ok = c.fields(out, f.Type, base+f.Offset, making); !ok {
				return nil, false
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		sf := structField{name: string(appendString(nil, name)) + ":", offset: base + f.Offset}
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "omitempty":
				sf.omit = either(sf.omit, emptiness(f.Type))
			case "omitzero":
				sf.omit = either(sf.omit, zeroness(f.Type))
			case "string":
				return nil, false
			}
		}
		sf.encode = c.of(f.Type, making)
		out = append(out, sf)
	}
	return out, true
}

func either(a, b func(unsafe.Pointer) bool) func(unsafe.Pointer) bool {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(p unsafe.Pointer) bool { return a(p) || b(p) }
}

// emptiness is what encoding/json takes for empty; nil: nothing is.
func emptiness(t reflect.Type) func(unsafe.Pointer) bool {
	switch t.Kind() {
	case reflect.String:
		return func(p unsafe.Pointer) bool { return len(*(*string)(p)) == 0 }
	case reflect.Slice:
		return func(p unsafe.Pointer) bool { return (*header)(p).len == 0 }
	case reflect.Pointer:
		return func(p unsafe.Pointer) bool { return *(*unsafe.Pointer)(p) == nil }
	case reflect.Bool:
		return func(p unsafe.Pointer) bool { return !*(*bool)(p) }
	case reflect.Int32:
		return func(p unsafe.Pointer) bool { return *(*int32)(p) == 0 }
	case reflect.Int64:
		return func(p unsafe.Pointer) bool { return *(*int64)(p) == 0 }
	case reflect.Map, reflect.Array:
		return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Elem().Len() == 0 }
	case reflect.Struct:
		return nil
	}
	return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Elem().IsZero() }
}

func zeroness(t reflect.Type) func(unsafe.Pointer) bool {
	type zeroer interface{ IsZero() bool }
	if reflect.PointerTo(t).Implements(reflect.TypeFor[zeroer]()) && t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Interface().(zeroer).IsZero() }
	}
	return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Elem().IsZero() }
}

func appendTime(dst []byte, p unsafe.Pointer) ([]byte, error) {
	t := (*metav1.Time)(p)
	if t.IsZero() {
		return append(dst, "null"...), nil
	}
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339)
	return append(dst, '"'), nil
}

func appendQuantity(dst []byte, p unsafe.Pointer) ([]byte, error) {
	data, err := (*resource.Quantity)(p).MarshalJSON()
	return append(dst, data...), err
}

func appendIntOrString(dst []byte, p unsafe.Pointer) ([]byte, error) {
	v := (*intstr.IntOrString)(p)
	switch v.Type {
	case intstr.Int:
		return strconv.AppendInt(dst, int64(v.IntVal), 10), nil
	case intstr.String:
		return appendString(dst, v.StrVal), nil
	}
	data, err := json.Marshal(v)
	return append(dst, data...), err
}

// compacted remembers the field sets of managedFields as they are written: they are JSON already, but nobody has looked whether it is valid and without white space.
// Objects made alike have the same ones.
type compacted struct {
	mu   sync.RWMutex
	sets map[string][]byte
}

const (
	maxCompacted     = 256
	maxCompactedSize = 16 << 10
)

func (c *compacted) append(dst []byte, p unsafe.Pointer) ([]byte, error) {
	f := (*metav1.FieldsV1)(p)
	c.mu.RLock()
	set, ok := c.sets[string(f.Raw)]
	c.mu.RUnlock()
	if ok {
		return append(dst, set...), nil
	}
	set, err := json.Marshal(f)
	if err == nil && len(f.Raw) <= maxCompactedSize {
		c.mu.Lock()
		if c.sets == nil || len(c.sets) >= maxCompacted {
			c.sets = map[string][]byte{}
		}
		c.sets[string(f.Raw)] = set
		c.mu.Unlock()
	}
	return append(dst, set...), err
}

// plain are the bytes that stand for themselves in a string: all of ASCII but controls, quotes, backslashes, and what HTML minds.
var plain = func() (t [256]bool) {
	for b := 0x20; b < utf8.RuneSelf; b++ {
		t[b] = b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
	}
	return t
}()

func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if !plain[s[i]] {
			data, _ := json.Marshal(s) // a string has no error
			return append(dst, data...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
