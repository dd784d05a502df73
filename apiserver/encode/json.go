package encode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// jsonBody encodes a hub object, with its resourceVersion, in a served version.
func (c *Cache) jsonBody(s *kinds.Served, obj kinds.Object) (*Body, error) {
	v, err := Convert(s, obj)
	if err != nil {
		return nil, err
	}
	var data []byte
	if typed(v) {
		data, err = c.compiler.marshal(v)
	} else {
		data, err = Marshal(v)
	}
	if err != nil {
		return nil, err
	}
	b := &Body{Data: data}
	if at, end, ok := member(data, 0, "metadata"); ok && data[at] == '{' && end > at {
		if from, to, ok := member(data, at, "resourceVersion"); ok && data[from] == '"' {
			b.revisionStart, b.revisionEnd = from+1, to-1
		}
	}
	return b, nil
}

// Marshal is JSON as Kubernetes writes it, without the newline at the end. A typed object must carry no type header if none is to be written.
func Marshal(obj any) ([]byte, error) {
	switch o := obj.(type) {
	case *unstructured.Unstructured:
		return json.Marshal(o.Object)
	case *unstructured.UnstructuredList:
		return o.MarshalJSON()
	}
	return json.Marshal(obj)
}

// typed reports that objects of a kind are Go structs, whose bodies carry no type header; custom objects carry it inside.
func typed(obj runtime.Object) bool {
	_, custom := obj.(runtime.Unstructured)
	return !custom
}

// Head is what stands in front of the bodies of one kind in one served version, in JSON. It is made once per kind.
type Head struct {
	kind   *kinds.Kind
	served *kinds.Served
	json   []byte // {"kind":"Pod","apiVersion":"v1", or empty
	custom bool
}

// NewHead makes the head of a kind in a served version.
func NewHead(k *kinds.Kind, s *kinds.Served) *Head {
	h := &Head{kind: k, served: s, custom: !typed(s.New())}
	if !h.custom {
		h.json = typeHead(gvk(k, s))
	}
	return h
}

func typeHead(g schema.GroupVersionKind) []byte {
	return fmt.Appendf(nil, `{"kind":%q,"apiVersion":%q,`, g.Kind, g.GroupVersion().String())
}

// AppendObject appends a record as a whole JSON object, without newline. revision stands in for the record's own when it is not 0.
func (c *Cache) AppendObject(dst []byte, h *Head, r *store.Record, revision store.Revision) ([]byte, error) {
	b, err := c.body(h.kind, h.served, r)
	if err != nil {
		return dst, err
	}
	data := b.Data
	if h.custom {
		return b.appendFrom(dst, 0, revision), nil
	}
	if len(data) == 2 { // {}
		dst = append(dst, h.json[:len(h.json)-1]...)
		return append(dst, '}'), nil
	}
	dst = append(dst, h.json...)
	return b.appendFrom(dst, 1, revision), nil
}

// Object returns a record as a whole JSON object, without newline, in two parts, one after the other; shared.
func (c *Cache) Object(h *Head, r *store.Record) (head, rest []byte, err error) {
	b, err := c.body(h.kind, h.served, r)
	if err != nil || h.custom {
		return nil, b.data(), err
	}
	if len(b.Data) == 2 { // {}
		return h.json[:len(h.json)-1], b.Data[1:], nil
	}
	return h.json, b.Data[1:], nil
}

func (b *Body) data() []byte {
	if b == nil {
		return nil
	}
	return b.Data
}

// Item returns an item of a list; shared.
func (c *Cache) Item(h *Head, r *store.Record) ([]byte, error) {
	b, err := c.body(h.kind, h.served, r)
	if err != nil {
		return nil, err
	}
	return b.Data, nil
}

func (b *Body) appendFrom(dst []byte, from int, revision store.Revision) []byte {
	if revision == 0 || b.revisionEnd == 0 {
		return append(dst, b.Data[from:]...)
	}
	dst = append(dst, b.Data[from:b.revisionStart]...)
	dst = strconv.AppendUint(dst, uint64(revision), 10)
	return append(dst, b.Data[b.revisionEnd:]...)
}

// member finds the value of a key in the JSON object that begins at data[at]. data is what encoding/json wrote: no white space, keys plain.
func member(data []byte, at int, key string) (start, end int, ok bool) {
	if at >= len(data) || data[at] != '{' {
		return 0, 0, false
	}
	i := at + 1
	for i < len(data) && data[i] == '"' {
		k := skipString(data, i)
		v := k + 1 // the colon
		e := skipValue(data, v)
		if k-i-2 == len(key) && string(data[i+1:k-1]) == key {
			return v, e, true
		}
		if e >= len(data) || data[e] != ',' {
			break
		}
		i = e + 1
	}
	return 0, 0, false
}

// skipString returns the index after the string that begins at data[i].
func skipString(data []byte, i int) int {
	for i++; i < len(data); {
		j := bytes.IndexByte(data[i:], '"')
		if j < 0 {
			return len(data)
		}
		i += j
		back := 0
		for data[i-1-back] == '\\' {
			back++
		}
		i++
		if back%2 == 0 {
			return i
		}
	}
	return i
}

func skipValue(data []byte, i int) int {
	if i >= len(data) {
		return i
	}
	switch data[i] {
	case '"':
		return skipString(data, i)
	case '{', '[':
		depth := 0
		for i < len(data) {
			switch data[i] {
			case '"':
				i = skipString(data, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
				if depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return i
	}
	for i < len(data) && data[i] != ',' && data[i] != '}' && data[i] != ']' {
		i++
	}
	return i
}
