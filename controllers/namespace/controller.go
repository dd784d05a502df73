// Package namespace empties a namespace that is being deleted, and then lets it go.
//
// It owns the deletion of everything in a terminating namespace, the namespace's conditions, and the "kubernetes" entry of its spec.finalizers. Pods go first
// (KEP-5080), so that what protects or serves them stays as long as they run.
package namespace

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// settle is how long deletions in a namespace are gathered before the next look at what is left.
const settle = 20 * time.Millisecond

// New is the controller for a set of kinds. Kinds in unfollowed (events) are deleted with the namespace, but their changes are not watched for.
func New(set *kinds.Set, unfollowed ...*kinds.Kind) controllers.Controller {
	c := cleaner{set: set, unfollowed: unfollowed}
	return controllers.Controller{
		Name: "namespace", Component: "namespace-controller",
		Inputs: []controllers.Input{
			{Kind: core.Namespace, Keys: controllers.Self},
			{Kinds: set, Except: append([]*kinds.Kind{core.Namespace}, unfollowed...), Keys: contentKeys, Delay: settle},
		},
		Outputs: []controllers.Output{
			{Fields: "delete in a namespace that is being deleted"},
			{Kind: core.Namespace, Fields: "spec.finalizers[kubernetes]"},
			{Kind: core.Namespace, Fields: "status"},
		},
		Plan: c.plan,
	}
}

type cleaner struct {
	set        *kinds.Set
	unfollowed []*kinds.Kind
}

// contentKeys names a terminating namespace in which something came or went.
func contentKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	if c.Old != nil && c.New != nil {
		return nil
	}
	name := c.Object().GetNamespace()
	if name == "" {
		return nil
	}
	if ns, ok := r.Get(core.Namespace, "", name); !ok || ns.GetDeletionTimestamp() == nil {
		return nil
	}
	return []controllers.Key{{Name: name}}
}

// emptied reports whether there is nothing left to do for a namespace here.
func emptied(ns *corev1.Namespace) bool {
	return ns.DeletionTimestamp == nil || !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes)
}
