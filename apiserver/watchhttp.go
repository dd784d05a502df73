package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"strings"

	"github.com/gorilla/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
)

// frames turns what a watcher sees into bytes.
type frames struct {
	*call
	accept accepted
	table  *tabler
	begun  bool // a table's columns come with its first event
}

func (f *frames) append(dst []byte, v seen) ([]byte, error) {
	event := string(v.event)
	if f.accept.as.Kind == "" {
		if f.accept.media == encode.CBOR {
			return f.cborFrame(dst, v)
		}
		if f.accept.media == encode.Protobuf {
			return encode.AppendProtoFrame(dst, f.head, event, v.record, v.revision)
		}
		return f.cache.AppendFrame(dst, f.head, event, v.record, v.revision)
	}
	obj, err := f.decoded(v.record)
	if err != nil {
		return dst, err
	}
	if v.revision != 0 {
		obj = shallow(obj)
		setRevision(obj, v.revision)
	}
	if f.table != nil {
		data, err := f.table.single(obj, !f.begun)
		if err != nil {
			return dst, err
		}
		f.begun = true
		return encode.AppendValueFrame(dst, event, json.RawMessage(data))
	}
	p := partial(obj, f.accept.as.Version)
	if f.accept.media == encode.CBOR {
		return encode.CBORFrame(dst, event, p)
	}
	if f.accept.media == encode.Protobuf {
		return encode.AppendValueProtoFrame(dst, event, schema.GroupVersionKind{Group: "meta.k8s.io", Version: f.accept.as.Version, Kind: p.Kind}, p)
	}
	return encode.AppendValueFrame(dst, event, p)
}

func (f *frames) cborFrame(dst []byte, v seen) ([]byte, error) {
	obj, err := f.decoded(v.record)
	if err != nil {
		return dst, err
	}
	shown, err := f.view(obj)
	if err != nil {
		return dst, err
	}
	if v.revision != 0 {
		setRevision(shown.(kinds.Object), v.revision)
	}
	return encode.CBORFrame(dst, string(v.event), shown)
}

func (f *frames) appendBookmark(dst []byte, revision string, initialEnd bool) ([]byte, error) {
	if f.accept.as.Kind == "" {
		return encode.BookmarkFrame(dst, f.head, f.accept.media, revision, initialEnd)
	}
	obj := f.served.New()
	obj.SetResourceVersion(revision)
	if initialEnd {
		obj.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	p := partial(obj, f.accept.as.Version)
	if f.table != nil {
		t := *f.table
		t.include = metav1.IncludeMetadata
		data, err := t.open(nil, metav1.ListMeta{ResourceVersion: revision}, !f.begun)
		if err != nil {
			return dst, err
		}
		f.begun = true
		row, err := json.Marshal(metav1.TableRow{Cells: []any{}, Object: rawObject(p)})
		if err != nil {
			return dst, err
		}
		data = append(append(data, row...), "]}"...)
		return encode.AppendValueFrame(dst, string(watch.Bookmark), json.RawMessage(data))
	}
	if f.accept.media == encode.CBOR {
		return encode.CBORFrame(dst, string(watch.Bookmark), p)
	}
	if f.accept.media == encode.Protobuf {
		return encode.AppendValueProtoFrame(dst, string(watch.Bookmark), schema.GroupVersionKind{Group: "meta.k8s.io", Version: f.accept.as.Version, Kind: p.Kind}, p)
	}
	return encode.AppendValueFrame(dst, string(watch.Bookmark), p)
}

// flushAt is how much a watch gathers before it writes even though more is at hand.
const flushAt = 64 << 10

// httpSink writes frames to a response: one write and one flush for all events of a batch.
type httpSink struct {
	frames
	w     http.ResponseWriter
	flat  http.Flusher
	buf   []byte
	count int64
}

func (s *httpSink) object(v seen) (err error) {
	s.count++
	if s.buf, err = s.append(s.buf, v); err == nil && len(s.buf) > flushAt {
		err = s.write()
	}
	return err
}

func (s *httpSink) bookmark(revision string, initialEnd bool) (err error) {
	s.buf, err = s.appendBookmark(s.buf, revision, initialEnd)
	return err
}

func (s *httpSink) failure(status *metav1.Status) (err error) {
	s.buf, err = encode.StatusFrame(s.buf, s.accept.media, status)
	return err
}

func (s *httpSink) write() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.w.Write(s.buf)
	if cap(s.buf) > 2*flushAt {
		s.buf = nil // do not keep what a burst needed
	}
	s.buf = s.buf[:0]
	return err
}

func (s *httpSink) flush() error {
	if err := s.write(); err != nil {
		return err
	}
	runtime.Gosched() // others that are ready write to the same connection first: then one flush is for all of them
	s.flat.Flush()
	return nil
}

// socketSink sends each frame as a message of a WebSocket.
type socketSink struct {
	frames
	conn  *websocket.Conn
	count int64
}

func (s *socketSink) send(data []byte, err error) error {
	if err != nil {
		return err
	}
	if s.accept.media == encode.CBOR {
		return s.conn.WriteMessage(websocket.BinaryMessage, data)
	}
	if s.accept.media == encode.Protobuf {
		return s.conn.WriteMessage(websocket.BinaryMessage, data[4:]) // messages need no length in front
	}
	return s.conn.WriteMessage(websocket.TextMessage, data)
}

func (s *socketSink) object(v seen) error {
	s.count++
	return s.send(s.append(nil, v))
}

func (s *socketSink) bookmark(revision string, initialEnd bool) error {
	return s.send(s.appendBookmark(nil, revision, initialEnd))
}

func (s *socketSink) failure(status *metav1.Status) error {
	return s.send(encode.StatusFrame(nil, s.accept.media, status))
}

func (s *socketSink) flush() error { return nil }

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// serveWatch streams a watch over HTTP, or over a WebSocket when the client asks to upgrade. It returns the number of events.
func (c *call) serveWatch(w http.ResponseWriter, r *http.Request, accept accepted, opts *metav1.ListOptions) int64 {
	if accept.media == encode.YAML || accept.media == encode.CBOR && accept.as.Kind == "Table" {
		WriteError(w, r, notAcceptable(mediaJSON, mediaProtobuf))
		return 0
	}
	f := frames{call: c, accept: accept}
	if accept.as.Kind == "Table" {
		var err error
		if f.table, err = c.tabler(r, accept); err != nil {
			WriteError(w, r, err)
			return 0
		}
	}
	stream, err := c.watch(opts)
	var inside streamError
	if err != nil && !errors.As(err, &inside) {
		WriteError(w, r, err)
		return 0
	}
	c.watching.Add(1)
	defer c.watching.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(c.stop, cancel)()
	if stream != nil {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, stream.timeout())
		defer done()
		stream.gather = true
	}
	if websocket.IsWebSocketUpgrade(r) {
		if stream != nil {
			defer stream.watcher.Close()
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return 0
		}
		defer conn.Close()
		s := &socketSink{frames: f, conn: conn}
		if stream == nil {
			_ = s.failure(Status(inside.error))
			return 0
		}
		go func() { // only to see the client go
			defer cancel()
			for {
				if _, _, err := conn.NextReader(); err != nil {
					return
				}
			}
		}()
		_ = stream.run(ctx, s)
		_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
		return s.count
	}
	flusher, ok := w.(http.Flusher)
	if !ok {
		if stream != nil {
			stream.watcher.Close()
		}
		WriteError(w, r, errors.New("unable to start watch - can't get http.Flusher"))
		return 0
	}
	contentType := accept.contentType()
	if accept.media == encode.Protobuf {
		contentType += ";stream=watch"
	} else if accept.media == encode.CBOR {
		contentType = mediaCBORSeq
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	s := &httpSink{frames: f, w: w, flat: flusher}
	if stream == nil {
		if s.failure(Status(inside.error)) == nil {
			_ = s.flush()
		}
		return 0
	}
	flusher.Flush()
	if err := stream.run(ctx, s); err != nil && ctx.Err() == nil {
		c.log.Debug("watch ended", "resource", c.plural, "error", err)
	}
	return s.count
}

// wantsWatch reports whether a GET is a watch.
func wantsWatch(query string, value func(string) string) bool {
	if !strings.Contains(query, "watch") {
		return false
	}
	v := value("watch")
	return v != "" && v != "0" && !strings.EqualFold(v, "false") // as upstream reads a boolean
}
