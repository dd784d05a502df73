// Package garbage deletes what has lost all its owners (metadata.ownerReferences), in the three ways that a deletion can ask for: background (the owner goes
// first), foreground (the owner waits for those dependents that block it), and orphan (the dependents stay, and forget the owner).
//
// It works on every kind there is, and keeps no graph: dependents are found by the index of owners that the cache has. Before anything is deleted because an
// owner is absent, the owner's absence is checked live.
package garbage

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
)

// New is the controller for a set of kinds. Objects of ignored kinds (events) are never deleted here, whatever they refer to.
func New(set *kinds.Set, ignored ...*kinds.Kind) controllers.Controller {
	c := collector{set: set, ignored: ignored}
	return controllers.Controller{
		Name: "garbage", Component: "garbage-collector-controller", Workers: 20,
		Inputs: []controllers.Input{{Kinds: set, Except: ignored, Keys: c.keys}},
		Outputs: []controllers.Output{
			{Fields: "delete when no owner is left"},
			{Fields: "metadata.ownerReferences[of owners that are gone]"},
			{Fields: "metadata.finalizers[orphan, foregroundDeletion]"},
		},
		Plan: c.plan,
	}
}

type collector struct {
	set     *kinds.Set
	ignored []*kinds.Kind
}

// dependent is an object that refers to an owner, and its kind.
type dependent struct {
	kind *kinds.Kind
	obj  kinds.Object
}

func (d dependent) key() controllers.Key {
	return controllers.Key{Kind: d.kind, Namespace: d.obj.GetNamespace(), Name: d.obj.GetName()}
}

// keys names the object itself when its owners matter or it waits for its dependents; its dependents when it is gone, or starts to wait for them; and its
// owners that may have waited for it.
func (c collector) keys(r controllers.Reader, k *kinds.Kind, change client.Change) []controllers.Key {
	var keys []controllers.Key
	if change.New == nil {
		for _, d := range c.dependents(r, k, change.Old) {
			keys = append(keys, d.key())
		}
		return append(keys, c.waitingOwners(r, k, change.Old, nil)...)
	}
	self := dependent{k, change.New}.key()
	waits := orphaning(change.New) || waitsForDependents(change.New)
	owners := change.New.GetOwnerReferences()
	changed := change.Old == nil || !equality.Semantic.DeepEqual(change.Old.GetOwnerReferences(), owners)
	if waits || changed && len(owners) > 0 {
		keys = append(keys, self)
	}
	if waitsForDependents(change.New) && (change.Old == nil || !waitsForDependents(change.Old)) {
		for _, d := range c.dependents(r, k, change.New) {
			keys = append(keys, d.key())
		}
	}
	if change.Old != nil && changed {
		keys = append(keys, c.waitingOwners(r, k, change.Old, owners)...)
	}
	return keys
}

// waitingOwners is the owners of an object that wait for their dependents, but for those that the object still refers to in the same way.
func (c collector) waitingOwners(r controllers.Reader, k *kinds.Kind, obj kinds.Object, still []metav1.OwnerReference) []controllers.Key {
	var keys []controllers.Key
	for _, ref := range obj.GetOwnerReferences() {
		if slices.ContainsFunc(still, func(s metav1.OwnerReference) bool { return equality.Semantic.DeepEqual(s, ref) }) {
			continue
		}
		kind, namespace, err := c.resolve(k, obj, ref)
		if err != nil || kind == nil {
			continue
		}
		if owner, ok := r.Get(kind, namespace, ref.Name); ok && owner.GetUID() == ref.UID && waitsForDependents(owner) {
			keys = append(keys, controllers.Key{Kind: kind, Namespace: namespace, Name: ref.Name})
		}
	}
	return keys
}

// dependents is everything that names the owner. What is namespaced owns only in its namespace.
func (c collector) dependents(r controllers.Reader, k *kinds.Kind, owner kinds.Object) []dependent {
	var all []dependent
	for _, kind := range c.set.Stored() {
		if slices.Contains(c.ignored, kind) || k.Namespaced && !kind.Namespaced {
			continue
		}
		for _, obj := range r.Owned(kind, owner.GetNamespace(), owner.GetUID()) {
			all = append(all, dependent{kind, obj})
		}
	}
	return all
}

func waitsForDependents(obj kinds.Object) bool {
	return obj.GetDeletionTimestamp() != nil && slices.Contains(obj.GetFinalizers(), metav1.FinalizerDeleteDependents)
}

func orphaning(obj kinds.Object) bool {
	return obj.GetDeletionTimestamp() != nil && slices.Contains(obj.GetFinalizers(), metav1.FinalizerOrphanDependents)
}
