package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/store"
)

const (
	// compressFrom is the size from which an answer is worth compressing.
	compressFrom = 128 << 10
	// holdBack is how much of an answer that is not to be compressed is gathered, for its Content-Length.
	holdBack = 32 << 10
)

var newline = []byte{'\n'}

// statusGVK is the type of an answer that is no object.
var statusGVK = schema.GroupVersionKind{Version: "v1", Kind: "Status"}

// answer writes one response. It gathers the beginning of the body, to know whether it is small (Content-Length) or large (compressed, streamed).
type answer struct {
	w        http.ResponseWriter
	accept   accepted
	code     int
	compress bool
	buf      []byte
	started  bool
	gz       *gzip.Writer
	bytes    int64
}

func newAnswer(w http.ResponseWriter, r *http.Request, accept accepted, code int) *answer {
	return &answer{w: w, accept: accept, code: code, compress: mayCompress(r)}
}

// mayCompress: the client accepts gzip, and is not on this machine, where bytes are cheaper than compressing them.
func mayCompress(r *http.Request) bool {
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		return false
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return true
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}

// Write implements io.Writer for the body.
func (a *answer) Write(p []byte) (int, error) {
	a.bytes += int64(len(p))
	if !a.started {
		most := holdBack
		if a.compress {
			most = compressFrom
		}
		if len(a.buf)+len(p) < most {
			a.buf = append(a.buf, p...)
			return len(p), nil
		}
		a.start(-1)
		if len(a.buf) > 0 {
			if err := a.put(a.buf); err != nil {
				return 0, err
			}
			a.buf = nil
		}
	}
	return len(p), a.put(p)
}

func (a *answer) start(length int) {
	a.started = true
	h := a.w.Header()
	h.Set("Content-Type", a.accept.contentType())
	if length >= 0 {
		h.Set("Content-Length", strconv.Itoa(length))
	} else if a.compress {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		a.gz = gzips.Get().(*gzip.Writer)
		a.gz.Reset(a.w)
	}
	a.w.WriteHeader(a.code)
}

func (a *answer) put(p []byte) error {
	var err error
	if a.gz != nil {
		_, err = a.gz.Write(p)
	} else {
		_, err = a.w.Write(p)
	}
	return err
}

// end sends what was gathered.
func (a *answer) end() error {
	if !a.started {
		a.start(len(a.buf))
		return a.put(a.buf)
	}
	if a.gz != nil {
		err := a.gz.Close()
		gzips.Put(a.gz)
		a.gz = nil
		return err
	}
	return nil
}

var gzips = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return w
}}

// formed writes JSON (one value, without newline) in the form that was asked for.
func (a *answer) formed(data []byte) error {
	switch {
	case a.accept.media == encode.CBOR:
		b, err := encode.JSONToCBOR(data)
		if err != nil {
			return err
		}
		a.Write(b)
	case a.accept.media == encode.YAML:
		y, err := yaml.JSONToYAML(data)
		if err != nil {
			return err
		}
		a.Write(y)
	case a.accept.pretty:
		var b bytes.Buffer
		if err := json.Indent(&b, data, "", "  "); err != nil {
			return err
		}
		a.Write(b.Bytes())
	default:
		a.Write(data)
		a.Write([]byte{'\n'})
	}
	return a.end()
}

// writeObject sends any object that carries its type header.
func writeObject(w http.ResponseWriter, r *http.Request, accept accepted, code int, obj runtime.Object) error {
	a := newAnswer(w, r, accept, code)
	if accept.media == encode.Protobuf {
		gvk := obj.GetObjectKind().GroupVersionKind()
		raw, err := encode.MarshalProto(obj)
		if err == nil {
			a.Write(encode.AppendEnvelope(nil, gvk, raw))
			return a.end()
		}
		a.accept.media = encode.JSON
	}
	if accept.media == encode.CBOR {
		data, err := encode.MarshalCBOR(obj)
		if err != nil {
			return err
		}
		a.Write(data)
		return a.end()
	}
	data, err := encode.Marshal(obj)
	if err != nil {
		return err
	}
	return a.formed(data)
}

// WriteError answers a request with an error's Status, in the form the client accepts.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	accept, nerr := negotiate(r, false)
	if nerr != nil {
		accept = accepted{pretty: isPretty(r)}
	}
	status := Status(err)
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	_ = writeObject(w, r, accept, int(status.Code), status)
}

// sendResult writes what a single-object verb ended with.
func (c *call) sendResult(w http.ResponseWriter, r *http.Request, accept accepted, code int, out result) error {
	if out.record == nil {
		if s, ok := out.object.(*metav1.Status); ok {
			s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
			accept.as = schema.GroupVersionKind{}
		}
		if accept.as.Kind != "" {
			return c.sendTransformed(w, r, accept, code, out.object)
		}
		return writeObject(w, r, accept, code, out.object)
	}
	if accept.as.Kind != "" {
		obj, err := c.decoded(out.record)
		if err != nil {
			return err
		}
		return c.sendTransformed(w, r, accept, code, obj)
	}
	if accept.media == encode.CBOR {
		obj, err := c.decoded(out.record)
		if err != nil {
			return err
		}
		v, err := c.view(obj)
		if err != nil {
			return err
		}
		return writeObject(w, r, accept, code, v)
	}
	a := newAnswer(w, r, accept, code)
	if accept.media == encode.Protobuf {
		data, err := encode.AppendProto(nil, c.head, out.record, 0)
		if err != nil {
			return err
		}
		a.Write(data)
		return a.end()
	}
	if out.source != nil {
		if err := c.cache.Prime(c.head, out.record, out.source); err != nil {
			return err
		}
	}
	head, rest, err := c.cache.Object(c.head, out.record)
	if err != nil {
		return err
	}
	if n := len(head) + len(rest) + 1; accept.media == encode.JSON && !accept.pretty && (!a.compress || n < compressFrom) {
		// The parts go to the connection as they are.
		a.start(n)
		for _, part := range [][]byte{head, rest, newline} {
			if err := a.put(part); err != nil {
				return err
			}
		}
		a.bytes += int64(n)
		return nil
	}
	return a.formed(slices.Concat(head, rest))
}

// sendList writes the records of a list.
func (c *call) sendList(w http.ResponseWriter, r *http.Request, accept accepted, meta metav1.ListMeta, records []*store.Record) (int64, error) {
	a := newAnswer(w, r, accept, http.StatusOK)
	var err error
	plain := accept.media == encode.JSON && !accept.pretty
	var out interface {
		Write([]byte) (int, error)
	} = a
	var whole bytes.Buffer
	if !plain && accept.media != encode.Protobuf {
		out = &whole
	}
	switch accept.as.Kind {
	case "Table":
		err = c.writeTable(out, r, accept, meta, records)
	case "PartialObjectMetadata", "PartialObjectMetadataList":
		err = c.writePartialList(out, accept, meta, records)
	default:
		if accept.media == encode.CBOR {
			return c.sendCBORList(a, meta, records)
		}
		if accept.media == encode.Protobuf {
			err = encode.WriteProtoList(out, c.head, meta, records)
		} else {
			err = c.cache.WriteList(out, c.head, meta, records)
		}
	}
	if err != nil {
		if a.started {
			c.log.Error("list broke off", "resource", c.plural, "error", err)
			panic(http.ErrAbortHandler) // the client must not take a part for the whole
		}
		return 0, err
	}
	if whole.Len() > 0 {
		err = a.formed(bytes.TrimSuffix(whole.Bytes(), []byte{'\n'}))
	} else {
		err = a.end()
	}
	return a.bytes, err
}

// sendCBORList writes a list in CBOR, which is made as a whole.
func (c *call) sendCBORList(a *answer, m metav1.ListMeta, records []*store.Record) (int64, error) {
	items := make([]runtime.Object, len(records))
	for i, rec := range records {
		obj, err := c.decoded(rec)
		if err != nil {
			return 0, err
		}
		if items[i], err = encode.Convert(c.served, obj); err != nil {
			return 0, err
		}
	}
	list := c.served.NewList()
	if err := meta.SetList(list, items); err != nil {
		return 0, err
	}
	gvk := c.gvk()
	gvk.Kind += "List"
	list.GetObjectKind().SetGroupVersionKind(gvk)
	acc, err := meta.ListAccessor(list)
	if err != nil {
		return 0, err
	}
	acc.SetResourceVersion(m.ResourceVersion)
	acc.SetContinue(m.Continue)
	acc.SetRemainingItemCount(m.RemainingItemCount)
	data, err := encode.MarshalCBOR(list)
	if err != nil {
		return 0, err
	}
	a.Write(data)
	return a.bytes, a.end()
}

func badQuery(err error) error {
	return apiError(http.StatusBadRequest, metav1.StatusReasonBadRequest, fmt.Sprint(err))
}
