package h2

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// holdBack is how much of a body is kept until its length is known, when the handler has not said it.
const holdBack = 4 << 10

// response implements http.ResponseWriter and http.Flusher. It belongs to the handler's goroutine; what it appends to the connection, under conn.mu.
type response struct {
	st     *stream
	header http.Header
	// shown is the header as it was when the status was written, while it is not sent yet.
	shown  http.Header
	status int
	sent   bool // the header is in the output
	head   bool
	length int64 // as the handler declared it; -1: not
	n      int64 // written
	held   []byte
}

var _ interface {
	http.ResponseWriter
	http.Flusher
} = (*response)(nil)

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header, 8)
	}
	return w.header
}

func bodyless(status int) bool {
	return status >= 100 && status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if status < 100 || status > 999 {
		panic("http2: invalid status code " + strconv.Itoa(status))
	}
	c := w.st.c
	if status < 200 {
		c.mu.Lock()
		w.inform(status, w.header)
		c.push()
		c.mu.Unlock()
		return
	}
	w.status = status
	h := w.Header()
	if text, ok := h["Content-Length"]; ok {
		n, err := strconv.ParseInt(text[0], 10, 64)
		if err != nil || n < 0 {
			delete(h, "Content-Length")
		} else {
			w.length = n
		}
	}
	if w.length >= 0 || w.head || bodyless(status) {
		c.mu.Lock()
		w.sendHeader(h, false)
		c.mu.Unlock()
		return
	}
	w.shown = maps.Clone(h)
}

// inform sends a header before the real one. mu is held.
func (w *response) inform(status int, h http.Header) {
	if w.st.failed() == nil && !w.sent {
		w.st.c.block.Reset()
		w.st.c.field(":status", strconv.Itoa(status))
		w.st.c.allFields(h)
		w.st.c.out.headers(w.st.id, w.st.c.block.Bytes(), false, int(w.st.c.maxFrame))
	}
}

// sendHeader appends the header. mu is held.
func (w *response) sendHeader(h http.Header, end bool) {
	w.sent, w.shown = true, nil
	c := w.st.c
	if w.st.failed() != nil {
		return
	}
	c.block.Reset()
	if w.status == http.StatusOK {
		c.field(":status", "200")
	} else {
		c.field(":status", strconv.Itoa(w.status))
	}
	c.allFields(h)
	if _, ok := h["Date"]; !ok {
		c.field("date", c.srv.now())
	}
	c.out.headers(w.st.id, c.block.Bytes(), end, int(c.maxFrame))
	if end {
		w.st.localDone = true
	}
}

// field appends a field to the block. What is different in every answer is kept out of the compression table, where it would push out what is not.
func (c *conn) field(name, value string) {
	_ = c.fields.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: name == "audit-id" || name == "content-length"})
}

// allFields writes the fields of a header, without those that HTTP/2 does not have.
func (c *conn) allFields(h http.Header) {
	for key, values := range h {
		lower, ok := wireName(key)
		if !ok {
			continue
		}
		for _, v := range values {
			if httpguts.ValidHeaderFieldValue(v) {
				c.field(lower, v)
			}
		}
	}
}

func wireName(key string) (string, bool) {
	switch key {
	case "Audit-Id":
		return "audit-id", true
	case "Cache-Control":
		return "cache-control", true
	case "Content-Type":
		return "content-type", true
	case "Content-Length":
		return "content-length", true
	case "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade":
		return "", false
	}
	if strings.HasPrefix(key, http.TrailerPrefix) || !httpguts.ValidHeaderFieldName(key) {
		return "", false
	}
	return strings.ToLower(key), true
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if bodyless(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.length >= 0 && w.n+int64(len(p)) > w.length {
		return 0, http.ErrContentLength
	}
	w.n += int64(len(p))
	if w.head {
		return len(p), nil
	}
	if !w.sent && len(w.held)+len(p) <= holdBack {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	c := w.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := w.release(p); err != nil {
		return 0, err
	}
	if err := c.send(w.st, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString implements io.StringWriter.
func (w *response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// release sends the header and what was held back. next is what will follow, for the guess of the type. mu is held.
func (w *response) release(next []byte) error {
	if w.sent {
		return w.st.failed()
	}
	h := w.shown
	start := w.held
	if len(start) == 0 {
		start = next
	}
	w.guessType(h, start)
	w.sendHeader(h, false)
	held := w.held
	w.held = nil
	return w.st.c.send(w.st, held)
}

func (w *response) guessType(h http.Header, start []byte) {
	if len(start) == 0 || h["Content-Encoding"] != nil {
		return
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = []string{http.DetectContentType(start)}
	}
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is for http.ResponseController.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	c := w.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := w.release(nil); err != nil {
		return err
	}
	c.push()
	return w.st.failed()
}

// EnableFullDuplex is for http.ResponseController: HTTP/2 is always so.
func (w *response) EnableFullDuplex() error { return nil }

// finish ends the answer. mu is held.
func (w *response) finish() error {
	c := w.st.c
	if w.status == 0 {
		w.status = http.StatusOK
		w.shown = w.Header()
	}
	trailers := w.trailers()
	if !w.sent {
		h := w.shown
		if w.head || bodyless(w.status) {
			w.sendHeader(h, true)
			return nil
		}
		w.guessType(h, w.held)
		if _, ok := h["Content-Length"]; !ok && len(trailers) == 0 {
			h["Content-Length"] = []string{strconv.Itoa(len(w.held))}
		}
		w.sendHeader(h, len(w.held) == 0 && len(trailers) == 0)
		if w.st.localDone {
			return nil
		}
		if err := c.send(w.st, w.held); err != nil {
			return err
		}
	}
	if err := w.st.failed(); err != nil {
		return err
	}
	if len(trailers) > 0 {
		c.block.Reset()
		c.allFields(trailers)
		c.out.headers(w.st.id, c.block.Bytes(), true, int(c.maxFrame))
	} else {
		c.out.end(w.st.id)
	}
	w.st.localDone = true
	return nil
}

// trailers are fields that the handler announced in Trailer and has set since, or that begin with http.TrailerPrefix.
func (w *response) trailers() http.Header {
	var out http.Header
	for key, values := range w.header {
		name, ok := strings.CutPrefix(key, http.TrailerPrefix)
		if !ok && !slices.ContainsFunc(w.header["Trailer"], func(line string) bool {
			return slices.ContainsFunc(strings.Split(line, ","), func(s string) bool { return http.CanonicalHeaderKey(strings.TrimSpace(s)) == key })
		}) {
			continue
		}
		if httpguts.ValidTrailerHeader(name) {
			if out == nil {
				out = http.Header{}
			}
			out[http.CanonicalHeaderKey(name)] = values
		}
	}
	return out
}
