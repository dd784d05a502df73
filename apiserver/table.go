package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// plainTable is what a kind without a table of its own looks like.
var plainTable = &kinds.Table{
	Columns: []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]},
		{Name: "Created At", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]},
	},
	Row: func(obj kinds.Object) []any {
		return []any{obj.GetName(), obj.GetCreationTimestamp().Time.UTC().Format(time.RFC3339)}
	},
}

// tabler makes rows of objects for one request.
type tabler struct {
	*call
	table   *kinds.Table
	version string // of meta.k8s.io
	include metav1.IncludeObjectPolicy
	now     time.Time
}

func (c *call) tabler(r *http.Request, accept accepted) (*tabler, error) {
	t := &tabler{call: c, table: c.kind.TableOf(c.served), version: accept.as.Version, include: metav1.IncludeMetadata, now: c.now()}
	if t.table == nil {
		t.table = plainTable
	}
	switch p := metav1.IncludeObjectPolicy(r.URL.Query().Get("includeObject")); p {
	case "":
	case metav1.IncludeNone, metav1.IncludeMetadata, metav1.IncludeObject:
		t.include = p
	default:
		return nil, badQuery(fmt.Errorf("unrecognized includeObject value: %q", p))
	}
	return t, nil
}

// carried is the object that a row carries along, as JSON.
func (t *tabler) carried(obj kinds.Object) ([]byte, error) {
	switch t.include {
	case metav1.IncludeMetadata:
		return encode.Marshal(partial(obj, t.version))
	case metav1.IncludeObject:
		v, err := t.view(obj)
		if err != nil {
			return nil, err
		}
		return encode.Marshal(v)
	}
	return nil, nil
}

func (t *tabler) open(dst []byte, list metav1.ListMeta, columns bool) ([]byte, error) {
	m, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	defs := []byte("[]")
	if columns {
		if defs, err = json.Marshal(t.table.Columns); err != nil {
			return nil, err
		}
	} else {
		defs = []byte("null")
	}
	dst = fmt.Appendf(dst, `{"kind":"Table","apiVersion":"meta.k8s.io/%s","metadata":`, t.version)
	dst = append(dst, m...)
	dst = append(dst, `,"columnDefinitions":`...)
	dst = append(dst, defs...)
	return append(dst, `,"rows":[`...), nil
}

// single is a table of one object.
func (t *tabler) single(obj kinds.Object, columns bool) ([]byte, error) {
	data, err := t.open(nil, metav1.ListMeta{ResourceVersion: obj.GetResourceVersion()}, columns)
	if err != nil {
		return nil, err
	}
	row, err := encode.Row(t.table, obj, t.carried, t.now)
	if err != nil {
		return nil, err
	}
	data = append(data, row...)
	return append(data, `]}`...), nil
}

func (c *call) writeTable(w io.Writer, r *http.Request, accept accepted, list metav1.ListMeta, records []*store.Record) error {
	t, err := c.tabler(r, accept)
	if err != nil {
		return err
	}
	buf, err := t.open(nil, list, true)
	if err != nil {
		return err
	}
	rows := encode.NewRows(c.kind, c.served, t.table, t.include, t.version)
	for i, rec := range records {
		if i > 0 {
			buf = append(buf, ',')
		}
		if buf, err = c.cache.AppendRow(buf, rows, rec, t.carried, t.now); err != nil {
			return err
		}
		if len(buf) > 32<<10 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	_, err = w.Write(append(buf, "]}\n"...))
	return err
}

// partial is an object's metadata as a type of its own.
func partial(obj kinds.Object, version string) *metav1.PartialObjectMetadata {
	p := meta.AsPartialObjectMetadata(obj)
	p.TypeMeta = metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/" + version}
	return p
}

func (c *call) writePartialList(w io.Writer, accept accepted, list metav1.ListMeta, records []*store.Record) error {
	gvk := schema.GroupVersionKind{Group: "meta.k8s.io", Version: accept.as.Version, Kind: "PartialObjectMetadataList"}
	if accept.media == encode.Protobuf {
		out := metav1.PartialObjectMetadataList{ListMeta: list, Items: make([]metav1.PartialObjectMetadata, 0, len(records))}
		for _, rec := range records {
			obj, err := c.decoded(rec)
			if err != nil {
				return err
			}
			out.Items = append(out.Items, *partial(obj, gvk.Version))
		}
		raw, err := encode.MarshalProto(&out)
		if err != nil {
			return err
		}
		_, err = w.Write(encode.AppendEnvelope(nil, gvk, raw))
		return err
	}
	m, err := json.Marshal(list)
	if err != nil {
		return err
	}
	buf := fmt.Appendf(nil, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/%s","metadata":%s,"items":[`, gvk.Version, m)
	for i, rec := range records {
		obj, err := c.decoded(rec)
		if err != nil {
			return err
		}
		item, err := encode.Marshal(partial(obj, gvk.Version))
		if err != nil {
			return err
		}
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, item...)
		if len(buf) > 32<<10 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	_, err = w.Write(append(buf, "]}\n"...))
	return err
}

// sendTransformed answers with one object as a Table or as metadata.
func (c *call) sendTransformed(w http.ResponseWriter, r *http.Request, accept accepted, code int, obj runtime.Object) error {
	o, ok := obj.(kinds.Object)
	if !ok {
		return notAcceptable(mediaJSON, mediaYAML, mediaProtobuf)
	}
	switch accept.as.Kind {
	case "Table":
		t, err := c.tabler(r, accept)
		if err != nil {
			return err
		}
		data, err := t.single(o, true)
		if err != nil {
			return err
		}
		return newAnswer(w, r, accept, code).formed(data)
	case "PartialObjectMetadata":
		return writeObject(w, r, accept, code, partial(o, accept.as.Version))
	}
	return apiError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
		fmt.Sprintf("you requested %s, but the requested object is not a list (%T)", accept.as.Kind, obj))
}

// rawObject is an object inside a table row.
func rawObject(obj runtime.Object) (raw runtime.RawExtension) {
	raw.Raw, _ = encode.Marshal(obj)
	return raw
}
