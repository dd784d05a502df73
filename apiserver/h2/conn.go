package h2

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// conn is one connection. Its goroutine reads; handlers and whoever finds nobody writing write.
type conn struct {
	srv     *Server
	tls     *tls.Conn
	below   *gatherer // nil: the listener is another one
	handler http.Handler
	base    context.Context
	remote  string
	state   tls.ConnectionState
	in      *bufio.Reader
	framer  *http2.Framer
	idle    time.Duration
	names   names

	mu      sync.Mutex
	out     output
	streams map[uint32]*stream
	running uint32 // handlers, also those whose stream was reset
	highest uint32 // stream that the client has opened
	// window is what may be sent; initial is what a new stream may send; maxFrame is the largest frame.
	window   int64
	initial  int64
	maxFrame uint32
	// credit is what was read of bodies and not given back yet; inflow what the client may still send.
	credit int
	inflow int

	fields   *hpack.Encoder
	block    bytes.Buffer // what fields writes
	settled  bool         // the first SETTINGS came
	leaving  bool         // GOAWAY was sent
	hungUp   bool
	dead     error
	restless *time.Timer // closes the connection when it is idle
	active   time.Time   // when the last stream ended
}

func newConn(s *Server, tc *tls.Conn, h http.Handler, base context.Context, idle time.Duration, headers uint32) *conn {
	c := &conn{
		srv: s, tls: tc, handler: h, base: base, remote: tc.RemoteAddr().String(), state: tc.ConnectionState(), idle: idle, names: names{},
		streams: map[uint32]*stream{}, window: defaultWindow, initial: defaultWindow, maxFrame: defaultFrame, inflow: connBuffer,
	}
	c.below, _ = tc.NetConn().(*gatherer)
	c.in = bufio.NewReaderSize(tc, 4<<10)
	c.framer = http2.NewFramer(nil, c.in)
	c.framer.SetMaxReadFrameSize(maxReadFrame)
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(headerTable, nil)
	c.framer.MaxHeaderListSize = headers
	c.fields = hpack.NewEncoder(&c.block)
	c.fields.SetMaxDynamicTableSizeLimit(headerTable)

	settings := []http2.Setting{
		{ID: http2.SettingMaxFrameSize, Val: maxReadFrame}, {ID: http2.SettingMaxConcurrentStreams, Val: s.streams()},
		{ID: http2.SettingMaxHeaderListSize, Val: headers}, {ID: http2.SettingInitialWindowSize, Val: streamBuffer},
	}
	b := c.out.frame(http2.FrameSettings, 0, 0, 6*len(settings))
	for _, s := range settings {
		b.b = append(b.b, byte(s.ID>>8), byte(s.ID), byte(s.Val>>24), byte(s.Val>>16), byte(s.Val>>8), byte(s.Val))
	}
	c.out.windowUpdate(0, connBuffer-defaultWindow)
	return c
}

// run reads until the connection ends.
func (c *conn) run() {
	c.mu.Lock()
	c.pushSoon()
	c.mu.Unlock()
	c.tls.SetReadDeadline(time.Now().Add(firstFrames))
	err := c.preface()
	if err == nil && !c.adequate() {
		err = http2.ConnectionError(http2.ErrCodeInadequateSecurity)
	}
	if err == nil && c.idle > 0 {
		c.mu.Lock()
		c.active = time.Now()
		c.restless = time.AfterFunc(c.idle, c.retireIdle)
		c.mu.Unlock()
	}
	for err == nil {
		err = c.next()
	}
	c.finish(err)
}

// adequate: RFC 9113 forbids the older cipher suites of TLS 1.2.
func (c *conn) adequate() bool {
	if c.state.Version >= tls.VersionTLS13 {
		return true
	}
	switch c.state.CipherSuite {
	case tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		return true
	}
	return false
}

func (c *conn) preface() error {
	var have [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.in, have[:]); err != nil {
		return err
	}
	if string(have[:]) != http2.ClientPreface {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// next reads and handles one frame.
func (c *conn) next() error {
	f, err := c.framer.ReadFrame()
	var stream http2.StreamError
	if errors.As(err, &stream) {
		return c.refuse(stream.StreamID, stream.Code)
	}
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return http2.ConnectionError(http2.ErrCodeFrameSize)
	}
	if err != nil {
		return err
	}
	if err = c.handle(f); errors.As(err, &stream) {
		return c.refuse(stream.StreamID, stream.Code)
	}
	return err
}

func (c *conn) handle(f http2.Frame) error {
	if !c.settled {
		if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.settled = true
		c.tls.SetReadDeadline(time.Time{})
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.RSTStreamFrame:
		return c.resetByClient(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.answer(func() { c.out.ping(f.Data) })
		}
	case *http2.GoAwayFrame:
		c.retire()
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// answer appends control frames. The reader does not write itself: a client that does not read must still be heard.
func (c *conn) answer(add func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	add()
	if c.out.control > maxControl {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	c.pushSoon()
	return nil
}

// refuse resets a stream of which the client broke the rules.
func (c *conn) refuse(id uint32, code http2.ErrCode) error {
	return c.answer(func() {
		c.highest = max(c.highest, id)
		c.out.reset(id, code)
		if st := c.streams[id]; st != nil {
			st.abandon(http2.StreamError{StreamID: id, Code: code})
		}
	})
}

func (c *conn) headers(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	if id%2 != 1 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	st := c.streams[id]
	if st != nil {
		defer c.mu.Unlock()
		return st.trailers(f)
	}
	if id <= c.highest {
		c.mu.Unlock()
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	}
	if c.leaving {
		c.mu.Unlock()
		return nil // the client was told that this one is not handled
	}
	c.highest = id
	if c.running >= c.srv.streams() {
		c.mu.Unlock()
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	initial := c.initial
	c.mu.Unlock()
	if f.HasPriority() && f.Priority.StreamDep == id {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	st = &stream{c: c, id: id, window: initial, inflow: streamBuffer}
	r, handler, err := c.request(st, f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	// The window may not have changed: only this goroutine reads settings.
	c.streams[id] = st
	c.running++
	c.mu.Unlock()
	go st.serve(r, handler)
	return nil
}

func (c *conn) data(f *http2.DataFrame) error {
	id, size := f.StreamID, int(f.Length)
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == 0 || id > c.highest && !c.leaving {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if size > c.inflow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.inflow -= size
	st := c.streams[id]
	if st == nil || st.remoteDone {
		c.give(nil, size)
		if id > c.highest {
			return nil
		}
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	}
	if size > st.inflow {
		c.give(nil, size)
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
	}
	st.inflow -= size
	data := f.Data()
	b := &st.body
	b.got += int64(len(data))
	if b.declared >= 0 && (b.got > b.declared || f.StreamEnded() && b.got != b.declared) {
		c.give(nil, size)
		b.end(errors.New("http2: the body is not as long as its Content-Length"))
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	if b.closed {
		c.give(nil, size)
	} else {
		b.add(data)
		c.give(st, size-len(data)) // padding is not read by anybody
	}
	if f.StreamEnded() {
		st.remoteDone = true
		b.end(io.EOF)
	}
	return nil
}

// give returns credit for body bytes that were read or dropped: to the connection, and to a stream that goes on. mu is held.
func (c *conn) give(st *stream, n int) {
	if n == 0 {
		return
	}
	before := c.out.size()
	if c.credit += n; c.credit >= connBuffer/4 {
		c.out.windowUpdate(0, c.credit)
		c.inflow += c.credit
		c.credit = 0
	}
	if st != nil && !st.remoteDone {
		if st.credit += n; st.credit >= streamBuffer/4 {
			c.out.windowUpdate(st.id, st.credit)
			st.inflow += st.credit
			st.credit = 0
		}
	}
	if c.out.size() > before {
		c.pushSoon()
	}
}

func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		c.window += int64(f.Increment)
		if c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.wakeWaiters()
		return nil
	}
	st := c.streams[f.StreamID]
	if st == nil {
		if f.StreamID > c.highest && !c.leaving {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil // it has ended meanwhile
	}
	st.window += int64(f.Increment)
	if st.window > maxWindow {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	st.wake.Signal()
	return nil
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if f.NumSettings() > 100 || f.HasDuplicates() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return c.answerWith(func() error {
		err := f.ForeachSetting(func(s http2.Setting) error {
			if err := s.Valid(); err != nil {
				return err
			}
			switch s.ID {
			case http2.SettingHeaderTableSize:
				c.fields.SetMaxDynamicTableSize(s.Val)
			case http2.SettingMaxFrameSize:
				c.maxFrame = s.Val
			case http2.SettingInitialWindowSize:
				grown := int64(s.Val) - c.initial
				c.initial = int64(s.Val)
				for _, st := range c.streams {
					if st.window += grown; st.window > maxWindow {
						return http2.ConnectionError(http2.ErrCodeFlowControl)
					}
					st.wake.Signal()
				}
			}
			return nil
		})
		if err == nil {
			c.out.frame(http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
			c.out.control++
		}
		return err
	})
}

func (c *conn) answerWith(add func() error) (err error) {
	return errors.Join(c.answer(func() { err = add() }), err)
}

func (c *conn) resetByClient(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 || f.StreamID > c.highest && !c.leaving {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if st := c.streams[f.StreamID]; st != nil {
		st.abandon(http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode})
	}
	return nil
}

// forget takes a stream out. mu is held.
func (c *conn) forget(st *stream) {
	if c.streams[st.id] != st {
		return
	}
	delete(c.streams, st.id)
	if len(c.streams) == 0 {
		c.active = time.Now()
		if c.leaving && c.out.size() == 0 && !c.out.writing {
			c.hangUp()
		}
	}
}

// retire sends GOAWAY, and closes the connection when its streams have ended.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retireLocked()
}

func (c *conn) retireLocked() {
	if c.leaving || c.dead != nil {
		return
	}
	c.leaving = true
	c.out.goAway(c.highest, http2.ErrCodeNo)
	c.pushSoon()
}

// retireIdle ends a connection without streams, or looks again when it may be idle for long enough.
func (c *conn) retireIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil || c.leaving {
		return
	}
	left := c.idle
	if len(c.streams) == 0 {
		left -= time.Since(c.active)
	}
	if left <= 0 {
		c.retireLocked()
		return
	}
	c.restless.Reset(left)
}

// hangUp closes the connection; the reader notices. mu is held.
func (c *conn) hangUp() {
	if !c.hungUp {
		c.hungUp = true
		go c.tls.Close() // may wait for the client
	}
}

// die ends all streams. mu is held.
func (c *conn) die(err error) {
	if c.dead != nil {
		return
	}
	c.dead = err
	for _, st := range c.streams {
		st.abandon(err)
	}
	c.wakeWaiters()
}

// finish tells the client what it did wrong, when it did, and lets go of everything.
func (c *conn) finish(err error) {
	var code http2.ConnectionError
	c.mu.Lock()
	if errors.As(err, &code) && c.dead == nil {
		c.leaving = true
		c.out.goAway(c.highest, http2.ErrCode(code))
		c.tls.SetDeadline(time.Now().Add(lingerAfterError))
		c.push()
		writing := c.out.writing
		c.mu.Unlock()
		if !writing {
			c.tls.CloseWrite()
		}
		io.Copy(io.Discard, c.tls) // input that is not read would make the system take back what was sent
		c.mu.Lock()
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = errClosed
	}
	c.die(err)
	if c.restless != nil {
		c.restless.Stop()
	}
	c.mu.Unlock()
	c.tls.Close()
}
