package encode

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/store"
)

// chunk is how much of a list is gathered before it is written on.
const chunk = 64 << 10

// chunks are buffers of that size. What is written is not kept by the writer.
var chunks = sync.Pool{New: func() any { b := make([]byte, 0, chunk); return &b }}

// WriteList joins the bodies of records into a list and writes it in chunks, never whole.
func (c *Cache) WriteList(w io.Writer, h *Head, meta metav1.ListMeta, records []*store.Record) error {
	m, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	pooled := chunks.Get().(*[]byte)
	defer chunks.Put(pooled)
	buf := (*pooled)[:0]
	g := h.kind.ListGVK(h.served)
	if h.custom {
		buf = append(buf, `{"apiVersion":"`...)
		buf = append(buf, g.GroupVersion().String()...)
		buf = append(buf, `","items":[`...)
	} else {
		buf = append(buf, typeHead(g)...)
		buf = append(buf, `"metadata":`...)
		buf = append(buf, m...)
		buf = append(buf, `,"items":[`...)
	}
	for i, r := range records {
		if i > 0 {
			buf = append(buf, ',')
		}
		item, err := c.Item(h, r)
		if err != nil {
			return err
		}
		if len(buf)+len(item) > chunk && len(buf) > 0 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		if len(item) >= chunk/2 {
			if _, err := w.Write(item); err != nil {
				return err
			}
			continue
		}
		buf = append(buf, item...)
	}
	buf = append(buf, ']')
	if h.custom {
		buf = append(buf, `,"kind":"`...)
		buf = append(buf, g.Kind...)
		buf = append(buf, `","metadata":`...)
		buf = append(buf, m...)
	}
	buf = append(buf, '}', '\n')
	_, err = w.Write(buf)
	return err
}

// WriteProtoList writes a list in protobuf. It looks at each record twice, once for sizes, and encodes none that is stored in the served version.
func WriteProtoList(w io.Writer, h *Head, meta metav1.ListMeta, records []*store.Record) error {
	m, err := MarshalProto(&meta)
	if err != nil {
		return err
	}
	size := 1 + varintLen(len(m)) + len(m)
	stored := make([]int, len(records))
	converted := map[int]bare{}
	for i, r := range records {
		p, err := bareOf(h.kind, h.served, r)
		if err != nil {
			return err
		}
		if h.served.FromHub != nil {
			converted[i] = p
		}
		stored[i] = p.size(r.Revision)
		size += 1 + varintLen(stored[i]) + stored[i]
	}
	g := gvk(h.kind, h.served)
	g.Kind += "List"
	pooled := chunks.Get().(*[]byte)
	defer chunks.Put(pooled)
	buf := envelopeHead((*pooled)[:0], g, size)
	buf = append(buf, 0x0a)
	buf = binary.AppendUvarint(buf, uint64(len(m)))
	buf = append(buf, m...)
	for i, r := range records {
		p, ok := converted[i]
		if !ok {
			if p, err = bareOf(h.kind, h.served, r); err != nil {
				return err
			}
		}
		if len(buf)+stored[i]+16 > chunk {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		buf = append(buf, 0x12)
		buf = binary.AppendUvarint(buf, uint64(stored[i]))
		buf = p.append(buf, r.Revision)
	}
	buf = append(buf, envelopeTail...)
	_, err = w.Write(buf)
	return err
}
