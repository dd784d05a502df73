package cri

import (
	"context"
	"errors"
	"io"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Events implements [Runtime]. containerd notices the end of a stream only when it sends the next event, so its side may outlive this call by that long.
func (d *Daemon) Events(ctx context.Context, f func(*runtimeapi.ContainerEventResponse)) error {
	ctx, cancel := context.WithCancel(namespaces.WithNamespace(ctx, namespace))
	defer cancel()
	s := &eventStream{ctx: ctx, events: make(chan *runtimeapi.ContainerEventResponse)}
	ended := make(chan error, 1)
	go func() { ended <- d.rt.GetContainerEvents(&runtimeapi.GetEventsRequest{}, s) }()
	for {
		select {
		case e := <-s.events:
			f(e)
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// eventStream is the server's side of a GetContainerEvents call, without a connection.
type eventStream struct {
	grpc.ServerStream // never used by containerd for this call
	ctx               context.Context
	events            chan *runtimeapi.ContainerEventResponse
}

func (s *eventStream) Context() context.Context { return s.ctx }

func (s *eventStream) Send(e *runtimeapi.ContainerEventResponse) error {
	select {
	case s.events <- e:
		return nil
	case <-s.ctx.Done():
		return errors.New("nobody listens any more")
	}
}
