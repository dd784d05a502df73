package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	client "k8s.io/client-go/tools/remotecommand"
	clientspdy "k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
	utilexec "k8s.io/utils/exec"
)

const (
	// idleStreams is how long a WebSocket may say nothing.
	idleStreams = 4 * time.Hour
	// statusDeadline bounds the last word to a client that does not read.
	statusDeadline = 60 * time.Second
	nodePing       = 5 * time.Second
)

// translate carries the streams of a WebSocket (v5.channel.k8s.io, which can close stdin) to a node's SPDY (KEP-4006). It is the client's server and the node's
// client. (k8s.io/apiserver has one too, which brings the typed clientset, informers and a metrics registry into the program.)
func translate(w http.ResponseWriter, r *http.Request, loc *url.URL, b *backend, s streams) {
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		remotecommand.StreamProtocolV5Name: {Binary: true, Channels: []wsstream.ChannelType{
			remotecommand.StreamStdIn:  channel(s.stdin, wsstream.ReadChannel),
			remotecommand.StreamStdOut: channel(s.stdout, wsstream.WriteChannel),
			remotecommand.StreamStdErr: channel(s.stderr, wsstream.WriteChannel),
			remotecommand.StreamErr:    wsstream.WriteChannel,
			remotecommand.StreamResize: wsstream.ReadChannel,
		}},
	})
	conn.SetIdleTimeout(idleStreams)
	_, ws, err := conn.Open(w, r)
	if err != nil {
		return // the client has been told
	}
	defer conn.Close()
	// An empty message tells the client that the connection stands.
	first := remotecommand.StreamErr
	switch {
	case s.stdout:
		first = remotecommand.StreamStdOut
	case s.stderr:
		first = remotecommand.StreamStdErr
	}
	if _, err := ws[first].Write(nil); err != nil {
		return
	}

	opts := client.StreamOptions{Tty: s.tty}
	if s.stdin {
		opts.Stdin = ws[remotecommand.StreamStdIn]
	}
	if s.stdout {
		opts.Stdout = ws[remotecommand.StreamStdOut]
	}
	if s.stderr {
		opts.Stderr = ws[remotecommand.StreamStdErr]
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if s.tty {
		sizes := make(sizeQueue)
		go sizes.read(ctx, ws[remotecommand.StreamResize])
		opts.TerminalSizeQueue = sizes
	}
	status := outcome(run(ctx, loc, b, opts))
	body, err := json.Marshal(status)
	if err != nil {
		return
	}
	conn.SetWriteDeadline(statusDeadline)
	ws[remotecommand.StreamErr].Write(body)
}

func channel(wanted bool, t wsstream.ChannelType) wsstream.ChannelType {
	if wanted {
		return t
	}
	return wsstream.IgnoreChannel
}

func run(ctx context.Context, loc *url.URL, b *backend, opts client.StreamOptions) error {
	rt, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{UpgradeTransport: b.Transport, PingPeriod: nodePing})
	if err != nil {
		return err
	}
	e, err := client.NewSPDYExecutorRejectRedirects(rt, clientspdy.NewUpgraderForStreaming(rt), http.MethodPost, loc)
	if err != nil {
		return err
	}
	return e.StreamWithContext(ctx, opts)
}

// outcome is what the client is told at the end: success, the exit code, or what went wrong.
func outcome(err error) metav1.Status {
	var api apierrors.APIStatus
	var exit utilexec.ExitError
	switch {
	case err == nil:
		return metav1.Status{Status: metav1.StatusSuccess}
	case errors.As(err, &api):
		return api.Status()
	case errors.As(err, &exit) && exit.Exited():
		return metav1.Status{
			Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: remotecommand.ExitCodeCauseType, Message: fmt.Sprint(exit.ExitStatus())}}},
			Message: fmt.Sprintf("command terminated with non-zero exit code: %v", exit),
		}
	}
	return apierrors.NewInternalError(err).Status()
}

// sizeQueue hands on the sizes of the client's terminal.
type sizeQueue chan client.TerminalSize

func (q sizeQueue) read(ctx context.Context, from io.Reader) {
	defer close(q)
	for d := json.NewDecoder(from); ; {
		var size client.TerminalSize
		if d.Decode(&size) != nil {
			return
		}
		select {
		case q <- size:
		case <-ctx.Done():
			return
		}
	}
}

// Next implements remotecommand.TerminalSizeQueue.
func (q sizeQueue) Next() *client.TerminalSize {
	size, ok := <-q
	if !ok {
		return nil
	}
	return &size
}
