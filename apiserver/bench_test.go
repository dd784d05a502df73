package apiserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/kinds/core"
)

const benchPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s","labels":{"app":"nginx","shard":"%d"},"annotations":{"a":"b"}},"spec":{"containers":[{"name":"nginx",` +
	`"image":"nginx:stable","ports":[{"containerPort":80}],"env":[{"name":"A","value":"B"},{"name":"C","value":"D"}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"}},` +
	`"livenessProbe":{"httpGet":{"path":"/","port":80}},"volumeMounts":[{"name":"v","mountPath":"/v"}]}],"volumes":[{"name":"v","emptyDir":{}}]}}`

// sinkWriter is a response that goes nowhere.
type sinkWriter struct {
	h    http.Header
	code int
	n    int
}

func (w *sinkWriter) Header() http.Header         { return w.h }
func (w *sinkWriter) WriteHeader(code int)        { w.code = code }
func (w *sinkWriter) Write(p []byte) (int, error) { w.n += len(p); return len(p), nil }

func send(tb testing.TB, s http.Handler, method, path, body string, header ...string) int {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("User-Agent", "bench/1")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := &sinkWriter{h: http.Header{}}
	s.ServeHTTP(w, r)
	if w.code >= 300 {
		tb.Fatalf("%s %s: %d", method, path, w.code)
	}
	return w.n
}

func fill(tb testing.TB, s *apiserver.Server, n int) {
	tb.Helper()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				send(tb, s, "POST", "/api/v1/namespaces/default/pods", fmt.Sprintf(benchPod, fmt.Sprintf("p%05d", i), i%100))
			}
		})
	}
	wg.Wait()
}

func BenchmarkCreate(b *testing.B) {
	s := newServer(b, nil)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		send(b, s, "POST", "/api/v1/namespaces/default/pods", fmt.Sprintf(benchPod, fmt.Sprint("p", i), i%100))
	}
}

func BenchmarkGet(b *testing.B) {
	s := newServer(b, nil)
	fill(b, s, 1)
	for _, accept := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		b.Run(accept[len("application/"):], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				send(b, s, "GET", "/api/v1/namespaces/default/pods/p00001", "", "Accept", accept)
			}
		})
	}
}

func BenchmarkList10k(b *testing.B) {
	s := newServer(b, nil)
	fill(b, s, 10000)
	for _, c := range []struct{ name, path, accept string }{
		{"json", "/api/v1/pods", "application/json"},
		{"protobuf", "/api/v1/pods", "application/vnd.kubernetes.protobuf"},
		{"table", "/api/v1/pods", "application/json;as=Table;v=v1;g=meta.k8s.io"},
		{"label", "/api/v1/pods?labelSelector=shard%3D7", "application/json"},
		{"page500", "/api/v1/pods?limit=500", "application/json"},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n = send(b, s, "GET", c.path, "", "Accept", c.accept)
			}
			b.ReportMetric(float64(n), "bytes/list")
		})
	}
}

func BenchmarkDeleteCollection10k(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := newServer(b, nil)
		fill(b, s, 10000)
		b.StartTimer()
		send(b, s, "DELETE", "/api/v1/namespaces/default/pods?gracePeriodSeconds=0", "")
	}
}

// One event to 200 watchers over HTTP.
func BenchmarkWatchFanOut200(b *testing.B) {
	s := newServer(b, nil)
	fill(b, s, 1)
	ts := httptest.NewServer(s)
	defer ts.Close()
	defer s.Close()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	const watchers = 200
	var seen atomic.Int64
	total := make(chan struct{}, 1)
	var target atomic.Int64
	for range watchers {
		r, _ := http.NewRequestWithContext(ctx, "GET", ts.URL+fmt.Sprintf("/api/v1/pods?watch=true&resourceVersion=%d", s.Revision()), nil)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			defer resp.Body.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := resp.Body.Read(buf)
				if c := bytes.Count(buf[:n], []byte{'\n'}); c > 0 && seen.Add(int64(c)) >= target.Load() {
					select {
					case total <- struct{}{}:
					default:
					}
				}
				if err != nil {
					if err != io.EOF {
						return
					}
					return
				}
			}
		}()
	}
	i := 0
	target.Store(1 << 60)
	for b.Loop() {
		i++
		send(b, s, "PATCH", "/api/v1/namespaces/default/pods/p00001", fmt.Sprintf(`{"metadata":{"labels":{"i":"%d"}}}`, i), "Content-Type", "application/merge-patch+json")
	}
	target.Store(int64(i) * watchers)
	for seen.Load() < int64(i)*watchers {
		<-total
	}
	b.ReportMetric(float64(i*watchers)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkCreateInProcess(b *testing.B) {
	s := newServer(b, nil)
	who := &user.DefaultInfo{Name: "bench"}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		p := pod(fmt.Sprint("p", i))
		if _, err := s.CreateObject(b.Context(), who, core.Pod, p, metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
