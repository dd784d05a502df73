package controllers

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
)

// Plan is what is to be done about a key. The zero Plan is: nothing. The engine carries it out in this order: Requires, Patches, Updates, Creates, Collections,
// Deletes, StatusUpdates, Then, Events. The first failure ends the plan, but for Then, which is asked what to do about it.
type Plan struct {
	// Requires are checked with live reads before anything is written. If one does not hold, the plan is dropped and made again.
	Requires []Require
	Patches  []Patch
	// Updates are of the main resource, with the resourceVersion in the object as precondition.
	Updates []Update
	// Creates are sent one first, then two, four, and so on at once while all succeed; upstream calls it slow start.
	Creates []Create
	// Collections are deletions of all objects of a kind in a namespace.
	Collections []Collection
	Deletes     []Delete
	// StatusUpdates are made through the status subresource.
	StatusUpdates []Update
	// Then makes the rest of the plan from how the writes so far went; as pure as a planner. It is called also when they failed; the failure still counts.
	Then func(o Outcome) Plan
	// Events are recorded when everything before has succeeded. Those of a single write stand at the write.
	Events []Event

	// RequeueAfter is when the key is to be planned again for no other reason than the time; 0: not.
	RequeueAfter time.Duration
	// Remember is handed to the key's next plan as Snapshot.Memory.
	Remember any
	// AwaitKinds: a kind that this key refers to does not exist. The key is planned again when the kinds of the controller's inputs change.
	AwaitKinds bool
	// Err says that no plan could be made; it is logged, and the key planned again with backoff.
	Err error
}

// Require is a condition on another object, checked live.
type Require struct {
	Kind            *kinds.Kind
	Namespace, Name string
	UID             types.UID
	// Absent: no object of this name has the UID, or, without a name, the namespace has no object of the kind. Otherwise: it exists, and is not being deleted.
	Absent bool
	// Such narrows which objects may not be there, without a name; as pure as a plan. Nil: any.
	Such func(obj kinds.Object) bool
}

// Create is one object to be made. A namespace that is going away refuses it, and that is no failure.
type Create struct {
	Kind   *kinds.Kind
	Object kinds.Object
	// Exists is what to make of a name that is taken. False: a conflict, the key is planned anew. True: the answer stands in the Outcome, for Then to judge.
	Exists bool
	// Done is recorded on success, Failed on failure, with the error after its message.
	Done, Failed *Event
}

// Update is one object in its new state, a private copy.
type Update struct {
	Kind   *kinds.Kind
	Object kinds.Object
	// Subresource to write through; StatusUpdates take "status" when it is empty.
	Subresource string
	Done        *Event
}

// Patch is one change of a part of an object. An object that is gone is no failure.
type Patch struct {
	Kind            *kinds.Kind
	Namespace, Name string
	Type            types.PatchType
	Data            []byte
	Subresource     string
	Done            *Event
}

// Delete is one deletion. An object that is gone, or that is another one of the same name, is no failure.
type Delete struct {
	Kind            *kinds.Kind
	Namespace, Name string
	// UID is required; ResourceVersion is a further precondition when not empty.
	UID             types.UID
	ResourceVersion string
	Propagation     metav1.DeletionPropagation // "": the kind's default
	Grace           *int64                     // seconds; nil: the object's own
	Done, Failed    *Event
}

// Collection is all objects of a kind in a namespace.
type Collection struct {
	Kind        *kinds.Kind
	Namespace   string
	Propagation metav1.DeletionPropagation
}

// Event is something to tell about an object.
type Event struct {
	Kind                  *kinds.Kind
	About                 kinds.Object
	Type, Reason, Message string
}

// Outcome is how a plan's writes went.
type Outcome struct {
	// Err is the first failure, or nil. Creates that were refused because the namespace is going away do not count.
	Err error
	// Created has what each of the plan's creates made, in their order; nil where none was made.
	Created []kinds.Object
	// Updated has the new state of each update and patch, patches first; nil where it was not written, or the object was gone.
	Updated []kinds.Object
	// Exists says of each create marked Exists whether the name was taken.
	Exists []bool
	// Failed are the failures of Collections, in their order; nil where there was none.
	Failed []error
}

// DeleteOf plans the deletion of an object.
func DeleteOf(k *kinds.Kind, obj kinds.Object) Delete {
	return Delete{Kind: k, Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: obj.GetUID()}
}

// PatchOf plans a patch of an object.
func PatchOf(k *kinds.Kind, obj kinds.Object, pt types.PatchType, data []byte) Patch {
	return Patch{Kind: k, Namespace: obj.GetNamespace(), Name: obj.GetName(), Type: pt, Data: data}
}

// As is the typed object of a snapshot, or false.
func As[T kinds.Object](r Reader, k *kinds.Kind, namespace, name string) (T, bool) {
	return client.Found[T](r.Get(k, namespace, name))
}

// All is the typed objects of a snapshot.
func All[T kinds.Object](r Reader, k *kinds.Kind, namespace string) []T {
	return client.All[T](r.List(k, namespace, nil))
}
