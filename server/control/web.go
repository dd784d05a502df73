package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tenet-run/tenet/apiserver/h2"
)

// Web is the HTTP server of a control plane.
type Web struct {
	http.Server
	requests atomic.Int64 // under way, long ones aside
	ending   atomic.Bool
	idle     chan struct{}
}

// maxStreams is how many requests a client may have on one connection: watches, mostly.
const maxStreams = 1000

// Web makes the HTTP server, ready to serve listeners with TLS.
func (c *Control) Web(tls *tls.Config) *Web {
	w := &Web{idle: make(chan struct{}, 1)}
	handler := c.Handler()
	w.Server = http.Server{
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if longRunning(r) {
				handler.ServeHTTP(rw, r)
				return
			}
			w.requests.Add(1)
			defer w.done()
			handler.ServeHTTP(rw, r)
		}),
		TLSConfig: tls, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(c.cfg.Logger.Handler(), slog.LevelDebug),
	}
	(&h2.Server{MaxStreams: maxStreams, Log: c.cfg.Logger}).Attach(&w.Server)
	return w
}

// ServeTLS serves a listener until the server ends.
func (w *Web) ServeTLS(l net.Listener) error {
	if err := w.Server.ServeTLS(h2.Listener{Listener: l}, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("API server: %w", err)
	}
	return nil
}

func (w *Web) done() {
	if w.requests.Add(-1) == 0 && w.ending.Load() {
		select {
		case w.idle <- struct{}{}:
		default:
		}
	}
}

const (
	// shutdownTime is how long requests have to end by themselves; flushTime, their answers to leave.
	shutdownTime = 500 * time.Millisecond
	flushTime    = 50 * time.Millisecond
)

// End takes no new connections, lets short requests end for a moment and cuts the rest: watches, connections, idle clients.
// (http.Server.Shutdown waits for clients to hang up, which those with HTTP/2 do not do for a second.)
func (w *Web) End() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.Shutdown(ctx) // closes the listeners
	w.ending.Store(true)
	if w.requests.Load() > 0 {
		select {
		case <-w.idle:
		case <-time.After(shutdownTime):
		}
		// What the last ones answered is on its way out.
		ctx, cancel := context.WithTimeout(context.Background(), flushTime)
		defer cancel()
		_ = w.Shutdown(ctx)
	}
	w.Close()
}

// Serve runs the control plane and serves a listener, until ctx ends or something fails. ready is called once, when the first objects are there; it may be nil.
func (c *Control) Serve(ctx context.Context, l net.Listener, tls *tls.Config, ready func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	web := c.Web(tls)
	go func() {
		if err := web.ServeTLS(l); err != nil {
			cancel(err)
		}
	}()
	defer web.End()
	go func() {
		select {
		case <-c.Booted():
			if ready != nil {
				ready()
			}
		case <-ctx.Done():
		}
	}()
	if err := c.Run(ctx); err != nil {
		return err
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
