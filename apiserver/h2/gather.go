package h2

import (
	"net"
	"sync"
)

// gatherAt is how much encrypted output is gathered before it is handed to the system.
const gatherAt = 64 << 10

// Listener makes connections on which TLS records can be gathered: crypto/tls writes each record by itself.
type Listener struct{ net.Listener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatherer{Conn: c}, nil
}

// gatherer is a connection below TLS. Between begin and end it keeps what is written, until there is enough.
type gatherer struct {
	net.Conn

	mu  sync.Mutex
	buf *buffer // nil: not gathering
}

func (g *gatherer) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.buf == nil {
		return g.Conn.Write(p)
	}
	if len(g.buf.b)+len(p) > cap(g.buf.b) && len(g.buf.b) > 0 {
		if err := g.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) >= gatherAt {
		return g.Conn.Write(p)
	}
	g.buf.b = append(g.buf.b, p...)
	return len(p), nil
}

func (g *gatherer) flush() error {
	_, err := g.Conn.Write(g.buf.b)
	g.buf.b = g.buf.b[:0]
	return err
}

func (g *gatherer) begin() {
	g.mu.Lock()
	g.buf = gathered.Get().(*buffer)
	g.mu.Unlock()
}

func (g *gatherer) end() (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.buf.b) > 0 {
		err = g.flush()
	}
	g.buf.b = g.buf.b[:0]
	gathered.Put(g.buf)
	g.buf = nil
	return err
}

// buffer is what pools hold: a pointer, so that putting one back allocates nothing.
type buffer struct{ b []byte }

var gathered = sync.Pool{New: func() any { return &buffer{make([]byte, 0, gatherAt+1<<10)} }}
