package connect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	streamport "k8s.io/cri-streaming/pkg/streaming/portforward"
	streamexec "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// node is a node agent with the streaming code of real ones behind it.
type node struct {
	t    *testing.T
	addr string
	// lines are what a followed log gets.
	lines chan string
	// saw are the paths and queries of requests.
	saw chan string
}

func newNode(t *testing.T) *node {
	n := &node{t: t, lines: make(chan string, 10), saw: make(chan string, 100)}
	srv := httptest.NewServer(n)
	t.Cleanup(srv.Close)
	n.addr = srv.Listener.Addr().String()
	return n
}

func (n *node) DialNode(ctx context.Context, name string) (net.Conn, error) {
	if name != "n1" {
		return nil, fmt.Errorf("node %q is not connected", name)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", n.addr)
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.saw <- r.Method + " " + r.URL.RequestURI()
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch parts[0] {
	case "containerLogs":
		n.log(w, r)
	case "exec", "attach":
		opts, err := streamexec.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		protocols := []string{"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"}
		if parts[0] == "exec" {
			streamexec.ServeExec(w, r, n, parts[2], "", parts[3], r.URL.Query()["command"], opts, time.Minute, time.Minute, protocols)
		} else {
			streamexec.ServeAttach(w, r, n, parts[2], "", parts[3], opts, time.Minute, time.Minute, protocols)
		}
	case "portForward":
		opts, err := streamport.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		streamport.ServePortForward(w, r, n, parts[2], "", opts, time.Minute, time.Minute, streamport.SupportedProtocols)
	default:
		fmt.Fprintf(w, "agent %s %s", r.Method, r.URL.RequestURI())
	}
}

func (n *node) log(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.FormValue("previous") == "true":
		http.Error(w, `previous terminated container "c" in pod "p" not found`, http.StatusBadRequest)
	case r.FormValue("follow") == "true":
		for {
			select {
			case line := <-n.lines:
				io.WriteString(w, line)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				n.saw <- "log ended"
				return
			}
		}
	default:
		io.WriteString(w, "one\ntwo\n")
	}
}

func (n *node) ExecInContainer(ctx context.Context, _, _, container string, cmd []string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan streamexec.TerminalSize, _ time.Duration) error {
	switch cmd[0] {
	case "cat":
		_, err := io.Copy(out, in)
		return err
	case "exit":
		io.WriteString(errOut, "no\n")
		return utilexec.CodeExitError{Err: errors.New("exit"), Code: 7}
	case "wait":
		io.WriteString(out, "waiting")
		io.Copy(io.Discard, in)
		n.saw <- "exec ended"
	case "size":
		size := <-resize
		fmt.Fprintf(out, "%dx%d tty=%v", size.Width, size.Height, tty)
	default:
		fmt.Fprintf(out, "%s ran %q", container, cmd)
	}
	return nil
}

func (n *node) AttachContainer(ctx context.Context, _, _, container string, in io.Reader, out, errOut io.WriteCloser, _ bool, _ <-chan streamexec.TerminalSize) error {
	fmt.Fprintf(out, "attached to %s", container)
	return nil
}

func (n *node) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	line, err := bufio.NewReader(stream).ReadString('\n')
	if err != nil {
		return err
	}
	fmt.Fprintf(stream, "port %d says %s", port, line)
	return nil
}

// shelf is a Reader of what a test puts there.
type shelf map[string]kinds.Object

func (s shelf) Peek(k *kinds.Kind, ns, name string) (kinds.Object, bool) {
	o, ok := s[k.Plural+"/"+ns+"/"+name]
	return o, ok
}
func (s shelf) PeekList(k *kinds.Kind, ns string, sel labels.Selector) (out []kinds.Object) {
	for key, o := range s {
		if strings.HasPrefix(key, k.Plural+"/"+ns+"/") && sel.Matches(labels.Set(o.GetLabels())) {
			out = append(out, o)
		}
	}
	return out
}
func (shelf) PeekOwned(*kinds.Kind, string, types.UID) []kinds.Object      { panic("not used") }
func (shelf) PeekField(*kinds.Kind, string, string, string) []kinds.Object { panic("not used") }

func pod(nodeName string, containers ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{NodeName: nodeName}}
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c})
	}
	return p
}

// serve is an API server that knows one object: /<plural>/<name>/<subresource>/<path>.
func serve(t *testing.T, cfg Config, k *kinds.Kind, obj kinds.Object) *rest.Config {
	t.Helper()
	hs := Handlers(cfg)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 4)
		q := &Request{Kind: k, Object: obj, Namespace: obj.GetNamespace(), Name: parts[1], Subresource: parts[2], Options: r.URL.Query()}
		if len(parts) == 4 {
			q.Path = strings.Trim(parts[3], "/")
		}
		hs[parts[0]+"/"+parts[2]].HTTP(w, r, q)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return &rest.Config{Host: srv.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

func location(t *testing.T, c *rest.Config, path string) *url.URL {
	u, err := url.Parse(c.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func fetch(t *testing.T, c *rest.Config, method, path string) (int, string) {
	t.Helper()
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, _ := http.NewRequest(method, c.Host+path, nil)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		return resp.StatusCode, string(status.Reason) + ": " + status.Message
	}
	return resp.StatusCode, string(body)
}

func TestLogs(t *testing.T) {
	n := newNode(t)
	for _, tc := range []struct {
		pod  *corev1.Pod
		q    string
		code int
		want string
		node string // what the node was asked
	}{
		{pod("n1", "c"), "", 200, "one\ntwo\n", "GET /containerLogs/ns/p/c"},
		{pod("n1", "c", "d"), "container=d&tailLines=5&timestamps=1&sinceTime=2026-01-02T03:04:05Z&limitBytes=9&follow=false", 200, "one\ntwo\n",
			"GET /containerLogs/ns/p/d?limitBytes=9&sinceTime=2026-01-02T03%3A04%3A05Z&tailLines=5&timestamps=true"},
		{pod("n1", "c"), "previous=true", 400, "BadRequest: previous terminated container \"c\" in pod \"p\" not found\n", "GET /containerLogs/ns/p/c?previous=true"},
		{pod("n1", "c", "d"), "", 400, "BadRequest: a container name must be specified for pod p, choose one of: [c d]", ""},
		{pod("n1", "c"), "container=x", 400, "BadRequest: container x is not valid for pod p", ""},
		{pod("", "c"), "", 204, "", ""},
		{pod("n2", "c"), "", 500, `InternalError: Internal error occurred: log of pod ns/p: node n2: node "n2" is not connected`, ""},
		{pod("n1", "c"), "tailLines=-1", 422, `Invalid: PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0`, ""},
		{pod("n1", "c"), "limitBytes=0", 422, `Invalid: PodLogOptions "p" is invalid: limitBytes: Invalid value: 0: must be greater than 0`, ""},
		{pod("n1", "c"), "sinceSeconds=0", 422, `Invalid: PodLogOptions "p" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0`, ""},
		{pod("n1", "c"), "sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", 422, "Invalid: PodLogOptions \"p\" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified", ""},
		{pod("n1", "c"), "tailLines=many", 400, `BadRequest: strconv.ParseInt: parsing "many": invalid syntax`, ""},
	} {
		code, got := fetch(t, serve(t, Config{Nodes: n}, core.Pod, tc.pod), "GET", "/pods/p/log?"+tc.q)
		if code != tc.code || got != tc.want {
			t.Errorf("log?%s:\n got %d %q\nwant %d %q", tc.q, code, got, tc.code, tc.want)
		}
		if tc.node != "" {
			if saw := <-n.saw; saw != tc.node {
				t.Errorf("log?%s: the node saw %s, want %s", tc.q, saw, tc.node)
			}
		}
	}
}

// A followed log arrives line by line, and ends at the node when the client goes away.
func TestFollowedLog(t *testing.T) {
	n := newNode(t)
	c := serve(t, Config{Nodes: n}, core.Pod, pod("n1", "c"))
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", c.Host+"/pods/p/log?follow=true", nil)
	n.lines <- "first\n"
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); ct != "text/plain" {
		t.Errorf("got type %s", ct)
	}
	r := bufio.NewReader(resp.Body)
	for _, want := range []string{"first\n", "second\n"} {
		if got, err := r.ReadString('\n'); got != want || err != nil {
			t.Fatalf("got %q %v, want %q", got, err, want)
		}
		n.lines <- "second\n"
	}
	cancel()
	for saw := range n.saw {
		if saw == "log ended" {
			return
		}
	}
}

func executors(t *testing.T, c *rest.Config, path string) map[string]remotecommand.Executor {
	t.Helper()
	ws, err := remotecommand.NewWebSocketExecutor(c, "GET", c.Host+path)
	if err != nil {
		t.Fatal(err)
	}
	sp, err := remotecommand.NewSPDYExecutor(c, "POST", location(t, c, path))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]remotecommand.Executor{"WebSocket": ws, "SPDY": sp}
}

type oneSize struct{ given bool }

func (s *oneSize) Next() *remotecommand.TerminalSize {
	if s.given {
		return nil
	}
	s.given = true
	return &remotecommand.TerminalSize{Width: 80, Height: 24}
}

func TestExecAndAttach(t *testing.T) {
	c := serve(t, Config{Nodes: newNode(t)}, core.Pod, pod("n1", "c"))
	big := strings.Repeat("0123456789abcdef", 1<<14) // 256 KiB
	for _, tc := range []struct {
		path, in, out, errOut string
		tty                   bool
		code                  int
	}{
		{"/pods/p/exec?command=echo&command=a%20b&stdout=true&stderr=true", "", `c ran ["echo" "a b"]`, "", false, 0},
		{"/pods/p/exec?command=cat&stdin=true&stdout=true&container=c", big, big, "", false, 0},
		{"/pods/p/exec?command=exit&stdout=true&stderr=true", "", "", "no\n", false, 7},
		{"/pods/p/exec?command=size&stdin=true&stdout=true&tty=true", "x", "80x24 tty=true", "", true, 0},
		{"/pods/p/attach?stdout=true", "", "attached to c", "", false, 0},
	} {
		for name, e := range executors(t, c, tc.path) {
			var out, errOut bytes.Buffer
			opts := remotecommand.StreamOptions{Tty: tc.tty}
			if strings.Contains(tc.path, "stdin=") {
				opts.Stdin = strings.NewReader(tc.in)
			}
			if strings.Contains(tc.path, "stdout=") {
				opts.Stdout = &out
			}
			if strings.Contains(tc.path, "stderr=") {
				opts.Stderr = &errOut
			}
			if tc.tty {
				opts.TerminalSizeQueue = &oneSize{}
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			err := e.StreamWithContext(ctx, opts)
			cancel()
			code := 0
			var exit utilexec.ExitError
			if errors.As(err, &exit) {
				code, err = exit.ExitStatus(), nil
			}
			if err != nil || code != tc.code || out.String() != tc.out || errOut.String() != tc.errOut {
				t.Errorf("%s %s: got %.60q %.60q code %d, %v; want %.60q %.60q code %d", name, tc.path, out.String(), errOut.String(), code, err, tc.out, tc.errOut, tc.code)
			}
		}
	}
}

func TestRefusedStreams(t *testing.T) {
	n := newNode(t)
	for _, tc := range []struct {
		pod        *corev1.Pod
		path, want string
		code       int
	}{
		{pod("n1", "c"), "/pods/p/exec?command=ls&stdout=true", "BadRequest: Upgrade request required", 400},
		{pod("", "c"), "/pods/p/exec?command=ls", "BadRequest: pod p does not have a host assigned", 400},
		{pod("n1", "c", "d"), "/pods/p/attach", "BadRequest: a container name must be specified for pod p, choose one of: [c d]", 400},
		{pod("", "c"), "/pods/p/portforward", "BadRequest: pod p does not have a host assigned", 400},
		{pod("n1", "c"), "/pods/p/portforward?ports=0", `BadRequest: invalid port "0"`, 400},
	} {
		if code, got := fetch(t, serve(t, Config{Nodes: n}, core.Pod, tc.pod), "POST", tc.path); code != tc.code || got != tc.want {
			t.Errorf("%s: got %d %q, want %d %q", tc.path, code, got, tc.code, tc.want)
		}
	}
	c := serve(t, Config{Nodes: n}, core.Pod, pod("n2", "c"))
	for name, e := range executors(t, c, "/pods/p/exec?command=ls&stdout=true") {
		err := e.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdout: io.Discard})
		if err == nil || !strings.Contains(err.Error(), `node "n2" is not connected`) {
			t.Errorf("%s to an unknown node: %v", name, err)
		}
	}
}

// What runs at the node ends when the client goes away.
func TestExecEndsWithTheClient(t *testing.T) {
	n := newNode(t)
	c := serve(t, Config{Nodes: n}, core.Pod, pod("n1", "c"))
	for name, e := range executors(t, c, "/pods/p/exec?command=wait&stdin=true&stdout=true") {
		ctx, cancel := context.WithCancel(context.Background())
		in, keep := io.Pipe() // never ends by itself
		out, waiting := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: waiting}) }()
		if _, err := io.ReadFull(out, make([]byte, len("waiting"))); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		keep.Close()
		for saw := range n.saw {
			if saw == "exec ended" {
				break
			}
		}
	}
}

func TestPortForward(t *testing.T) {
	c := serve(t, Config{Nodes: newNode(t)}, core.Pod, pod("n1", "c"))
	u := location(t, c, "/pods/p/portforward")
	tunnel, err := portforward.NewSPDYOverWebsocketDialer(u, c)
	if err != nil {
		t.Fatal(err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(c)
	if err != nil {
		t.Fatal(err)
	}
	direct := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", u)
	run := func(name string, f func(stop chan struct{}, ready chan struct{}) (*portforward.PortForwarder, error)) {
		stop, ready := make(chan struct{}), make(chan struct{})
		fw, err := f(stop, ready)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- fw.ForwardPorts() }()
		select {
		case <-ready:
		case err := <-done:
			t.Fatalf("%s: %v", name, err)
		}
		ports, err := fw.GetPorts()
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 { // several connections through one forward
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "hello %d\n", i)
			got, err := io.ReadAll(conn)
			conn.Close()
			if want := fmt.Sprintf("port 80 says hello %d\n", i); string(got) != want || err != nil {
				t.Errorf("%s: got %q %v, want %q", name, got, err, want)
			}
		}
		close(stop)
		if err := <-done; err != nil {
			t.Errorf("%s: ended with %v", name, err)
		}
	}
	lost := serve(t, Config{Nodes: newNode(t)}, core.Pod, pod("n2", "c"))
	far, err := portforward.NewSPDYOverWebsocketDialer(location(t, lost, "/pods/p/portforward"), lost)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := far.Dial("portforward.k8s.io"); err == nil || !strings.Contains(err.Error(), `node "n2" is not connected`) {
		t.Errorf("to an unknown node: %v", err)
	}
	run("WebSocket", func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
		return portforward.NewOnAddresses(tunnel, []string{"127.0.0.1"}, []string{"0:80"}, stop, ready, io.Discard, io.Discard)
	})
	run("SPDY", func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
		return portforward.NewOnAddresses(direct, []string{"127.0.0.1"}, []string{"0:80"}, stop, ready, io.Discard, io.Discard)
	})
}

func TestProxies(t *testing.T) {
	n := newNode(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("X-Forwarded-Uri"))
	}))
	defer web.Close()
	var dialled string
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = address
		return (&net.Dialer{}).DialContext(ctx, network, web.Listener.Addr().String())
	}
	p := pod("n1", "c")
	p.Status.PodIP = "10.42.0.9"
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
	lost := pod("n1", "c")
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "admin", Port: 81}}}}
	ready, notReady := true, false
	s := shelf{"endpointslices/ns/web-x": &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-x", Labels: map[string]string{"kubernetes.io/service-name": "web"}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.42.0.5"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}},
			{Addresses: []string{"10.42.0.6"}, Conditions: discoveryv1.EndpointConditions{Ready: &notReady}},
		},
		Ports: []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8000))}, {Name: new("admin"), Port: new(int32(8001))}},
	}}
	cfg := Config{Nodes: n, Reader: s, Dial: dial}
	for _, tc := range []struct {
		k    *kinds.Kind
		obj  kinds.Object
		path string
		code int
		want string
		dial string
	}{
		{core.Pod, p, "/pods/p/proxy/a/b?x=1", 200, "GET /a/b?x=1 /pods/p/proxy/a/b", "10.42.0.9:8080"},
		{core.Pod, p, "/pods/p:9000/proxy/", 200, "GET / /pods/p:9000/proxy/", "10.42.0.9:9000"},
		{core.Pod, p, "/pods/p/proxy", 301, "", ""},
		{core.Pod, lost, "/pods/p/proxy/", 400, "BadRequest: address not allowed", ""},
		{core.Node, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, "/nodes/n1/proxy/stats/summary", 200, "agent GET /stats/summary", ""},
		{core.Node, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, "/nodes/n1:10250/proxy/pods/", 200, "agent GET /pods/", ""},
		{core.Service, svc, "/services/web:http/proxy/x", 200, "GET /x /services/web:http/proxy/x", "10.42.0.5:8000"},
		{core.Service, svc, "/services/web:81/proxy/x", 200, "GET /x /services/web:81/proxy/x", "10.42.0.5:8001"},
		{core.Service, svc, "/services/web/proxy/x", 200, "GET /x /services/web/proxy/x", "10.42.0.5:8000"},
		{core.Service, svc, "/services/web:82/proxy/x", 503, `ServiceUnavailable: no service port 82 found for service "web"`, ""},
		{core.Service, svc, "/services/web:none/proxy/x", 503, `ServiceUnavailable: no endpoints available for service "web"`, ""},
	} {
		dialled = ""
		code, got := fetch(t, serve(t, cfg, tc.k, tc.obj), "GET", tc.path)
		if code != tc.code || tc.want != "" && got != tc.want || dialled != tc.dial {
			t.Errorf("%s:\n got %d %q by %q\nwant %d %q by %q", tc.path, code, got, dialled, tc.code, tc.want, tc.dial)
		}
	}
}
