package control

import (
	"context"
	"errors"
	"net/http"
	"net/http/pprof"
	"net/netip"

	"github.com/tenet-run/tenet/apiserver/authn"
	"github.com/tenet-run/tenet/apiserver/discovery"
	"github.com/tenet-run/tenet/apiserver/health"
	"github.com/tenet-run/tenet/apiserver/metrics"
	"github.com/tenet-run/tenet/apiserver/openapi"
	"github.com/tenet-run/tenet/internal/version"
	"github.com/tenet-run/tenet/kinds"
)

// edge answers everything that is no object: discovery, OpenAPI, the documents about tokens, health, version, metrics.
type edge struct {
	mux     *http.ServeMux
	metrics *metrics.Metrics
}

func newEdge(c *Control, live *kinds.Set, remote discovery.Remote, tokens *authn.Tokens) (*edge, error) {
	e := &edge{mux: http.NewServeMux()}
	groups := discovery.New(live, netip.AddrPortFrom(c.cfg.ServiceIP, 443).String(), remote)
	for _, path := range []string{"/api", "/api/", "/apis", "/apis/"} {
		e.mux.Handle(path, groups)
	}
	docs := openapi.New(openapi.Live(live))
	e.mux.Handle("/openapi/", docs)
	if tokens != nil {
		handlers, err := tokens.Handlers()
		if err != nil {
			return nil, err
		}
		for path, h := range handlers {
			e.mux.Handle(path, h)
		}
	}
	v, err := health.Version(version.Get())
	if err != nil {
		return nil, err
	}
	e.mux.Handle("/version", v)
	e.mux.Handle("/version/", v)
	storage := health.Check{Name: "store", Run: func(ctx context.Context) error { return c.cfg.Store.Wait(ctx, c.cfg.Store.Revision()) }}
	booted := health.Check{Name: "poststarthook/bootstrap", Run: func(context.Context) error {
		select {
		case <-c.booted:
			return nil
		default:
			return errors.New("the first objects are not there yet")
		}
	}}
	for path, checks := range map[string][]health.Check{"/livez": {storage}, "/healthz": {storage, booted}, "/readyz": {storage, booted}} {
		h := health.New(path, c.cfg.Logger, checks...)
		e.mux.Handle(path, h)
		e.mux.Handle(path+"/", h)
	}
	e.metrics = metrics.New(live, c.cfg.Store, version.Get())
	e.mux.Handle("/metrics", e.metrics)
	// For administrators, as kube-apiserver has it.
	e.mux.HandleFunc("/debug/pprof/", pprof.Index)
	e.mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	e.mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	e.mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return e, nil
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.mux.ServeHTTP(w, r) }
