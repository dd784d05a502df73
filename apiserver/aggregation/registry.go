package aggregation

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiregistration"
	"github.com/tenet-run/tenet/store"
)

// Config is what a Registry is made of. Reader and Live are required.
type Config struct {
	Reader admission.Reader
	// Live tells which group versions are served here.
	Live *kinds.Set
	// Certificate is the front proxy's, the newest one at each handshake. Nil: none is shown.
	Certificate func() (*tls.Certificate, error)
	Logger      *slog.Logger
	Now         func() time.Time
}

// Registry knows the APIServices that name a Service.
type Registry struct {
	cfg   Config
	table atomic.Pointer[table] // nil: there are none

	mu      sync.Mutex
	version atomic.Uint64
	wake    chan struct{} // to Run, with room for one
}

// table is immutable.
type table struct {
	remotes map[schema.GroupVersion]*remote
}

// remote is one APIService that names a Service, as it was when it was last written. It is immutable but for what its backend holds.
type remote struct {
	*backend
	object *apiregistrationv1.APIService
	gv     schema.GroupVersion
}

// New reads the APIServices in the store.
func New(cfg Config) *Registry {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Registry{cfg: cfg, wake: make(chan struct{}, 1)}
	for _, obj := range cfg.Reader.PeekList(apiregistration.APIService, "", nil) {
		r.apply(obj.GetName(), obj.(*apiregistrationv1.APIService))
	}
	return r
}

// Committed is for apiserver.Config: it has the registry told of the writes of APIServices.
func (r *Registry) Committed() map[string]func(store.Key) {
	return map[string]func(store.Key){apiregistration.APIService.Storage.Prefix: func(key store.Key) { r.Refresh(key.Name) }}
}

// Refresh makes the registry true to the newest state of one APIService.
func (r *Registry) Refresh(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	obj, ok := r.cfg.Reader.Peek(apiregistration.APIService, "", name)
	if !ok {
		r.apply(name, nil)
		return
	}
	r.apply(name, obj.(*apiregistrationv1.APIService))
}

// apply takes one state of an APIService in; nil: it is gone.
func (r *Registry) apply(name string, a *apiregistrationv1.APIService) {
	old := r.table.Load()
	version, group, _ := strings.Cut(name, ".")
	gv := schema.GroupVersion{Group: group, Version: version}
	var had *remote
	if old != nil {
		had = old.remotes[gv]
	}
	if a == nil || a.Spec.Service == nil {
		if had == nil {
			return
		}
		a = nil
	}
	next := &table{remotes: map[schema.GroupVersion]*remote{}}
	if old != nil {
		for k, v := range old.remotes {
			next.remotes[k] = v
		}
	}
	if a == nil {
		delete(next.remotes, gv)
	} else {
		rem := &remote{object: a, gv: gv}
		if had != nil && had.object.UID == a.UID && equality.Semantic.DeepEqual(had.object.Spec, a.Spec) {
			rem.backend = had.backend
		} else {
			rem.backend = newBackend(r, a)
		}
		next.remotes[gv] = rem
	}
	if had != nil && (a == nil || next.remotes[gv].backend != had.backend) {
		had.backend.close()
	}
	if len(next.remotes) == 0 {
		next = nil
	}
	r.table.Store(next)
	r.version.Add(1)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// servesLocally reports that a group version is not another server's to answer for.
func (r *Registry) servesLocally(gv schema.GroupVersion) bool {
	g := r.cfg.Live.Group(gv.Group)
	if g == nil {
		return false
	}
	for _, k := range g.Kinds {
		if k.Serves(gv) != nil {
			return true
		}
	}
	return false
}

// remotes are those that answer for a group version of their own, by group version.
func (r *Registry) remotes() map[schema.GroupVersion]*remote {
	t := r.table.Load()
	if t == nil {
		return nil
	}
	out := map[schema.GroupVersion]*remote{}
	for gv, rem := range t.remotes {
		if !r.servesLocally(gv) {
			out[gv] = rem
		}
	}
	return out
}

// At is who answers for a path instead of this server, or nil.
func (r *Registry) At(path string) http.Handler {
	t := r.table.Load()
	if t == nil {
		return nil
	}
	var gv schema.GroupVersion
	rest, ok := strings.CutPrefix(path, "/apis/")
	if ok {
		gv.Group, rest, ok = strings.Cut(rest, "/")
	} else {
		rest, ok = strings.CutPrefix(path, "/api/")
	}
	if !ok {
		return nil
	}
	gv.Version, _, _ = strings.Cut(rest, "/")
	rem := t.remotes[gv]
	if rem == nil || r.servesLocally(gv) {
		return nil
	}
	return rem
}
