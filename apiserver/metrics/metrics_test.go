package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/version"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
)

type counter map[string]int

func (c counter) Count(prefix string) int { return c[prefix] }

func read(t *testing.T, m *Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("got %d %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func want(t *testing.T, m *Metrics, lines ...string) {
	t.Helper()
	got := read(t, m)
	for _, l := range lines {
		if !strings.Contains(got, l+"\n") {
			t.Errorf("no line %q in:\n%s", l, grep(got, strings.SplitN(l, "{", 2)[0]))
		}
	}
}

func grep(text, prefix string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func TestRequests(t *testing.T) {
	m := New(kinds.NewSet(all.Kinds()...), counter{"pods": 3, "deployments": 1}, version.Info{GitVersion: "v1.37.2+tenet"})
	pods := apiserver.Observation{Verb: "list", Version: "v1", Resource: "pods", Scope: "namespace", Code: 200, Duration: 30 * time.Millisecond, Bytes: 5000}
	m.Observe(pods)
	m.Observe(pods)
	m.Observe(apiserver.Observation{Verb: "create", Version: "v1", Resource: "pods", Scope: "resource", Code: 201, DryRun: true, Duration: time.Millisecond})
	m.Observe(apiserver.Observation{Verb: "apply", Group: "apps", Version: "v1", Resource: "deployments", Subresource: "status", Scope: "resource", Code: 409, Duration: time.Millisecond})
	want(t, m,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"} 2`,
		`apiserver_request_duration_seconds_bucket{component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1",le="0.025"} 0`,
		`apiserver_request_duration_seconds_bucket{component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1",le="0.05"} 2`,
		`apiserver_request_sli_duration_seconds_count{component="apiserver",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"} 2`,
		`apiserver_response_sizes_sum{component="apiserver",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"} 10000`,
		`apiserver_request_total{code="201",component="apiserver",dry_run="All",group="",resource="pods",scope="resource",subresource="",verb="POST",version="v1"} 1`,
		`apiserver_request_total{code="409",component="apiserver",dry_run="",group="apps",resource="deployments",scope="resource",subresource="status",verb="APPLY",version="v1"} 1`,
		`apiserver_storage_objects{resource="pods"} 3`,
		`apiserver_storage_objects{resource="deployments.apps"} 1`,
		`apiserver_resource_objects{group="apps",resource="deployments"} 1`,
	)
	got := read(t, m)
	for _, name := range []string{"go_goroutines ", "process_resident_memory_bytes ", `kubernetes_build_info{`} {
		if grep(got, name) == "" {
			t.Errorf("no %s", name)
		}
	}
}

func TestLongRunning(t *testing.T) {
	m := New(kinds.NewSet(all.Kinds()...), nil, version.Info{})
	w := apiserver.Observation{Verb: "watch", Version: "v1", Resource: "pods", Scope: "cluster"}
	labels := `component="apiserver",group="",resource="pods",scope="cluster",subresource="",verb="WATCH",version="v1"`
	begin := w
	begin.Began = true
	m.Observe(begin)
	m.Observe(begin)
	want(t, m, `apiserver_longrunning_requests{`+labels+`} 2`)
	// One that was refused before it began is not one that has ended.
	w.Code = 403
	m.Observe(w)
	want(t, m, `apiserver_longrunning_requests{`+labels+`} 2`)
	w.Code, w.Count, w.Duration, w.Ended = 200, 41, time.Hour, true
	m.Observe(w)
	want(t, m, `apiserver_longrunning_requests{`+labels+`} 1`,
		`apiserver_watch_events_total{group="",resource="pods",version="v1"} 41`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="WATCH",version="v1"} 1`)
	if got := read(t, m); !strings.Contains(got, `apiserver_request_sli_duration_seconds_count{`+labels+"} 1\n") { // the refused one
		t.Error("the life of a watch was counted as latency")
	}
}

// What clients invent makes no series.
func TestSeriesAreBounded(t *testing.T) {
	m := New(kinds.NewSet(all.Kinds()...), nil, version.Info{})
	for i := range 1000 {
		m.Observe(apiserver.Observation{Verb: fmt.Sprint("verb", i), Group: fmt.Sprint("g", i), Version: "v1", Resource: fmt.Sprint("r", i), Scope: "cluster", Code: 404})
		m.Observe(apiserver.Observation{Verb: "get", Version: "v1", Resource: "pods", Subresource: fmt.Sprint("s", i), Scope: "resource", Code: 404})
	}
	got := grep(read(t, m), "apiserver_request_total")
	if n := strings.Count(got, "\n"); n != 2 {
		t.Errorf("got %d series:\n%s", n, got)
	}
	n := 0
	m.observations.Range(func(any, any) bool { n++; return true })
	if n != 0 {
		t.Errorf("%d made-up keys are remembered", n)
	}
	if err := m.live.Put(&kinds.Kind{Plural: "widgets", Served: []*kinds.Served{{Group: "zoo", Version: "v1"}}}); err != nil {
		t.Fatal(err)
	}
	m.Observe(apiserver.Observation{Verb: "get", Group: "zoo", Version: "v1", Resource: "widgets", Scope: "cluster", Code: 200})
	want(t, m, `apiserver_request_total{code="200",component="apiserver",dry_run="",group="zoo",resource="widgets",scope="cluster",subresource="",verb="GET",version="v1"} 1`)
}

func TestInflight(t *testing.T) {
	m := New(kinds.NewSet(), nil, version.Info{})
	var during string
	h := m.Inflight(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		during = grep(read(t, m), "apiserver_current_inflight_requests")
	}),
		func(r *http.Request) bool { return r.URL.Query().Has("watch") })
	for _, tc := range []struct{ method, url, readOnly, mutating string }{
		{"GET", "/", "1", "0"}, {"POST", "/", "0", "1"}, {"GET", "/?watch=1", "0", "0"},
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(tc.method, tc.url, nil))
		wantNow := fmt.Sprintf("apiserver_current_inflight_requests{request_kind=\"mutating\"} %s\napiserver_current_inflight_requests{request_kind=\"readOnly\"} %s\n", tc.mutating, tc.readOnly)
		if during != wantNow {
			t.Errorf("%s %s: got\n%s", tc.method, tc.url, during)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	m := New(kinds.NewSet(all.Kinds()...), nil, version.Info{})
	o := apiserver.Observation{Verb: "create", Version: "v1", Resource: "pods", Scope: "resource", Code: 201, Duration: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(o)
	}
}
