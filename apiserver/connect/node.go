package connect

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// NodeDialer reaches the HTTP server of a node agent. Connections are authenticated by how they were made: in process, or inside the connection that the
// agent opened.
type NodeDialer interface {
	DialNode(ctx context.Context, nodeName string) (net.Conn, error)
}

// backend is the way to one server for the time of one request: its connections end with the request, also those that were taken over by an upgrade.
type backend struct {
	*http.Transport
	stop func() bool

	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

func newBackend(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error)) *backend {
	b := &backend{}
	b.Transport = &http.Transport{
		DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return c, b.keep(c)
		},
	}
	b.stop = context.AfterFunc(ctx, b.close)
	return b
}

func (b *backend) keep(c net.Conn) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		c.Close()
		return net.ErrClosed
	}
	b.conns = append(b.conns, c)
	return nil
}

func (b *backend) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, c := range b.conns {
		c.Close()
	}
}

// end lets go of everything. To be called when the request is over.
func (b *backend) end() {
	b.stop()
	b.close()
}

// toNode is the way to the agent of a node.
func (h *handlers) toNode(ctx context.Context, node string) *backend {
	return newBackend(ctx, func(ctx context.Context, _, _ string) (net.Conn, error) {
		if h.cfg.Nodes == nil {
			return nil, fmt.Errorf("node %q cannot be reached: this server has no nodes", node)
		}
		return h.cfg.Nodes.DialNode(ctx, node)
	})
}
