// Package connect is what stands behind subresources that are more than a view of an object: log, exec, attach, portforward and proxy, which take the HTTP
// connection over, and actions such as token, which answer with an object.
//
// The API server authenticates, authorises, finds the object, runs admission and then calls the handler.
package connect

import (
	"context"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/kinds"
)

// Request is one request to a subresource.
type Request struct {
	Kind *kinds.Kind
	// Object is the object acted on, in the hub version: shared, never changed.
	Object                       kinds.Object
	Namespace, Name, Subresource string
	// Path is what follows the subresource in the URL ("proxy/a/b" has "a/b").
	Path string
	User user.Info
	// Options are the query parameters.
	Options url.Values
	// DryRun: check everything, change nothing.
	DryRun bool
}

// Handler answers for one subresource of one kind. Exactly one of its fields is set.
type Handler struct {
	// HTTP takes the connection over. It writes errors itself, as metav1.Status.
	HTTP func(w http.ResponseWriter, r *http.Request, q *Request)
	// Action answers a create on the subresource; in is of the subresource's type, decoded and private. It is also what in-process callers reach.
	Action func(ctx context.Context, q *Request, in runtime.Object) (runtime.Object, error)
}
