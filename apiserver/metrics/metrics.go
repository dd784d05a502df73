// Package metrics counts what the API server does, under the names that Kubernetes' dashboards and alerts know, and serves /metrics.
//
// Counting a request costs one map read and a few atomic additions: the series of a set of labels are looked up once. Labels come only from the list of
// kinds, never from what clients write into URLs, so the number of series is bounded.
package metrics

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/kinds"
)

const component = "apiserver"

var (
	latencyBuckets = []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}
	sliBuckets     = latencyBuckets[2:]
)

// Metrics are the metrics of one API server, in a registry of their own.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	requests     *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	sli          *prometheus.HistogramVec
	sizes        *prometheus.HistogramVec
	longRunning  *prometheus.GaugeVec
	watchEvents  *prometheus.CounterVec
	readOnly     prometheus.Gauge
	mutating     prometheus.Gauge
	live         *kinds.Set
	observations sync.Map // observationKey -> *series
}

// Counter tells how many objects the store holds under a prefix. A store.Store is one.
type Counter interface{ Count(prefix string) int }

// New makes the metrics for what is served. objects may be nil: then the number of objects is not told.
func New(live *kinds.Set, objects Counter, info version.Info) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), live: live}
	labels := []string{"verb", "group", "version", "resource", "subresource", "scope", "component"}
	dry := append([]string{"dry_run"}, labels...)
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_request_total",
		Help: "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code."}, append([]string{"code"}, dry...))
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_request_duration_seconds",
		Help: "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.", Buckets: latencyBuckets}, dry)
	m.sli = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_request_sli_duration_seconds",
		Help: "Response latency distribution in seconds for each verb, group, version, resource, subresource, scope and component.", Buckets: sliBuckets}, labels)
	m.sizes = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_response_sizes",
		Help: "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.", Buckets: prometheus.ExponentialBuckets(1000, 10, 7)}, labels)
	m.longRunning = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_longrunning_requests",
		Help: "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component."}, labels)
	m.watchEvents = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_watch_events_total",
		Help: "Number of events sent in watch clients"}, []string{"group", "version", "resource"})
	inflight := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_current_inflight_requests",
		Help: "Number of requests that are being answered now, per request kind; long-running ones are not among them."}, []string{"request_kind"})
	m.readOnly, m.mutating = inflight.WithLabelValues("readOnly"), inflight.WithLabelValues("mutating")
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kubernetes_build_info", Help: "A metric with a constant '1' value labeled by what was built.",
		ConstLabels: prometheus.Labels{"major": info.Major, "minor": info.Minor, "git_version": info.GitVersion, "git_commit": info.GitCommit, "git_tree_state": info.GitTreeState,
			"build_date": info.BuildDate, "go_version": info.GoVersion, "compiler": info.Compiler, "platform": info.Platform}})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.duration, m.sli, m.sizes, m.longRunning, m.watchEvents, inflight, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if objects != nil {
		m.registry.MustRegister(&objectCounts{live, objects})
	}
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// Registry takes further metrics of this process.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// ServeHTTP implements http.Handler for /metrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// observationKey is all that tells series apart.
type observationKey struct {
	verb, group, version, resource, subresource, scope string
	code                                               int
	dryRun                                             bool
}

// series are what one observation goes into. Those of other codes and dry runs share what has no such label.
type series struct {
	requests      prometheus.Counter
	duration, sli prometheus.Observer
	sizes         prometheus.Observer // nil for writes
	longRunning   prometheus.Gauge    // nil for requests that are not
	watchEvents   prometheus.Counter  // nil for all but watches
}

// Observe counts a request. It is what apiserver.Config.Observe wants.
func (m *Metrics) Observe(o apiserver.Observation) {
	k := observationKey{o.Verb, o.Group, o.Version, o.Resource, o.Subresource, o.Scope, o.Code, o.DryRun}
	if o.Began {
		k.code = 0 // what has begun has no outcome yet
	}
	var s *series
	if v, ok := m.observations.Load(k); ok {
		s = v.(*series)
	} else {
		s = m.resolve(k)
	}
	if o.Began {
		if s.longRunning != nil {
			s.longRunning.Inc()
		}
		return
	}
	s.requests.Inc()
	if o.Ended {
		if s.longRunning != nil {
			s.longRunning.Dec()
		}
	} else {
		seconds := o.Duration.Seconds()
		s.duration.Observe(seconds)
		s.sli.Observe(seconds)
	}
	if s.sizes != nil {
		s.sizes.Observe(float64(o.Bytes))
	}
	if s.watchEvents != nil {
		s.watchEvents.Add(float64(o.Count))
	}
}

// verbs are the labels that Kubernetes gives to its verbs.
var verbs = map[string]string{
	"get": "GET", "list": "LIST", "watch": "WATCH", "create": "POST", "update": "PUT", "patch": "PATCH", "apply": "APPLY", "delete": "DELETE",
	"deletecollection": "DELETECOLLECTION", "connect": "CONNECT", "post": "POST", "put": "PUT", "head": "HEAD", "options": "OPTIONS",
}

func (m *Metrics) resolve(k observationKey) *series {
	l := k // as labelled: with nothing in it that a client made up
	if l.verb = verbs[k.verb]; l.verb == "" {
		l.verb = "OTHER"
	}
	if d := m.live.Resource(schema.GroupVersionResource{Group: k.group, Version: k.version, Resource: k.resource}); d.Kind == nil {
		l.group, l.version, l.resource, l.subresource, l.scope = "", "", "", "", ""
	} else if d.Kind.SubresourceOf(d.Served, k.subresource) == nil {
		l.subresource = ""
	}
	dry := ""
	if l.dryRun {
		dry = "All"
	}
	labels := []string{l.verb, l.group, l.version, l.resource, l.subresource, l.scope, component}
	withDry := append([]string{dry}, labels...)
	s := &series{duration: m.duration.WithLabelValues(withDry...), sli: m.sli.WithLabelValues(labels...)}
	switch l.verb {
	case "WATCH":
		s.longRunning = m.longRunning.WithLabelValues(labels...)
		s.watchEvents = m.watchEvents.WithLabelValues(l.group, l.version, l.resource)
	case "CONNECT":
		s.longRunning = m.longRunning.WithLabelValues(labels...)
	case "GET", "LIST":
		s.sizes = m.sizes.WithLabelValues(labels...)
	}
	if k.code != 0 {
		s.requests = m.requests.WithLabelValues(append([]string{strconv.Itoa(k.code)}, withDry...)...)
	} else {
		s.requests = discard
	}
	if l == (observationKey{l.verb, k.group, k.version, k.resource, k.subresource, k.scope, k.code, k.dryRun}) && l.verb != "OTHER" {
		m.observations.Store(k, s) // only what is bounded is remembered
	}
	return s
}

// discard takes what has no code: the start of a request.
var discard = prometheus.NewCounter(prometheus.CounterOpts{Name: "discard"})

// Inflight counts the requests that next is answering. isLong tells those that do not count: watches, logs and other connections.
func (m *Metrics) Inflight(next http.Handler, isLong func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isLong != nil && isLong(r) {
			next.ServeHTTP(w, r)
			return
		}
		g := m.mutating
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			g = m.readOnly
		}
		g.Inc()
		defer g.Dec()
		next.ServeHTTP(w, r)
	})
}
