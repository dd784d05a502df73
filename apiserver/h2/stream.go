package h2

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"

	"golang.org/x/net/http2"
)

// stream is one request and its answer. It is guarded by conn.mu, apart from what belongs to the handler's goroutine.
type stream struct {
	c      *conn
	id     uint32
	cancel context.CancelFunc
	wake   sync.Cond // of the handler that waits to write; on conn.mu
	waits  bool      // it is among the output's waiters

	window int64 // that may be sent
	inflow int   // that the client may still send
	credit int   // that was read and not given back yet

	remoteDone bool  // the client has sent all
	localDone  bool  // the answer has ended
	dead       error // reset, by whichever side, or the connection's end

	body     body
	response response
	request  *http.Request
}

// failed is why nothing can be sent any more.
func (st *stream) failed() error {
	if st.dead != nil {
		return st.dead
	}
	return st.c.dead
}

// abandon ends a stream that was reset. mu is held.
func (st *stream) abandon(err error) {
	if st.dead == nil {
		st.dead = err
	}
	st.remoteDone = true
	st.body.end(err)
	st.cancel()
	st.wake.Signal()
	st.c.forget(st)
}

// trailers are header fields after the body. mu is held.
func (st *stream) trailers(f *http2.MetaHeadersFrame) error {
	if st.remoteDone {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeStreamClosed}
	}
	if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	st.remoteDone = true
	if st.body.declared >= 0 && st.body.got != st.body.declared {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	for _, hf := range f.RegularFields() {
		key := st.c.names.canonical(hf.Name)
		if _, announced := st.body.announced[key]; announced {
			st.body.trailer.Add(key, hf.Value)
		}
	}
	st.body.end(io.EOF)
	return nil
}

// serve runs the handler. It is the goroutine of the stream.
func (st *stream) serve(r *http.Request, h http.Handler) {
	done := false
	defer func() {
		var p any
		if !done {
			p = recover()
		}
		st.end(done, p)
	}()
	h.ServeHTTP(&st.response, r)
	done = true
}

// end sends what is left of the answer, or resets the stream of a handler that panicked.
func (st *stream) end(done bool, p any) {
	c := st.c
	if !done && p != nil && p != http.ErrAbortHandler && c.srv.Log != nil {
		c.srv.Log.Error("handler panicked", "client", c.remote, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if done && st.failed() == nil {
		_ = st.response.finish()
	}
	if st.failed() == nil {
		switch {
		case !st.localDone:
			c.out.reset(st.id, http2.ErrCodeInternal)
		case !st.remoteDone:
			c.out.reset(st.id, http2.ErrCodeNo) // the answer is complete, whatever else the client meant to send
		}
	}
	st.remoteDone = true
	st.body.close()
	c.running--
	c.forget(st)
	st.cancel()
	c.push()
}
