package h2

import (
	"encoding/binary"
	"errors"
	"sync"

	"golang.org/x/net/http2"
)

const (
	frameHeader = 9
	// pushAt is the output that is written even though its handler goes on.
	pushAt = 64 << 10
	// maxOut is the output that may wait to be written; handlers wait for room.
	maxOut = 128 << 10
	// maxControl is how many answers to a client's control frames may wait: one that sends many and reads none is cut off.
	maxControl = 10_000
	// maxRounds is how often one handler writes what others have gathered meanwhile; then a goroutine of its own goes on.
	maxRounds = 8
	// defaultWindow and defaultFrame hold until the client says otherwise.
	defaultWindow = 65535
	defaultFrame  = 16384
	maxWindow     = 1<<31 - 1
)

var errClosed = errors.New("http2: the connection is closed")

var outputs = sync.Pool{New: func() any { return &buffer{make([]byte, 0, maxOut+8<<10)} }}

// output is what a connection has to send. It is guarded by conn.mu.
type output struct {
	buf     *buffer // frames, whole ones; nil: none
	writing bool    // somebody writes
	soon    bool    // a goroutine is on its way to write
	control int     // control frames in buf
	// last is where the last frame in buf begins when that is DATA of stream open, which may still grow; open is 0 otherwise.
	last int
	open uint32
	// waiters are streams that wait for room, or for the window of the connection.
	waiters []*stream
}

func (o *output) size() int {
	if o.buf == nil {
		return 0
	}
	return len(o.buf.b)
}

// frame begins a frame and returns the buffer, to which its payload of the given size is to be appended.
func (o *output) frame(t http2.FrameType, flags http2.Flags, id uint32, size int) *buffer {
	if o.buf == nil {
		o.buf = outputs.Get().(*buffer)
	}
	o.open = 0
	o.buf.b = append(o.buf.b, byte(size>>16), byte(size>>8), byte(size), byte(t), byte(flags), byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	return o.buf
}

// data appends body bytes of a stream as frames of at most max bytes, the first of which may be the last one there is.
func (o *output) data(id uint32, p []byte, max int) {
	if o.open == id && o.buf != nil {
		have := len(o.buf.b) - o.last - frameHeader
		if n := min(len(p), max-have); n > 0 {
			o.buf.b = append(o.buf.b, p[:n]...)
			have += n
			h := o.buf.b[o.last:]
			h[0], h[1], h[2] = byte(have>>16), byte(have>>8), byte(have)
			p = p[n:]
		}
	}
	for len(p) > 0 {
		n := min(len(p), max)
		b := o.frame(http2.FrameData, 0, id, n)
		o.last, o.open = len(b.b)-frameHeader, id
		b.b = append(b.b, p[:n]...)
		p = p[n:]
	}
}

// end ends a stream.
func (o *output) end(id uint32) {
	if o.open == id && o.buf != nil {
		o.buf.b[o.last+4] |= byte(http2.FlagDataEndStream)
		o.open = 0
		return
	}
	o.frame(http2.FrameData, http2.FlagDataEndStream, id, 0)
}

func (o *output) windowUpdate(id uint32, n int) {
	b := o.frame(http2.FrameWindowUpdate, 0, id, 4)
	b.b = binary.BigEndian.AppendUint32(b.b, uint32(n))
	o.control++
}

func (o *output) reset(id uint32, code http2.ErrCode) {
	b := o.frame(http2.FrameRSTStream, 0, id, 4)
	b.b = binary.BigEndian.AppendUint32(b.b, uint32(code))
	o.control++
}

func (o *output) ping(data [8]byte) {
	b := o.frame(http2.FramePing, http2.FlagPingAck, 0, 8)
	b.b = append(b.b, data[:]...)
	o.control++
}

func (o *output) goAway(last uint32, code http2.ErrCode) {
	b := o.frame(http2.FrameGoAway, 0, 0, 8)
	b.b = binary.BigEndian.AppendUint32(b.b, last)
	b.b = binary.BigEndian.AppendUint32(b.b, uint32(code))
}

// headers appends a block of header fields, in as many frames as it needs.
func (o *output) headers(id uint32, block []byte, end bool, max int) {
	flags := http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	t := http2.FrameHeaders
	for {
		part := block[:min(len(block), max)]
		if block = block[len(part):]; len(block) == 0 {
			flags |= http2.FlagHeadersEndHeaders // the same bit in CONTINUATION
		}
		b := o.frame(t, flags, id, len(part))
		b.b = append(b.b, part...)
		if len(block) == 0 {
			return
		}
		t, flags = http2.FrameContinuation, 0
	}
}

// push writes what there is, unless somebody is at it: then that one goes on until nothing is left. mu is held, and let go of meanwhile.
func (c *conn) push() {
	o := &c.out
	if o.writing {
		return
	}
	o.writing = true
	for round := 0; o.size() > 0 && c.dead == nil; round++ {
		if round >= maxRounds {
			o.writing = false
			c.pushSoon()
			return
		}
		b := o.buf
		o.buf, o.open, o.control = nil, 0, 0
		c.mu.Unlock()
		err := c.write(b.b)
		if cap(b.b) <= 2*maxOut {
			b.b = b.b[:0]
			outputs.Put(b)
		}
		c.mu.Lock()
		if err != nil {
			c.die(err)
		}
		c.wakeWaiters()
	}
	o.writing = false
	c.wakeWaiters()
	if c.dead != nil || c.leaving && len(c.streams) == 0 && o.size() == 0 {
		c.hangUp()
	}
}

// pushSoon lets a goroutine of its own write. mu is held.
func (c *conn) pushSoon() {
	if !c.out.writing && !c.out.soon {
		c.out.soon = true
		go func() {
			c.mu.Lock()
			c.out.soon = false
			c.push()
			c.mu.Unlock()
		}()
	}
}

// write encrypts and sends.
func (c *conn) write(p []byte) error {
	if c.below == nil {
		_, err := c.tls.Write(p)
		return err
	}
	c.below.begin()
	_, err := c.tls.Write(p)
	return errors.Join(err, c.below.end())
}

func (c *conn) wakeWaiters() {
	for i, st := range c.out.waiters {
		st.waits = false
		st.wake.Signal()
		c.out.waiters[i] = nil
	}
	c.out.waiters = c.out.waiters[:0]
}

// send appends body bytes of a stream, and waits for windows and room as long as it takes. mu is held.
func (c *conn) send(st *stream, p []byte) error {
	for {
		if err := st.failed(); err != nil {
			return err
		}
		if len(p) == 0 {
			return nil
		}
		room := maxOut - c.out.size()
		n := int(min(int64(len(p)), st.window, c.window, int64(room)))
		if n > 0 {
			c.out.data(st.id, p[:n], int(c.maxFrame))
			st.window -= int64(n)
			c.window -= int64(n)
			p = p[n:]
			if c.out.size() >= pushAt {
				c.push()
			}
			continue
		}
		if c.out.size() > 0 && !c.out.writing {
			c.push()
			continue
		}
		if st.window > 0 && !st.waits {
			st.waits = true
			c.out.waiters = append(c.out.waiters, st)
		}
		st.wake.Wait()
	}
}
