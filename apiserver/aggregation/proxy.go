package aggregation

import (
	"net/http"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/transport"

	"github.com/tenet-run/tenet/kinds/apiregistration"
)

// ServeHTTP passes a request of the user in its context on. Refusals are plain text, as upstream's.
func (m *remote) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !apiregistration.Available(m.object) {
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	if m.err != nil {
		http.Error(w, m.err.Error(), http.StatusInternalServerError)
		return
	}
	who, ok := request.UserFrom(r.Context())
	if !ok {
		http.Error(w, "missing user", http.StatusInternalServerError)
		return
	}
	if err := m.resolve(); err != nil {
		m.registry.cfg.Logger.Warn("an aggregated API cannot be reached", "apiservice", m.object.Name, "error", err)
		m.doubt()
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	location := m.location(r.URL.Path, r.URL.Query().Encode())
	out := r.Clone(r.Context())
	out.URL, out.Host = location, location.Host
	if id := w.Header().Get("Audit-Id"); id != "" {
		out.Header.Set("Audit-Id", id)
		w.Header().Del("Audit-Id") // the answer brings it
	}
	w.Header().Del("Cache-Control")
	uid := who.GetUID()
	trip := transport.NewAuthProxyRoundTripper(who.GetName(), uid, who.GetGroups(), who.GetExtra(), m.transport)
	upgrade := httpstream.IsUpgradeRequest(r)
	if upgrade {
		// The connection is dialled without the round tripper, so the headers have to be there already.
		transport.SetAuthProxyHeaders(out, who.GetName(), uid, who.GetGroups(), who.GetExtra())
	}
	h := proxy.NewUpgradeAwareHandler(location, trip, true, upgrade, responder{m.backend})
	h.ServeHTTP(w, out)
}

// responder answers for a backend that does not.
type responder struct{ b *backend }

// Error implements proxy.ErrorResponder.
func (p responder) Error(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		p.b.doubt()
	}
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}
