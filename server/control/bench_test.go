package control

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/tenet-run/tenet/store/embedded"
)

// overTLS serves a control plane, with its store on the disk, over HTTP/2.
func overTLS(b *testing.B) (*httptest.Server, *http.Client) {
	b.Helper()
	st, err := embedded.Open(b.Context(), embedded.Options{Dir: b.TempDir(), Logger: testLogger()})
	if err != nil {
		b.Fatal(err)
	}
	plane, err := New(Config{Store: st, Logger: testLogger(), WithoutScheduler: true, authenticator: asMaster{}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	<-plane.Booted()
	web := httptest.NewUnstartedServer(plane.Handler())
	web.EnableHTTP2 = true
	web.StartTLS()
	b.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		cancel()
		<-done
		plane.Close()
		st.Close()
	})
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, DisableCompression: true}}
	return web, c
}

func benchPodJSON(i int) []byte {
	group := "many"
	if i%100 == 0 {
		group = "few"
	}
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod-%d","namespace":"default","labels":{"app":"bench","group":%q},
"annotations":{"kubernetes.io/description":"a pod for the benchmark, with an annotation of ordinary length"}},
"spec":{"schedulerName":"none","containers":[{"name":"nginx","image":"nginx:stable","ports":[{"containerPort":80,"name":"http"}],
"env":[{"name":"LOG_LEVEL","value":"info"},{"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}},
"readinessProbe":{"httpGet":{"path":"/","port":"http"},"periodSeconds":5},
"volumeMounts":[{"name":"config","mountPath":"/etc/config"}]}],"volumes":[{"name":"config","configMap":{"name":"settings"}}]}}`, i, group)
}

func ask(b *testing.B, c *http.Client, method, url string, body []byte) int64 {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		b.Fatalf("%s: %s", resp.Status, text)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// cpuTime is what this process has used, client and server.
func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkAPI is the API over TLS and HTTP/2, client included.
func BenchmarkAPI(b *testing.B) {
	b.Run("create", func(b *testing.B) {
		web, c := overTLS(b)
		b.SetParallelism(16)
		names := make(chan int, 1024)
		go func() {
			for i := 0; ; i++ {
				names <- i
			}
		}()
		b.ResetTimer()
		before := cpuTime()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				ask(b, c, "POST", web.URL+"/api/v1/namespaces/default/pods", benchPodJSON(<-names))
			}
		})
		b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
	})
	b.Run("read", reads)
}

func reads(b *testing.B) {
	web, c := overTLS(b)
	for i := range 5000 {
		ask(b, c, "POST", web.URL+"/api/v1/namespaces/default/pods", benchPodJSON(i))
	}
	for name, path := range map[string]string{"get": "/pods/pod-7", "label": "/pods?labelSelector=group%3Dfew", "list": "/pods", "page": "/pods?limit=500"} {
		b.Run(name, func(b *testing.B) {
			before := cpuTime()
			for b.Loop() {
				b.SetBytes(ask(b, c, "GET", web.URL+"/api/v1/namespaces/default"+path, nil))
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
