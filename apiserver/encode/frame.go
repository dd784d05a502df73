package encode

import (
	"encoding/binary"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/store"
)

// AppendFrame appends a watch event about a record in JSON, with the newline that separates frames.
func (c *Cache) AppendFrame(dst []byte, h *Head, event string, r *store.Record, revision store.Revision) ([]byte, error) {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, event...)
	dst = append(dst, `","object":`...)
	dst, err := c.AppendObject(dst, h, r, revision)
	return append(dst, '}', '\n'), err
}

// AppendValueFrame appends a watch event about any object, which carries its type header, in JSON.
func AppendValueFrame(dst []byte, event string, obj any) ([]byte, error) {
	data, err := Marshal(obj)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `{"type":"`...)
	dst = append(dst, event...)
	dst = append(dst, `","object":`...)
	dst = append(dst, data...)
	return append(dst, '}', '\n'), nil
}

// protoFrame appends a length-delimited metav1.WatchEvent around an object of size bytes, which the caller appends next.
func protoFrame(dst []byte, event string, size int) []byte {
	raw := 1 + varintLen(size) + size
	total := 2 + len(event) + 1 + varintLen(raw) + raw
	dst = binary.BigEndian.AppendUint32(dst, uint32(total))
	dst = append(dst, 0x0a, byte(len(event)))
	dst = append(dst, event...)
	dst = append(dst, 0x12)
	dst = binary.AppendUvarint(dst, uint64(raw))
	dst = append(dst, 0x0a)
	return binary.AppendUvarint(dst, uint64(size))
}

func envelopeSize(g schema.GroupVersionKind, size int) int {
	api := g.GroupVersion().String()
	inner := 1 + varintLen(len(api)) + len(api) + 1 + varintLen(len(g.Kind)) + len(g.Kind)
	return len(magic) + 1 + varintLen(inner) + inner + 1 + varintLen(size) + size + len(envelopeTail)
}

// AppendProtoFrame appends a watch event about a record in protobuf.
func AppendProtoFrame(dst []byte, h *Head, event string, r *store.Record, revision store.Revision) ([]byte, error) {
	p, err := bareOf(h.kind, h.served, r)
	if err != nil {
		return dst, err
	}
	if revision == 0 {
		revision = r.Revision
	}
	g := gvk(h.kind, h.served)
	size := p.size(revision)
	dst = protoFrame(dst, event, envelopeSize(g, size))
	dst = envelopeHead(dst, g, size)
	dst = p.append(dst, revision)
	return append(dst, envelopeTail...), nil
}

// AppendValueProtoFrame appends a watch event about any object of the given type in protobuf.
func AppendValueProtoFrame(dst []byte, event string, g schema.GroupVersionKind, obj any) ([]byte, error) {
	raw, err := MarshalProto(obj)
	if err != nil {
		return dst, err
	}
	dst = protoFrame(dst, event, envelopeSize(g, len(raw)))
	return AppendEnvelope(dst, g, raw), nil
}

// BookmarkFrame is a bookmark: an object of the kind with nothing but a revision, and the annotation that ends initial events.
func BookmarkFrame(dst []byte, h *Head, media Media, revision string, initialEnd bool) ([]byte, error) {
	obj := h.served.New()
	obj.SetResourceVersion(revision)
	if initialEnd {
		obj.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	g := gvk(h.kind, h.served)
	if media == Protobuf {
		return AppendValueProtoFrame(dst, "BOOKMARK", g, obj)
	}
	obj.GetObjectKind().SetGroupVersionKind(g)
	if media == CBOR {
		return CBORFrame(dst, "BOOKMARK", obj)
	}
	return AppendValueFrame(dst, "BOOKMARK", obj)
}

// StatusFrame is an ERROR event.
func StatusFrame(dst []byte, media Media, status *metav1.Status) ([]byte, error) {
	if media == Protobuf {
		return AppendValueProtoFrame(dst, "ERROR", schema.GroupVersionKind{Version: "v1", Kind: "Status"}, status)
	}
	s := *status
	s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	if media == CBOR {
		return CBORFrame(dst, "ERROR", &s)
	}
	return AppendValueFrame(dst, "ERROR", &s)
}
