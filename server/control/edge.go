package control

import (
	"encoding/json"
	"net/http"
	"net/netip"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/authn"
	"github.com/tenet-run/tenet/apiserver/discovery"
	"github.com/tenet-run/tenet/apiserver/openapi"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/internal/version"
	"github.com/tenet-run/tenet/kinds"
)

// edge answers everything that is no object: discovery, OpenAPI, the documents about tokens, health, version, metrics.
type edge struct {
	mux   *http.ServeMux
	kinds *controllers.KindSet
}

func newEdge(c *Control, list []*kinds.Kind, tokens *authn.Tokens) (*edge, error) {
	e := &edge{mux: http.NewServeMux(), kinds: controllers.NewKindSet(list...)}
	groups := discovery.New(list, netip.AddrPortFrom(c.cfg.ServiceIP, 443).String())
	for _, path := range []string{"/api", "/api/", "/apis", "/apis/"} {
		e.mux.Handle(path, groups)
	}
	docs := openapi.New(openapi.BuiltIn())
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
	text, err := json.MarshalIndent(version.Get(), "", "  ")
	if err != nil {
		return nil, err
	}
	e.mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(text)
	})
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		e.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			select {
			case <-c.booted:
				w.Write([]byte("ok"))
			default:
				http.Error(w, "first objects are not there yet", http.StatusInternalServerError)
			}
		})
	}
	return e, nil
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.mux.ServeHTTP(w, r) }

func (e *edge) observe(apiserver.Observation) {}
