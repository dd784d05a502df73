package apiserver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/apiserver/parse"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/openapi"
	"github.com/tenet-run/tenet/store"
)

// Server is the API server: an http.Handler, and the same pipeline as functions (client.Pipeline).
type Server struct {
	Reader
	cfg    Config
	log    *slog.Logger
	now    func() time.Time
	cache  *encode.Cache
	parser parse.Parser
	live   *kinds.Set
	fixed  map[resourceKey]*resource // kinds that were there from the start
	tokens continueTokens

	owners sync.Map // of ownerKey to *ownership

	watching atomic.Int64 // watches over HTTP
	beat     beat         // of those that are busy

	stop    context.Context
	stopped context.CancelFunc
}

// New makes a Server. It starts no goroutine.
func New(cfg Config) (*Server, error) {
	if cfg.Store == nil {
		return nil, errors.New("apiserver: no store")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = 60 * time.Second
	}
	if cfg.Types == nil {
		cfg.Types = openapi.TypeConverter()
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 64 << 20
	}
	s := &Server{
		Reader: Reader{cfg.Store}, cfg: cfg, log: cfg.Logger, now: cfg.Now,
		cache: encode.NewCache(cfg.CacheBytes),
	}
	s.stop, s.stopped = context.WithCancel(context.Background())
	s.tokens.start(s.now())
	if s.live = cfg.Live; s.live == nil {
		s.live = kinds.NewSet(cfg.Kinds...)
	}
	s.fixed = map[resourceKey]*resource{}
	for _, k := range s.live.List() {
		if k.Custom() {
			continue
		}
		for _, v := range k.Served {
			s.fixed[resourceKey{v.Group, v.Version, k.Plural}] = &resource{kind: k, served: v, head: encode.NewHead(k, v)}
		}
	}
	return s, nil
}

// Kinds is what is served now.
func (s *Server) Kinds() *kinds.Set { return s.live }

// Kind is the kind of a type that is served, and the version; nil when there is none.
func (s *Server) Kind(gvk schema.GroupVersionKind) (*kinds.Kind, *kinds.Served) {
	d := s.live.Kind(gvk)
	return d.Kind, d.Served
}

// Close ends all watches and lets go of cached bytes. Requests under way end by themselves.
func (s *Server) Close() {
	s.stopped()
	s.cache.Close()
}

// CachedBytes is the memory of encoded bodies held for the next reader.
func (s *Server) CachedBytes() int64 { return s.cache.Bytes() }

var _ http.Handler = (*Server)(nil)

// Revision is the newest revision of the store.
func (s *Server) Revision() store.Revision { return s.cfg.Store.Revision() }
