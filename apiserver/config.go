package apiserver

import (
	"log/slog"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// Config is everything a Server is made of. Store, and Kinds or Live are required.
type Config struct {
	Store store.Store
	// Live is what is served, which may change while the server runs. Nil: Kinds, which do not change.
	Live  *kinds.Set
	Kinds []*kinds.Kind
	// Committed is called, by storage prefix, after each write of an object under the prefix and before the writer is answered. It must not write itself.
	Committed map[string]func(key store.Key)

	// Authenticator says who asks. Nil: everybody is system:anonymous.
	Authenticator authenticator.Request
	// Authorizer says whether they may. Nil: everybody may do everything (tests).
	Authorizer authorizer.UnconditionalAuthorizer
	// Admission plugins run in this order, mutators before validators.
	Admission []admission.Plugin
	// Connect has a handler for "pods/log" and the like, and for "tokenreviews.authentication.k8s.io" and other kinds that are not stored; eviction has one
	// built in.
	Connect map[string]connect.Handler
	// Extra answers all that is no object under /api or /apis: discovery, openapi, healthz, version, metrics. It is asked for "/api", "/apis" and
	// "/apis/g/v" too. Requests are authenticated and authorised before. Nil: 404.
	Extra http.Handler

	// Remote is who answers for a path instead of this server, once the request is authenticated and authorized: another API server. It is asked for every request
	// and gives nil quickly. May be nil.
	Remote func(path string) http.Handler

	// Observe is called after each request. It must not block. May be nil.
	Observe func(Observation)
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
	// Now is time.Now when nil.
	Now func() time.Time
	// RequestTimeout bounds requests that are no watch and no connection. 60 s when 0.
	RequestTimeout time.Duration
	// CacheBytes bounds the memory of encoded bodies that are kept for the next reader. 64 MiB when 0.
	CacheBytes int64
	// Types is the structured-merge schema of the kinds, for server-side apply. Nil: that of the built-in kinds.
	Types managedfields.TypeConverter
}

// Observation is what a finished request looked like, for metrics.
type Observation struct {
	// Verb is get, list, watch, create, update, patch, apply, delete, deletecollection, connect, or the lower-cased HTTP method for what is no resource.
	Verb, Group, Version, Resource, Subresource string
	// Scope is "resource", "namespace", "cluster" or "".
	Scope    string
	Code     int
	DryRun   bool
	Duration time.Duration
	// Bytes is the size of the response's body before compression; Count is the number of objects of a list or events of a watch.
	Bytes, Count int64
	// Began is true for the call at the start of a long-running request (watch, connect), whose end is reported by another call, with Ended.
	Began, Ended bool
}
