package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func port(addr string) int {
	_, p, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(p)
	return n
}

func TestHandlers(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/bad":
			http.Error(w, "no", 500)
		default:
			fmt.Fprintf(w, "%s %s %s", r.Host, r.Header.Get("X"), r.UserAgent())
		}
	}))
	defer web.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := health.NewServer()
	hs.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	gs := grpc.NewServer()
	healthpb.RegisterHealthServer(gs, hs)
	go gs.Serve(l)
	defer gs.Stop()
	dead, _ := net.Listen("tcp", "127.0.0.1:0")
	deadPort := port(dead.Addr().String())
	dead.Close()

	h := &Handlers{Version: "1.37", Exec: func(ctx context.Context, id string, cmd []string, _ time.Duration) ([]byte, int32, error) {
		switch cmd[0] {
		case "fail":
			return []byte("out"), 1, nil
		case "broken":
			return nil, 0, errors.New("no such container")
		case "slow":
			<-ctx.Done()
			return nil, 0, ctx.Err()
		}
		return []byte("fine"), 0, nil
	}}
	p := port(web.Listener.Addr().String())
	target := &Target{Host: "127.0.0.1", Container: &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: int32(p)}}}}
	get := func(path string, headers ...corev1.HTTPHeader) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("web"), HTTPHeaders: headers}}
	}
	down, none := "down", "unknown"
	for _, c := range []struct {
		probe corev1.ProbeHandler
		want  Outcome
		text  string
	}{
		{get("/x", corev1.HTTPHeader{Name: "Host", Value: "site"}, corev1.HTTPHeader{Name: "X", Value: "y"}), Success, "site y kube-probe/1.37"},
		{get("/here"), Success, "kube-probe"},
		{get("/away"), Warning, "Probe terminated redirects, Response body:"},
		{get("/bad"), Failure, "HTTP probe failed with statuscode: 500"},
		{corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(int32(deadPort))}}, Failure, "connection refused"},
		{corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("nope")}}, Errored, "couldn't find port: nope in container: c"},
		{corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(p))}}, Success, ""},
		{corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(deadPort))}}, Failure, "connection refused"},
		{corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: int32(port(l.Addr().String()))}}, Success, "service healthy"},
		{corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: int32(port(l.Addr().String())), Service: &down}}, Failure, `service unhealthy (responded with "NOT_SERVING")`},
		{corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: int32(port(l.Addr().String())), Service: &none}}, Failure, "error: health rpc probe failed"},
		{corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: int32(deadPort)}}, Failure, "failed to connect service"},
		{corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"fine"}}}, Success, "fine"},
		{corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"fail"}}}, Failure, "out"},
		{corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"broken"}}}, Errored, "no such container"},
	} {
		got, text := h.Try(t.Context(), &corev1.Probe{ProbeHandler: c.probe, TimeoutSeconds: 5}, target)
		if got != c.want || !strings.Contains(text, c.text) {
			t.Errorf("%v: got %d %q, want %d %q", c.probe, got, text, c.want, c.text)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		got, text := h.Try(t.Context(), &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"slow", "x"}}}, TimeoutSeconds: 3}, target)
		if got != Failure || text != `command timed out: "slow x" timed out after 3s` || time.Since(begun) != 3*time.Second {
			t.Errorf("got %d %q after %v", got, text, time.Since(begun))
		}
	})
}

// A web server that listens 350 ms after its start is ready soon after, not a period later; the extra tries leave no events.
func TestReadySoonAfterTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var mu sync.Mutex
		var events []string
		var ready time.Duration
		h := &Handlers{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if time.Since(begun) < 350*time.Millisecond {
				return nil, errors.New("connection refused")
			}
			a, b := net.Pipe()
			go b.Close()
			return a, nil
		}}
		p := New(h, func(_ *Target, r Result) {
			mu.Lock()
			defer mu.Unlock()
			if r.Ready && ready == 0 {
				ready = time.Since(begun)
			}
		}, func(_ *Target, reason, message string) { events = append(events, message) })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go p.Run(ctx)
		c := &corev1.Container{Name: "c", ReadinessProbe: &corev1.Probe{PeriodSeconds: 10, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}}}
		p.Add(Target{ID: "1", Name: "c", Container: c, Host: "h", StartedAt: begun}, Initial(c, false, false))
		time.Sleep(9 * time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if ready == 0 || ready > 800*time.Millisecond {
			t.Errorf("ready after %v", ready)
		}
		if len(events) > 0 {
			t.Errorf("events: %v", events)
		}
		cancel()
	})
}

func TestThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var log []string
		up := func() bool { s := time.Since(begun).Seconds(); return s < 25 || s > 55 }
		h := &Handlers{Exec: func(context.Context, string, []string, time.Duration) ([]byte, int32, error) {
			if up() {
				return nil, 0, nil
			}
			return nil, 1, nil
		}}
		p := New(h, func(_ *Target, r Result) { log = append(log, fmt.Sprintf("%v %t", time.Since(begun), r.Ready)) }, func(*Target, string, string) {})
		ctx, cancel := context.WithCancel(t.Context())
		go p.Run(ctx)
		c := &corev1.Container{ReadinessProbe: &corev1.Probe{InitialDelaySeconds: 5, PeriodSeconds: 10, SuccessThreshold: 2, FailureThreshold: 3, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}}
		p.Add(Target{ID: "1", Container: c, StartedAt: begun}, Initial(c, false, false))
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if got, want := strings.Join(log, ", "), "15s true, 45s false, 1m15s true"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		cancel()
	})
}
