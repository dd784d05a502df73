// Package controllers is the third room of Tenet: reconcile. It runs controllers, which make what is (status, and objects that stand for other objects) match
// what was asked for.
//
// A [Controller] is a declaration: the kinds it reads and how a change of one of them names a key of its own ([Input]), what it alone writes ([Output]), and one
// pure function, [Controller.Plan], from a snapshot to what is to be done about a key. [Run] is the engine, and the only place with goroutines, clocks and retries.
//
// # Guarantees
//
//   - A key is planned at least once after every change that names it, and never by two goroutines at once. Changes that come close together share a plan.
//   - The engine decides from state, not from changes: a plan made after a crash, a conflict or a lost answer starts from what is there. Whoever writes a planner
//     makes sure that every prefix of a plan's writes, followed by a new plan, leads to the same end.
//   - A key is not planned from a cache that does not show yet what the last plan for the key has written. In process that is always so; remotely the engine waits.
//   - Every update has the resourceVersion of the object it was made from as precondition, every deletion the UID. A conflict plans anew at once, any other
//     failure after 5 ms, doubled at each failure in a row, at most 1000 s.
//   - Two controllers that own the same output fail at start, and so does a controller with an incomplete declaration.
//
// # Not guaranteed
//
// The order in which keys are planned; that every state of an object is seen by a plan; that a plan whose answer was lost was not carried out.
// An engine with nothing to do does nothing: there is no resync.
package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
)

// Controller declares one controller.
type Controller struct {
	// Name is unique, lower case: "deployment". It is what logs and the graph say.
	Name string
	// Component is the source of its events, as upstream names it: "deployment-controller".
	Component string
	Inputs    []Input
	Outputs   []Output
	// Plan says what is to be done about a key. It is pure: it reads only what it is given, starts nothing, and changes no object that comes from the
	// snapshot. It is called by several goroutines at once, with different keys.
	Plan func(s Snapshot, key Key, now time.Time) Plan
	// Workers is how many keys are planned and carried out at once; 0: 5, as upstream.
	Workers int
}

// Key names what is planned as one. Kind is nil for controllers whose keys are all of one kind.
type Key struct {
	Kind            *kinds.Kind
	Namespace, Name string
}

// String is the key as logs show it.
func (k Key) String() string {
	s := k.Name
	if k.Namespace != "" {
		s = k.Namespace + "/" + s
	}
	if k.Kind != nil {
		s = k.Kind.Plural + " " + s
	}
	return s
}

// KeyOf is the key of an object, for controllers whose keys are of one kind.
func KeyOf(obj kinds.Object) Key { return Key{Namespace: obj.GetNamespace(), Name: obj.GetName()} }

// Input is something a controller reads.
type Input struct {
	// Kind is what is followed, or Kinds when that is a list that may change while the engine runs.
	Kind  *kinds.Kind
	Kinds *kinds.Set
	// Except are kinds in Kinds that are not followed.
	Except []*kinds.Kind
	// Keys names the keys to plan because of a change. It is as pure as Plan, and quick: it is called for every change, in order. Nil: the kind is only read.
	Keys func(r Reader, k *kinds.Kind, c client.Change) []Key
	// Delay is how long a key waits after a change, so that many changes share one plan.
	Delay time.Duration
}

// Output is something that one controller alone writes.
type Output struct {
	// Kind of the objects; nil: any kind.
	Kind *kinds.Kind
	// Fields says what of them, e.g. "status", "spec.replicas", "metadata.finalizers[orphan]", or an action: "create", "delete when the owner is gone".
	Fields string
}

// Reader reads the newest state. Objects are shared and immutable.
type Reader interface {
	Get(k *kinds.Kind, namespace, name string) (kinds.Object, bool)
	List(k *kinds.Kind, namespace string, selector labels.Selector) []kinds.Object
	Owned(k *kinds.Kind, namespace string, owner types.UID) []kinds.Object
	ByField(k *kinds.Kind, namespace, field, value string) []kinds.Object
}

// Snapshot is what a plan is made from.
type Snapshot struct {
	Reader
	// Memory is what the last plan for the key remembered (Plan.Remember); nil after a start.
	Memory any
}

// Self is the usual Keys function: the object itself.
func Self(_ Reader, _ *kinds.Kind, c client.Change) []Key { return []Key{KeyOf(c.Object())} }

// Added is Self for objects that appear; changes and deletions are left out.
func Added(_ Reader, _ *kinds.Kind, c client.Change) []Key {
	if c.Old != nil {
		return nil
	}
	return []Key{KeyOf(c.New)}
}

// OwnedBy names the controlling owner, when that is of the kind; of a change of owner, both.
func OwnedBy(owner *kinds.Kind) func(Reader, *kinds.Kind, client.Change) []Key {
	return func(_ Reader, _ *kinds.Kind, c client.Change) []Key {
		var keys []Key
		for _, obj := range []kinds.Object{c.Old, c.New} {
			if obj == nil {
				continue
			}
			if ref := controllerOf(obj, owner); ref != "" {
				key := Key{Namespace: obj.GetNamespace(), Name: ref}
				if len(keys) == 0 || keys[0] != key {
					keys = append(keys, key)
				}
			}
		}
		return keys
	}
}

func controllerOf(obj kinds.Object, owner *kinds.Kind) string {
	for _, ref := range obj.GetOwnerReferences() {
		if ref.Controller != nil && *ref.Controller && kinds.IsKind(owner, ref.APIVersion, ref.Kind) {
			return ref.Name
		}
	}
	return ""
}
