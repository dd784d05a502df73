package h2

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves the HTTP/2 connections of an http.Server. The zero value has defaults.
type Server struct {
	// MaxStreams is how many requests a connection may have at once; 0: 250.
	MaxStreams uint32
	// Log is told of handlers that panic; nil: nobody is.
	Log *slog.Logger

	date atomic.Pointer[date]

	mu    sync.Mutex
	conns map[*conn]struct{}
	ends  bool
}

const (
	defaultStreams = 250
	// streamBuffer and connBuffer are the request bodies, not yet read by handlers, that a stream and a connection may hold.
	streamBuffer = 1 << 20
	connBuffer   = 1 << 20
	// maxReadFrame is the largest frame that is accepted. A connection keeps a buffer of the largest one that came.
	maxReadFrame = 64 << 10
	// headerTable is the size of the compression table for headers, in both directions.
	headerTable = 4 << 10
	// firstFrames is how long a client may take to begin.
	firstFrames = 10 * time.Second
	// lingerAfterError is how long a connection that failed is kept open, so that the client can read why.
	lingerAfterError = time.Second
)

// Attach makes web serve HTTP/2 through s. It must be called before web serves; connections should come from a [Listener].
func (s *Server) Attach(web *http.Server) {
	web.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": s.serve}
	web.RegisterOnShutdown(s.shutdown)
}

func (s *Server) streams() uint32 {
	if s.MaxStreams == 0 {
		return defaultStreams
	}
	return s.MaxStreams
}

func (s *Server) serve(web *http.Server, tc *tls.Conn, h http.Handler) {
	base := context.Background()
	if b, ok := h.(interface{ BaseContext() context.Context }); ok {
		base = b.BaseContext()
	}
	idle := web.IdleTimeout
	if idle == 0 {
		idle = web.ReadTimeout
	}
	headers := web.MaxHeaderBytes
	if headers <= 0 {
		headers = http.DefaultMaxHeaderBytes
	}
	c := newConn(s, tc, h, base, idle, uint32(headers))
	s.mu.Lock()
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	ends := s.ends
	s.mu.Unlock()
	if ends {
		c.retire()
	}
	c.run()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// shutdown lets the requests of all connections end, and takes no new ones.
func (s *Server) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = true
	for c := range s.conns {
		c.retire()
	}
}

// date is the Date header of one second.
type date struct {
	second int64
	text   string
}

func (s *Server) now() string {
	t := time.Now()
	if d := s.date.Load(); d != nil && d.second == t.Unix() {
		return d.text
	}
	d := &date{t.Unix(), t.UTC().Format(http.TimeFormat)}
	s.date.Store(d)
	return d.text
}
