package garbage

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
)

func (c collector) plan(s controllers.Snapshot, key controllers.Key, _ time.Time) controllers.Plan {
	obj, ok := s.Get(key.Kind, key.Namespace, key.Name)
	switch {
	case !ok:
		return controllers.Plan{}
	case orphaning(obj):
		return c.orphan(s, key.Kind, obj)
	case waitsForDependents(obj):
		return c.unblock(s, key.Kind, obj)
	case obj.GetDeletionTimestamp() != nil || len(obj.GetOwnerReferences()) == 0:
		return controllers.Plan{}
	}
	return c.judge(s, key.Kind, obj)
}

// orphan makes all dependents forget the owner, and then lets it go. Patches are written in order, and the first failure ends the plan: the finalizer goes last.
func (c collector) orphan(s controllers.Reader, k *kinds.Kind, owner kinds.Object) controllers.Plan {
	var p controllers.Plan
	for _, d := range c.dependents(s, k, owner) {
		p.Patches = append(p.Patches, withoutOwners(d.kind, d.obj, []types.UID{owner.GetUID()}))
	}
	p.Patches = append(p.Patches, withoutFinalizer(k, owner, metav1.FinalizerOrphanDependents))
	return p
}

// unblock lets an owner go when no dependent blocks it any more. The dependents delete themselves: each has a plan of its own.
func (c collector) unblock(s controllers.Reader, k *kinds.Kind, owner kinds.Object) controllers.Plan {
	for _, d := range c.dependents(s, k, owner) {
		for _, ref := range d.obj.GetOwnerReferences() {
			if ref.UID == owner.GetUID() && ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion {
				return controllers.Plan{}
			}
		}
	}
	return controllers.Plan{Patches: []controllers.Patch{withoutFinalizer(k, owner, metav1.FinalizerDeleteDependents)}}
}

// judge decides about an object from what has become of its owners. One that is there keeps the object, and references to others are dropped.
func (c collector) judge(s controllers.Reader, k *kinds.Kind, obj kinds.Object) controllers.Plan {
	var p controllers.Plan
	var solid, waiting int
	var dropped []types.UID // owners that are gone, or wait for their dependents
	for _, ref := range obj.GetOwnerReferences() {
		kind, namespace, err := c.resolve(k, obj, ref)
		if err != nil {
			return controllers.Plan{Events: []controllers.Event{{Kind: k, About: obj, Type: corev1.EventTypeWarning, Reason: "OwnerRefInvalidNamespace", Message: err.Error()}}}
		}
		if kind == nil {
			return controllers.Plan{AwaitKinds: true} // whether this owner is there cannot be known: nothing is deleted
		}
		owner, ok := s.Get(kind, namespace, ref.Name)
		switch {
		case !ok || owner.GetUID() != ref.UID:
			p.Requires = append(p.Requires, controllers.Require{Kind: kind, Namespace: namespace, Name: ref.Name, UID: ref.UID, Absent: true})
			dropped = append(dropped, ref.UID)
		case waitsForDependents(owner):
			waiting++
			dropped = append(dropped, ref.UID)
		default:
			solid++
		}
	}
	switch {
	case solid > 0 && len(dropped) == 0:
		return controllers.Plan{}
	case solid > 0:
		p.Patches = []controllers.Patch{withoutOwners(k, obj, dropped)}
		return p
	}
	d := controllers.DeleteOf(k, obj)
	d.ResourceVersion = obj.GetResourceVersion() // nobody has given it another owner meanwhile
	d.Propagation = policy(obj)
	if waiting > 0 {
		if dependents := c.dependents(s, k, obj); len(dependents) > 0 {
			if slices.ContainsFunc(dependents, func(d dependent) bool { return waitsForDependents(d.obj) }) && blocks(obj) {
				// A circle: a dependent waits for this object, which would wait for it.
				p.Patches = []controllers.Patch{unblocking(k, obj)}
				return p
			}
			d.Propagation = metav1.DeletePropagationForeground
		}
	}
	p.Deletes = []controllers.Delete{d}
	return p
}

// resolve finds where the owner of a reference is: a namespaced owner in the namespace of the dependent. The kind is nil when there is no such kind.
func (c collector) resolve(k *kinds.Kind, obj kinds.Object, ref metav1.OwnerReference) (*kinds.Kind, string, error) {
	kind := c.set.Named(ref.APIVersion, ref.Kind)
	switch {
	case kind == nil || !kind.Namespaced:
		return kind, "", nil
	case !k.Namespaced:
		return nil, "", fmt.Errorf("ownerRef [%s/%s, namespace: , name: %s, uid: %s] does not exist in namespace \"\"", ref.APIVersion, ref.Kind, ref.Name, ref.UID)
	}
	return kind, obj.GetNamespace(), nil
}

// policy keeps what an earlier deletion asked for.
func policy(obj kinds.Object) metav1.DeletionPropagation {
	switch f := obj.GetFinalizers(); {
	case slices.Contains(f, metav1.FinalizerOrphanDependents):
		return metav1.DeletePropagationOrphan
	case slices.Contains(f, metav1.FinalizerDeleteDependents):
		return metav1.DeletePropagationForeground
	}
	return metav1.DeletePropagationBackground
}

func blocks(obj kinds.Object) bool {
	return slices.ContainsFunc(obj.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion })
}

func unblocking(k *kinds.Kind, obj kinds.Object) controllers.Patch {
	refs := slices.Clone(obj.GetOwnerReferences())
	for i := range refs {
		refs[i].BlockOwnerDeletion = nil
	}
	return metadataPatch(k, obj, "ownerReferences", refs)
}

func withoutOwners(k *kinds.Kind, obj kinds.Object, uids []types.UID) controllers.Patch {
	refs := slices.DeleteFunc(slices.Clone(obj.GetOwnerReferences()), func(r metav1.OwnerReference) bool { return slices.Contains(uids, r.UID) })
	return metadataPatch(k, obj, "ownerReferences", refs)
}

func withoutFinalizer(k *kinds.Kind, obj kinds.Object, name string) controllers.Patch {
	left := slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), func(f string) bool { return f == name })
	return metadataPatch(k, obj, "finalizers", left)
}

// metadataPatch replaces one list in the metadata. It is a JSON merge patch, which every kind takes, with UID and version as preconditions.
func metadataPatch(k *kinds.Kind, obj kinds.Object, field string, value any) controllers.Patch {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": obj.GetUID(), "resourceVersion": obj.GetResourceVersion(), field: value}})
	if err != nil {
		panic(err) // strings and lists of them always encode
	}
	return controllers.PatchOf(k, obj, types.MergePatchType, data)
}
