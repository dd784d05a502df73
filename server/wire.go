package server

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// wire is a listener without a port: connections are pairs of sockets inside this process. The API server reaches the node agent over it, so nothing else can.
type wire struct {
	node    string
	conns   chan net.Conn
	closed  chan struct{}
	closing sync.Once
}

func newWire(node string) *wire {
	return &wire{node: node, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// DialNode implements connect.NodeDialer for the one node there is.
func (w *wire) DialNode(ctx context.Context, node string) (net.Conn, error) {
	if node != w.node {
		return nil, errors.New("node " + node + " is not connected to this server")
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	near, err := fileConn(fds[0])
	if err != nil {
		syscall.Close(fds[1])
		return nil, err
	}
	far, err := fileConn(fds[1])
	if err != nil {
		near.Close()
		return nil, err
	}
	select {
	case w.conns <- far:
		return near, nil
	case <-w.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	near.Close()
	far.Close()
	return nil, err
}

func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "wire")
	defer f.Close()
	return net.FileConn(f)
}

// Accept implements net.Listener.
func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (w *wire) Close() error {
	w.closing.Do(func() { close(w.closed) })
	return nil
}

// Addr implements net.Listener.
func (w *wire) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "node " + w.node} }
