package encode

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// rowKey tells the rows of one kind in one version apart, by the object they carry along.
type rowKey struct {
	served  *kinds.Served
	include metav1.IncludeObjectPolicy
	version string
}

// Rows are the rows of one kind in one version, with what they carry along.
type Rows struct {
	kind  *kinds.Kind
	table *kinds.Table
	key   any // a rowKey, boxed once
}

// NewRows: include and version tell what object gives, see [Cache.AppendRow].
func NewRows(k *kinds.Kind, s *kinds.Served, t *kinds.Table, include metav1.IncludeObjectPolicy, version string) *Rows {
	return &Rows{k, t, rowKey{s, include, version}}
}

// hole is a cell that ages: it is filled in for each request.
type hole struct {
	at   int
	cell kinds.Cell
}

// AppendRow appends a record's table row. object gives what the row carries along, as JSON, or nil; its outcome must depend on nothing but include and version.
func (c *Cache) AppendRow(dst []byte, rows *Rows, r *store.Record, object func(kinds.Object) ([]byte, error), now time.Time) ([]byte, error) {
	b, err := c.derived(rows.kind, rows.key, r, nil, func(obj kinds.Object) (*Body, error) { return rowBody(rows.table, obj, object) })
	if err != nil {
		return dst, err
	}
	return b.appendRow(dst, now)
}

// Row is AppendRow for an object that is no record.
func Row(t *kinds.Table, obj kinds.Object, object func(kinds.Object) ([]byte, error), now time.Time) ([]byte, error) {
	b, err := rowBody(t, obj, object)
	if err != nil {
		return nil, err
	}
	return b.appendRow(nil, now)
}

func (b *Body) appendRow(dst []byte, now time.Time) ([]byte, error) {
	from := 0
	for _, h := range b.holes {
		dst = append(dst, b.Data[from:h.at]...)
		from = h.at
		text, err := json.Marshal(h.cell.At(now))
		if err != nil {
			return dst, err
		}
		dst = append(dst, text...)
	}
	return append(dst, b.Data[from:]...), nil
}

func rowBody(t *kinds.Table, obj kinds.Object, object func(kinds.Object) ([]byte, error)) (*Body, error) {
	b := &Body{Data: append(make([]byte, 0, 512), `{"cells":[`...)}
	for i, cell := range t.Row(obj) {
		if i > 0 {
			b.Data = append(b.Data, ',')
		}
		if aging, ok := cell.(kinds.Cell); ok {
			b.holes = append(b.holes, hole{len(b.Data), aging})
			continue
		}
		text, err := json.Marshal(cell)
		if err != nil {
			return nil, err
		}
		b.Data = append(b.Data, text...)
	}
	carried, err := object(obj)
	if err != nil {
		return nil, err
	}
	if carried == nil {
		carried = []byte("null")
	}
	b.Data = append(append(b.Data, `],"object":`...), carried...)
	b.Data = append(b.Data, '}')
	return b, nil
}
