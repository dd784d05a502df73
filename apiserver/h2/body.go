package h2

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

var errBodyClosed = errors.New("http2: the request body was closed")

// body is the body of a request. It is guarded by conn.mu.
type body struct {
	st       *stream
	buf      []byte // received
	off      int    // of it read
	err      error  // what follows buf; nil: more is to come
	closed   bool
	declared int64 // Content-Length; -1: none
	got      int64
	arrived  sync.Cond
	// expects: the client waits to be told to go on.
	expects bool
	// announced are the trailers that the client named; trailer has their values and becomes the request's at the end of the body.
	announced, trailer http.Header
}

// add appends received bytes.
func (b *body) add(p []byte) {
	if b.off == len(b.buf) {
		b.buf, b.off = b.buf[:0], 0
	}
	if b.buf == nil && b.declared > 0 {
		b.buf = make([]byte, 0, min(b.declared, 64<<10))
	}
	b.buf = append(b.buf, p...)
	b.arrived.Signal()
}

// end says what comes after what was received.
func (b *body) end(err error) {
	if b.err == nil {
		b.err = err
	}
	b.expects = false
	b.arrived.Signal()
}

// close drops what was not read. mu is held.
func (b *body) close() {
	if b.closed {
		return
	}
	b.closed = true
	b.expects = false
	b.st.c.give(nil, len(b.buf)-b.off)
	b.buf, b.off = nil, 0
	b.arrived.Signal()
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	c := b.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if b.closed {
			return 0, errBodyClosed
		}
		if b.off < len(b.buf) {
			n := copy(p, b.buf[b.off:])
			b.off += n
			if b.off == len(b.buf) && b.err != nil {
				b.buf, b.off = nil, 0
			}
			c.give(b.st, n)
			return n, nil
		}
		if b.err != nil {
			if b.err == io.EOF {
				for k, v := range b.trailer {
					b.announced[k] = v
				}
			}
			return 0, b.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if b.expects {
			b.expects = false
			if !b.st.response.sent {
				b.st.response.inform(http.StatusContinue, nil)
				c.push()
				continue
			}
		}
		b.arrived.Wait()
	}
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.st.c.mu.Lock()
	defer b.st.c.mu.Unlock()
	b.close()
	return nil
}
