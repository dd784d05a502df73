package encode

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// magic opens a protobuf value of Kubernetes on the wire.
const magic = "k8s\x00"

// Message is anything with Kubernetes' generated protobuf methods.
type Message interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}

// bare is a protobuf object in which the resourceVersion is still to be filled in.
type bare struct {
	raw                        []byte
	metaStart, metaEnd         int // content of field 1, metadata
	revisionStart, revisionEnd int // field 6 of it, tag included; both at metaEnd when it is not there
}

// bareOf finds the protobuf of a record in a served version: in the stored bytes when they are of that version, otherwise by encoding.
func bareOf(k *kinds.Kind, s *kinds.Served, r *store.Record) (bare, error) {
	if s.FromHub == nil && k.Storage.GVK == gvk(k, s) && len(r.Value) > len(magic) && string(r.Value[:len(magic)]) == magic {
		if raw, ok := envelopeRaw(r.Value[len(magic):]); ok {
			return split(raw)
		}
	}
	obj, err := Object(k, r)
	if err != nil {
		return bare{}, err
	}
	v, err := Convert(s, obj)
	if err != nil {
		return bare{}, err
	}
	raw, err := MarshalProto(v)
	if err != nil {
		return bare{}, err
	}
	return split(raw)
}

// MarshalProto is the protobuf encoding of a message without envelope.
func MarshalProto(obj any) ([]byte, error) {
	m, ok := obj.(Message)
	if !ok {
		return nil, fmt.Errorf("encode: %T has no protobuf encoding", obj)
	}
	raw := make([]byte, m.Size())
	n, err := m.MarshalToSizedBuffer(raw)
	if err != nil {
		return nil, err
	}
	return raw[len(raw)-n:], nil
}

// envelopeRaw returns field 2 of a runtime.Unknown.
func envelopeRaw(b []byte) ([]byte, bool) {
	for i := 0; i < len(b); {
		tag, n := binary.Uvarint(b[i:])
		if n <= 0 || tag&7 != 2 {
			return nil, false
		}
		i += n
		size, n := binary.Uvarint(b[i:])
		if n <= 0 || size > uint64(len(b)-i-n) {
			return nil, false
		}
		i += n
		if tag>>3 == 2 {
			return b[i : i+int(size)], true
		}
		i += int(size)
	}
	return nil, false
}

func split(raw []byte) (bare, error) {
	p := bare{raw: raw}
	if len(raw) == 0 || raw[0] != 0x0a { // field 1, bytes
		return p, fmt.Errorf("encode: protobuf object does not begin with metadata")
	}
	size, n := binary.Uvarint(raw[1:])
	if n <= 0 || size > uint64(len(raw)-1-n) {
		return p, fmt.Errorf("encode: protobuf metadata is cut off")
	}
	p.metaStart = 1 + n
	p.metaEnd = p.metaStart + int(size)
	p.revisionStart, p.revisionEnd = p.metaEnd, p.metaEnd
	for i := p.metaStart; i < p.metaEnd; {
		tag, n := binary.Uvarint(raw[i:p.metaEnd])
		if n <= 0 || tag>>3 > 6 || tag&7 != 2 { // fields come in order; those before resourceVersion are strings
			p.revisionStart, p.revisionEnd = i, i
			break
		}
		l, m := binary.Uvarint(raw[i+n : p.metaEnd])
		if m <= 0 || l > uint64(p.metaEnd-i-n-m) {
			return p, fmt.Errorf("encode: protobuf metadata is cut off")
		}
		end := i + n + m + int(l)
		if tag>>3 == 6 {
			p.revisionStart, p.revisionEnd = i, end
			break
		}
		i = end
	}
	return p, nil
}

func digits(rv store.Revision) int {
	n := 1
	for rv >= 10 {
		rv /= 10
		n++
	}
	return n
}

func varintLen(v int) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

func (p *bare) metaSize(rv store.Revision) int {
	return p.metaEnd - p.metaStart - (p.revisionEnd - p.revisionStart) + 2 + digits(rv)
}

// size of the message with the resourceVersion in it.
func (p *bare) size(rv store.Revision) int {
	m := p.metaSize(rv)
	return 1 + varintLen(m) + m + len(p.raw) - p.metaEnd
}

func (p *bare) append(dst []byte, rv store.Revision) []byte {
	dst = append(dst, 0x0a)
	dst = binary.AppendUvarint(dst, uint64(p.metaSize(rv)))
	dst = append(dst, p.raw[p.metaStart:p.revisionStart]...)
	dst = append(dst, 0x32, byte(digits(rv)))
	dst = strconv.AppendUint(dst, uint64(rv), 10)
	dst = append(dst, p.raw[p.revisionEnd:p.metaEnd]...)
	return append(dst, p.raw[p.metaEnd:]...)
}

// envelopeHead opens a runtime.Unknown around a message of size bytes; envelopeTail closes it.
func envelopeHead(dst []byte, g schema.GroupVersionKind, size int) []byte {
	api := g.GroupVersion().String()
	inner := 1 + varintLen(len(api)) + len(api) + 1 + varintLen(len(g.Kind)) + len(g.Kind)
	dst = append(dst, magic...)
	dst = append(dst, 0x0a)
	dst = binary.AppendUvarint(dst, uint64(inner))
	dst = append(dst, 0x0a)
	dst = binary.AppendUvarint(dst, uint64(len(api)))
	dst = append(dst, api...)
	dst = append(dst, 0x12)
	dst = binary.AppendUvarint(dst, uint64(len(g.Kind)))
	dst = append(dst, g.Kind...)
	dst = append(dst, 0x12)
	return binary.AppendUvarint(dst, uint64(size))
}

const envelopeTail = "\x1a\x00\x22\x00"

// AppendEnvelope appends a message in Kubernetes' protobuf envelope.
func AppendEnvelope(dst []byte, g schema.GroupVersionKind, raw []byte) []byte {
	dst = envelopeHead(dst, g, len(raw))
	dst = append(dst, raw...)
	return append(dst, envelopeTail...)
}

// AppendProto appends a record in the envelope. revision stands in for the record's own when it is not 0.
func AppendProto(dst []byte, h *Head, r *store.Record, revision store.Revision) ([]byte, error) {
	p, err := bareOf(h.kind, h.served, r)
	if err != nil {
		return dst, err
	}
	if revision == 0 {
		revision = r.Revision
	}
	dst = envelopeHead(dst, gvk(h.kind, h.served), p.size(revision))
	dst = p.append(dst, revision)
	return append(dst, envelopeTail...), nil
}
