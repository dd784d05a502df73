package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Outcome of one try.
type Outcome uint8

const (
	Failure Outcome = iota
	Success
	Warning // a success with something to tell
	Errored // the try itself went wrong; it says nothing about the container
)

// Exec runs a command in a container. err is a failure to run it, or context.DeadlineExceeded.
type Exec func(ctx context.Context, containerID string, cmd []string, timeout time.Duration) (output []byte, code int32, err error)

// maxBody is what is kept of an answer, for the message.
const maxBody = 10 * 1024

// Handlers try probes and run lifecycle hooks.
type Handlers struct {
	Exec Exec
	// Transport replaces the HTTP transport in tests.
	Transport http.RoundTripper
	// Dial replaces TCP connections in tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Version follows kube-probe/ in User-Agent: "1.37".
	Version string
}

func (h *Handlers) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if h.Dial != nil {
		return h.Dial(ctx, network, addr)
	}
	d := net.Dialer{}
	// A reset on close leaves no connection in TIME_WAIT.
	c, err := d.DialContext(ctx, network, addr)
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		tcp.SetLinger(0)
	}
	return c, err
}

// Port finds the number of a port that may be named.
func Port(p intstr.IntOrString, c *corev1.Container) (int, error) {
	n := 0
	if p.Type == intstr.Int {
		n = p.IntValue()
	} else {
		for _, cp := range c.Ports {
			if cp.Name == p.StrVal {
				n = int(cp.ContainerPort)
			}
		}
		if n == 0 {
			if v, err := strconv.Atoi(p.StrVal); err == nil {
				n = v
			} else {
				return 0, fmt.Errorf("couldn't find port: %v in container: %s", p.StrVal, c.Name)
			}
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", n)
	}
	return n, nil
}

// Try probes once.
func (h *Handlers) Try(ctx context.Context, p *corev1.Probe, t *Target) (Outcome, string) {
	timeout := time.Duration(max(p.TimeoutSeconds, 1)) * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case p.Exec != nil:
		out, code, err := h.Exec(ctx, t.ID, p.Exec.Command, timeout)
		if len(out) > maxBody {
			out = out[:maxBody]
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded) || ctx.Err() == context.DeadlineExceeded:
			return Failure, fmt.Sprintf("command timed out: %q timed out after %v", strings.Join(p.Exec.Command, " "), timeout)
		case err != nil:
			return Errored, err.Error()
		case code != 0:
			return Failure, string(out)
		}
		return Success, string(out)
	case p.HTTPGet != nil:
		return h.http(ctx, p.HTTPGet, t)
	case p.TCPSocket != nil:
		port, err := Port(p.TCPSocket.Port, t.Container)
		if err != nil {
			return Errored, err.Error()
		}
		c, err := h.dial(ctx, "tcp", net.JoinHostPort(host(p.TCPSocket.Host, t.Host), strconv.Itoa(port)))
		if err != nil {
			return Failure, err.Error()
		}
		c.Close()
		return Success, ""
	case p.GRPC != nil:
		return h.grpc(ctx, p.GRPC, t, timeout)
	}
	return Errored, fmt.Sprintf("missing probe handler for %s", t.Name)
}

func host(own, pod string) string {
	if own != "" {
		return own
	}
	return pod
}

// request makes the request of an httpGet handler.
func (h *Handlers) request(ctx context.Context, g *corev1.HTTPGetAction, c *corev1.Container, podIP, agent string) (*http.Request, error) {
	port, err := Port(g.Port, c)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(g.Path)
	if err != nil {
		u = &url.URL{Path: g.Path}
	}
	u.Scheme = strings.ToLower(string(g.Scheme))
	if u.Scheme == "" {
		u.Scheme = "http"
	}
	u.Host = net.JoinHostPort(host(g.Host, podIP), strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, "GET", u.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, hd := range g.HTTPHeaders {
		req.Header.Add(hd.Name, hd.Value)
		if strings.EqualFold(hd.Name, "Host") {
			req.Host = hd.Value
		}
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header.Set("User-Agent", agent)
	}
	if _, ok := req.Header["Accept"]; !ok {
		req.Header.Set("Accept", "*/*")
	} else if req.Header.Get("Accept") == "" {
		req.Header.Del("Accept")
	}
	return req, nil
}

func (h *Handlers) client(redirect func(*http.Request, []*http.Request) error) *http.Client {
	rt := h.Transport
	if rt == nil {
		rt = &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, DisableCompression: true,
			Proxy: nil, DialContext: h.dial,
		}
	}
	return &http.Client{Transport: rt, CheckRedirect: redirect}
}

func (h *Handlers) http(ctx context.Context, g *corev1.HTTPGetAction, t *Target) (Outcome, string) {
	req, err := h.request(ctx, g, t.Container, t.Host, "kube-probe/"+h.Version)
	if err != nil {
		return Errored, err.Error()
	}
	// Redirects are followed on the same host only.
	c := h.client(func(r *http.Request, via []*http.Request) error {
		if r.URL.Hostname() != via[0].URL.Hostname() {
			return http.ErrUseLastResponse
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	})
	res, err := c.Do(req)
	if err != nil {
		return Failure, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return Failure, err.Error()
	}
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return Warning, fmt.Sprintf("Probe terminated redirects, Response body: %v", string(body))
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return Success, string(body)
	}
	return Failure, fmt.Sprintf("HTTP probe failed with statuscode: %d", res.StatusCode)
}

func (h *Handlers) grpc(ctx context.Context, g *corev1.GRPCAction, t *Target, timeout time.Duration) (Outcome, string) {
	addr := net.JoinHostPort(t.Host, strconv.Itoa(int(g.Port)))
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithUserAgent("kube-probe/"+h.Version), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(),
		grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return h.dial(ctx, "tcp", a) }))
	if err != nil {
		return Failure, fmt.Sprintf("error: failed to connect service at %q: %+v", addr, err)
	}
	defer conn.Close()
	service := ""
	if g.Service != nil {
		service = *g.Service
	}
	resp, err := healthpb.NewHealthClient(conn).Check(metadata.NewOutgoingContext(ctx, metadata.MD{}), &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		switch st := status.Convert(err); st.Code() {
		case codes.Unimplemented:
			return Failure, fmt.Sprintf("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", st.Message())
		case codes.DeadlineExceeded:
			return Failure, fmt.Sprintf("timeout: health rpc did not complete within %v", timeout)
		case codes.Unavailable:
			return Failure, fmt.Sprintf("timeout: failed to connect service %q within %v: %+v", addr, timeout, st.Message())
		}
		return Failure, fmt.Sprintf("error: health rpc probe failed: %+v", err)
	}
	if resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return Failure, fmt.Sprintf("service unhealthy (responded with %q)", resp.GetStatus().String())
	}
	return Success, "service healthy"
}

// Hook runs a postStart or preStop handler to its end.
func (h *Handlers) Hook(ctx context.Context, l *corev1.LifecycleHandler, c *corev1.Container, containerID, podIP string, sleep func(context.Context, time.Duration) error) error {
	switch {
	case l.Exec != nil:
		out, code, err := h.Exec(ctx, containerID, l.Exec.Command, 0)
		if err == nil && code != 0 {
			err = fmt.Errorf("command '%s' exited with %d: %s", strings.Join(l.Exec.Command, " "), code, out)
		}
		return err
	case l.HTTPGet != nil:
		req, err := h.request(ctx, l.HTTPGet, c, podIP, "kube-lifecycle/"+h.Version)
		if err != nil {
			return err
		}
		res, err := h.client(nil).Do(req)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, io.LimitReader(res.Body, maxBody))
		return res.Body.Close()
	case l.Sleep != nil:
		return sleep(ctx, time.Duration(l.Sleep.Seconds)*time.Second)
	case l.TCPSocket != nil:
		return nil // never did anything upstream
	}
	return fmt.Errorf("cannot run handler: %v", l)
}
