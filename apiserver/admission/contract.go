// Package admission is where policy stands in front of every write: plugins see what is about to be written and may change it (mutate) or refuse it
// (validate). It is the middle of the first room, declare: decode -> default -> mutate -> validate -> allow -> commit.
//
// Plugins read the store through a [Reader], never an informer, so what they see is never older than the last write that returned. They never run under a lock
// of the store.
package admission

import (
	"context"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/kinds"
)

// Operation is what a request does.
type Operation string

// Operations, with the names that webhooks and policies see.
const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// Request is one write on its way in.
type Request struct {
	Operation Operation
	Kind      *kinds.Kind
	// Served is the version that the client speaks.
	Served      *kinds.Served
	Subresource string
	Namespace   string
	// Name is empty on a create with generateName.
	Name string
	// Object is the new state in the hub version, private to the request: a [Mutator] changes it in place. Nil for deletes, connections and actions.
	Object kinds.Object
	// Old is the state before, shared and never changed. Nil on create; for actions and connections the object acted on.
	Old kinds.Object
	// In is what was sent to an action (binding, eviction, token) or to a view of another type (scale); nil otherwise. Private to the request.
	In runtime.Object
	// User is who asks. Never nil.
	User   user.Info
	DryRun bool
	// Options is the *metav1.CreateOptions, *metav1.UpdateOptions, *metav1.DeleteOptions of the request. Patch and apply give create or update options.
	Options runtime.Object
	// Warn adds a Warning header to the answer. Never nil.
	Warn func(text string)

	// Again: mutators run for the second and last time, because one that came late has changed what those before it saw. The object is the changed one.
	Again bool

	finish   []func()
	reinvoke bool
	values   map[any]any
	further  []func(context.Context) ([]Change, error)
}

// Change is a further write in a request's own commit: Object, private to it, takes the place of Old, which must be the newest state then.
type Change struct {
	Kind        *kinds.Kind
	Object, Old kinds.Object
}

// InCommit has f asked for further writes right before the request's commit, and again whenever one of them was overtaken by somebody else's. Its error refuses
// the request. In a dry run it is asked too, and nothing is written.
func (r *Request) InCommit(f func(context.Context) ([]Change, error)) {
	r.further = append(r.further, f)
}

// Further asks for further writes. For who commits.
func (r *Request) Further(ctx context.Context) ([]Change, error) {
	var all []Change
	for _, f := range r.further {
		more, err := f(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// HasFurther reports that Further is worth asking.
func (r *Request) HasFurther() bool { return len(r.further) > 0 }

// Value is what a plugin keeps with the request from its first to its second round, by a key of its own.
func (r *Request) Value(key any) any { return r.values[key] }

// SetValue keeps a value.
func (r *Request) SetValue(key, value any) {
	if r.values == nil {
		r.values = map[any]any{}
	}
	r.values[key] = value
}

// Reinvoke asks that the mutators up to and including the one that calls it run once more. It is for those that change what others look at (webhooks add a
// container, to which the service account's volume is then mounted). Once is all: in the second round it does nothing.
func (r *Request) Reinvoke() { r.reinvoke = !r.Again }

// Reinvoked takes the wish back and reports whether there was one. For who runs plugins.
func (r *Request) Reinvoked() bool {
	was := r.reinvoke
	r.reinvoke = false
	return was
}

// AfterWrite has f called when the request is over: its write is visible, or was given up. A plugin that holds something for the request (an address that is
// not in the store yet) lets go of it there.
func (r *Request) AfterWrite(f func()) { r.finish = append(r.finish, f) }

// Finish ends the request. Who runs plugins calls it once, after the commit or the error that ended the request.
func (r *Request) Finish() {
	for _, f := range r.finish {
		f()
	}
	r.finish = nil
}

// Plugin is an admission plugin. It is a [Mutator], a [Validator], a [Completer] or several of them. Errors are API errors; any other becomes a 403 with its text.
type Plugin interface{ Name() string }

// Mutator changes requests. It may run again for the same request when a write is retried after a conflict.
type Mutator interface {
	Mutate(ctx context.Context, r *Request) error
}

// Validator refuses requests. It sees the object as it will be stored and changes nothing.
type Validator interface {
	Validate(ctx context.Context, r *Request) error
}

// Completer fills in what only the server says of an object (the conditions of a CustomResourceDefinition), in the moment before the write, when everybody else has
// agreed. Nobody checks what it sets. It may keep others out until the request is over (AfterWrite): nothing but the commit comes behind it.
type Completer interface {
	Complete(ctx context.Context, r *Request) error
}

// Reader reads the newest state, without authorization, from the store's memory. Objects are shared and immutable.
type Reader interface {
	Peek(k *kinds.Kind, namespace, name string) (kinds.Object, bool)
	PeekList(k *kinds.Kind, namespace string, selector labels.Selector) []kinds.Object
	PeekOwned(k *kinds.Kind, namespace string, owner types.UID) []kinds.Object
	PeekField(k *kinds.Kind, namespace, field, value string) []kinds.Object
}
