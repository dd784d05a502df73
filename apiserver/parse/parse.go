// Package parse reads the JSON of typed objects in one pass, for what is ordinary: known fields, each once, of the right types. What a client sends is nearly always so,
// and the strict decoder of sigs.k8s.io/json, which reads it twice and keeps the path of every field for messages, takes three times as long.
//
// Everything else (unknown and repeated fields, wrong types, syntax errors) is left to that decoder: only it knows what to say. When a [Parser] has read an object,
// that decoder would have read the same one and found no fault; a test and a fuzz target compare them.
package parse

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// Parser reads objects. The zero value is ready; it remembers what it learned about Go types.
type Parser struct{ done sync.Map } // of reflect.Type to reader

// Parse reads data into obj, a pointer to a struct that is zero. When it says false, obj holds anything, and nothing is known about data.
func (p *Parser) Parse(data []byte, obj any) bool {
	v := reflect.ValueOf(obj)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Type().Elem().Kind() != reflect.Struct {
		return false
	}
	t := v.Type().Elem()
	r, ok := p.done.Load(t)
	if !ok {
		r, _ = p.done.LoadOrStore(t, of(t, map[reflect.Type]*reader{}))
	}
	in := input{data: data}
	in.space()
	if in.at >= len(data) || data[in.at] != '{' || !r.(reader)(&in, v.UnsafePointer()) {
		return false
	}
	in.space()
	return in.at == len(data)
}

// reader reads the value at in.at into the zero value at p. It leaves in.at after the value.
type reader func(in *input, p unsafe.Pointer) bool

type input struct {
	data  []byte
	at    int
	depth int
}

// maxDepth is how deep values may be nested before another decoder is asked.
const maxDepth = 500

func (in *input) space() {
	for in.at < len(in.data) {
		switch in.data[in.at] {
		case ' ', '\t', '\r', '\n':
			in.at++
		default:
			return
		}
	}
}

// next skips space and takes one byte, when that is c.
func (in *input) next(c byte) bool {
	if in.at < len(in.data) && in.data[in.at] == c {
		in.at++
		return true
	}
	in.space()
	if in.at < len(in.data) && in.data[in.at] == c {
		in.at++
		return true
	}
	return false
}

func (in *input) peek() byte {
	if in.at < len(in.data) {
		return in.data[in.at]
	}
	return 0
}

func (in *input) literal(s string) bool {
	if len(in.data)-in.at >= len(s) && string(in.data[in.at:in.at+len(s)]) == s {
		in.at += len(s)
		return true
	}
	return false
}

// text reads a string. The bytes are those of data when nothing is escaped.
func (in *input) text() ([]byte, bool) {
	if in.peek() != '"' {
		return nil, false
	}
	begin := in.at + 1
	ascii := true
	for i := begin; i < len(in.data); i++ {
		switch c := in.data[i]; {
		case c == '"':
			in.at = i + 1
			s := in.data[begin:i]
			return s, ascii || utf8.Valid(s)
		case c == '\\':
			return in.escaped(begin)
		case c < 0x20:
			return nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, false
}

func (in *input) escaped(begin int) ([]byte, bool) {
	for i := begin; i < len(in.data); i++ {
		switch in.data[i] {
		case '\\':
			i++
		case '"':
			var s string
			if json.Unmarshal(in.data[begin-1:i+1], &s) != nil {
				return nil, false
			}
			in.at = i + 1
			return []byte(s), true
		}
	}
	return nil, false
}

// raw takes one value as it stands, and makes sure that it is one.
func (in *input) raw() ([]byte, bool) {
	begin := in.at
	switch in.peek() {
	case '"':
		_, ok := in.text()
		return in.data[begin:in.at], ok
	case '{', '[':
		depth := 0
		for in.at < len(in.data) {
			switch in.data[in.at] {
			case '"':
				if _, ok := in.text(); !ok {
					return nil, false
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			in.at++
			if depth == 0 {
				break
			}
		}
	default:
		for in.at < len(in.data) && !strings.ContainsRune(" \t\r\n,]}", rune(in.data[in.at])) {
			in.at++
		}
	}
	v := in.data[begin:in.at]
	return v, json.Valid(v)
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()
)

func of(t reflect.Type, making map[reflect.Type]*reader) reader {
	if r, ok := making[t]; ok { // types may hold themselves
		return func(in *input, p unsafe.Pointer) bool { return (*r)(in, p) }
	}
	r := new(reader)
	making[t] = r
	*r = build(t, making)
	return *r
}

// never leaves a value to another decoder.
func never(*input, unsafe.Pointer) bool { return false }

func build(t reflect.Type, making map[reflect.Type]*reader) reader {
	if t.Kind() == reflect.Pointer {
		elem, to := of(t.Elem(), making), t.Elem()
		return func(in *input, p unsafe.Pointer) bool {
			if in.peek() == 'n' {
				return in.literal("null")
			}
			v := reflect.New(to)
			*(*unsafe.Pointer)(p) = v.UnsafePointer()
			return elem(in, v.UnsafePointer())
		}
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return func(in *input, p unsafe.Pointer) bool {
			raw, ok := in.raw()
			return ok && reflect.NewAt(t, p).Interface().(json.Unmarshaler).UnmarshalJSON(raw) == nil
		}
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return never
	}
	switch t.Kind() {
	case reflect.String:
		return func(in *input, p unsafe.Pointer) bool {
			if in.peek() == 'n' {
				return in.literal("null")
			}
			s, ok := in.text()
			*(*string)(p) = string(s)
			return ok
		}
	case reflect.Bool:
		return func(in *input, p unsafe.Pointer) bool {
			*(*bool)(p) = in.peek() == 't'
			return in.literal("true") || in.literal("false") || in.literal("null")
		}
	case reflect.Int32:
		return func(in *input, p unsafe.Pointer) bool {
			n, ok := in.integer(32)
			*(*int32)(p) = int32(n)
			return ok
		}
	case reflect.Int64:
		return func(in *input, p unsafe.Pointer) bool {
			n, ok := in.integer(64)
			*(*int64)(p) = n
			return ok
		}
	case reflect.Float64:
		return func(in *input, p unsafe.Pointer) bool {
			if in.peek() == 'n' {
				return in.literal("null")
			}
			raw, ok := in.raw()
			if !ok || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
				return false
			}
			f, err := strconv.ParseFloat(string(raw), 64)
			*(*float64)(p) = f
			return err == nil
		}
	case reflect.Slice:
		return slice(t, making)
	case reflect.Map:
		return mapping(t, making)
	case reflect.Struct:
		return structure(t, making)
	}
	return never
}

// integer reads a number without fraction and exponent, or null.
func (in *input) integer(bits int) (int64, bool) {
	if in.peek() == 'n' {
		return 0, in.literal("null")
	}
	begin := in.at
	if in.peek() == '-' {
		in.at++
	}
	first := in.at
	for in.peek() >= '0' && in.peek() <= '9' {
		in.at++
	}
	if in.at == first || in.data[first] == '0' && in.at > first+1 {
		return 0, false
	}
	switch in.peek() {
	case '.', 'e', 'E':
		return 0, false
	}
	n, err := strconv.ParseInt(string(in.data[begin:in.at]), 10, bits)
	return n, err == nil
}

func slice(t reflect.Type, making map[reflect.Type]*reader) reader {
	if t.Elem().Kind() == reflect.Uint8 {
		return func(in *input, p unsafe.Pointer) bool {
			if in.peek() == 'n' {
				return in.literal("null")
			}
			s, ok := in.text()
			if !ok {
				return false
			}
			b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
			n, err := base64.StdEncoding.Decode(b, s)
			*(*[]byte)(p) = b[:n]
			return err == nil
		}
	}
	elem := of(t.Elem(), making)
	return func(in *input, p unsafe.Pointer) bool {
		if in.peek() == 'n' {
			return in.literal("null")
		}
		if in.peek() != '[' || in.depth >= maxDepth {
			return false
		}
		in.at++
		in.depth++
		defer func() { in.depth-- }()
		v := reflect.NewAt(t, p).Elem()
		if in.next(']') {
			v.Set(reflect.MakeSlice(t, 0, 0))
			return true
		}
		for n := 0; ; n++ {
			v.Grow(1)
			v.SetLen(n + 1)
			item := v.Index(n)
			item.SetZero()
			in.space()
			if !elem(in, item.Addr().UnsafePointer()) {
				return false
			}
			if in.next(',') {
				continue
			}
			return in.next(']')
		}
	}
}

func mapping(t reflect.Type, making map[reflect.Type]*reader) reader {
	if t.Key().Kind() != reflect.String || reflect.PointerTo(t.Key()).Implements(textUnmarshaler) {
		return never
	}
	simple := t.Elem() == reflect.TypeFor[string]() && t.Key() == reflect.TypeFor[string]()
	elem, to := of(t.Elem(), making), t.Elem()
	return func(in *input, p unsafe.Pointer) bool {
		if in.peek() == 'n' {
			return in.literal("null")
		}
		if in.peek() != '{' || in.depth >= maxDepth {
			return false
		}
		in.at++
		in.depth++
		defer func() { in.depth-- }()
		v := reflect.NewAt(t, p).Elem()
		v.Set(reflect.MakeMap(t))
		if in.next('}') {
			return true
		}
		var item reflect.Value
		for n := 1; ; n++ {
			in.space()
			key, ok := in.text()
			if !ok || !in.next(':') {
				return false
			}
			in.space()
			if simple {
				m := *(*map[string]string)(p)
				var s string
				if !elem(in, unsafe.Pointer(&s)) {
					return false
				}
				m[string(key)] = s
			} else {
				if !item.IsValid() {
					item = reflect.New(to).Elem()
				}
				item.SetZero()
				if !elem(in, item.Addr().UnsafePointer()) {
					return false
				}
				v.SetMapIndex(reflect.ValueOf(string(key)).Convert(t.Key()), item)
			}
			if v.Len() != n {
				return false // a key that is there twice
			}
			if in.next(',') {
				continue
			}
			return in.next('}')
		}
	}
}

type field struct {
	offset uintptr
	read   reader
	number int
}

// maxFields is how many fields a struct may have, for the set of those that were seen.
const maxFields = 256

func structure(t reflect.Type, making map[reflect.Type]*reader) reader {
	fields := map[string]*field{}
	if !collect(fields, t, 0, making) || len(fields) > maxFields {
		return never
	}
	return func(in *input, p unsafe.Pointer) bool {
		if in.peek() == 'n' {
			return in.literal("null")
		}
		if in.peek() != '{' || in.depth >= maxDepth {
			return false
		}
		in.at++
		in.depth++
		defer func() { in.depth-- }()
		if in.next('}') {
			return true
		}
		var seen [maxFields / 64]uint64
		for {
			in.space()
			key, ok := in.text()
			if !ok || !in.next(':') {
				return false
			}
			f := fields[string(key)]
			if f == nil || seen[f.number/64]&(1<<(f.number%64)) != 0 {
				return false
			}
			seen[f.number/64] |= 1 << (f.number % 64)
			in.space()
			if !f.read(in, unsafe.Add(p, f.offset)) {
				return false
			}
			if in.next(',') {
				continue
			}
			return in.next('}')
		}
	}
}

// collect finds the fields of a struct and of those embedded in it. It says false for what encoding/json has rules of its own for.
func collect(fields map[string]*field, t reflect.Type, base uintptr, making map[reflect.Type]*reader) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" {
			if f.Type.Kind() != reflect.Struct || !collect(fields, f.Type, base+f.Offset, making) {
				return false
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		if fields[name] != nil || strings.Contains(options, "string") {
			return false
		}
		fields[name] = &field{offset: base + f.Offset, read: of(f.Type, making), number: len(fields)}
	}
	return true
}
