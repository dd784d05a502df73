package namespace

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// unfollowedAgain is when to look again for objects whose changes are not watched for.
const unfollowedAgain = time.Second

func (c cleaner) plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	ns, ok := controllers.As[*corev1.Namespace](s, core.Namespace, "", key.Name)
	if !ok || emptied(ns) {
		return controllers.Plan{}
	}
	var p controllers.Plan
	for _, left := range c.content(s, ns.Name) {
		if left.undeleted() {
			if slices.Contains(left.kind.WithoutVerbs, "deletecollection") {
				for _, obj := range left.objs {
					p.Deletes = append(p.Deletes, controllers.DeleteOf(left.kind, obj))
				}
			} else {
				p.Collections = append(p.Collections, controllers.Collection{Kind: left.kind, Namespace: ns.Name})
			}
		}
		if left.kind == core.Pod {
			break // the rest when they are gone
		}
	}
	p.Then = func(out controllers.Outcome) controllers.Plan { return c.conclude(s, ns, out, now) }
	return p
}

// conclude looks at what is left after the deletions: it lets an empty namespace go, and says of others what they wait for.
func (c cleaner) conclude(s controllers.Reader, ns *corev1.Namespace, out controllers.Outcome, now time.Time) controllers.Plan {
	left := c.content(s, ns.Name)
	if len(left) == 0 && out.Err == nil {
		return c.finalize(ns)
	}
	var p controllers.Plan
	if slices.ContainsFunc(left, func(l remaining) bool { return slices.Contains(c.unfollowed, l.kind) }) {
		p.RequeueAfter = unfollowedAgain
	}
	updated := ns.DeepCopy()
	updated.Status.Phase = corev1.NamespaceTerminating
	updated.Status.Conditions = conditions(ns.Status.Conditions, left, out, now)
	if !equality.Semantic.DeepEqual(ns.Status, updated.Status) {
		p.StatusUpdates = []controllers.Update{{Kind: core.Namespace, Object: updated}}
	}
	return p
}

// finalize lets an empty namespace go. That it is empty is checked live first: a cache may lag.
func (c cleaner) finalize(ns *corev1.Namespace) controllers.Plan {
	var p controllers.Plan
	for _, k := range c.kinds() {
		p.Requires = append(p.Requires, controllers.Require{Kind: k, Namespace: ns.Name, Absent: true})
	}
	updated := ns.DeepCopy()
	updated.Spec.Finalizers = slices.DeleteFunc(updated.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == corev1.FinalizerKubernetes })
	p.Updates = []controllers.Update{{Kind: core.Namespace, Object: updated, Subresource: "finalize"}}
	return p
}

// remaining is the objects of one kind in a namespace.
type remaining struct {
	kind *kinds.Kind
	objs []kinds.Object
}

// undeleted: some of them are not being deleted yet.
func (l remaining) undeleted() bool {
	return slices.ContainsFunc(l.objs, func(o kinds.Object) bool { return o.GetDeletionTimestamp() == nil })
}

// content is what a namespace holds, pods first.
func (c cleaner) content(s controllers.Reader, namespace string) []remaining {
	var all []remaining
	for _, k := range c.kinds() {
		if objs := s.List(k, namespace, nil); len(objs) > 0 {
			all = append(all, remaining{k, objs})
		}
	}
	return all
}

// kinds is the namespaced kinds whose objects can be deleted, pods first.
func (c cleaner) kinds() []*kinds.Kind {
	var list []*kinds.Kind
	for _, k := range c.set.Stored() {
		switch {
		case !k.Namespaced || slices.Contains(k.WithoutVerbs, "delete"):
		case k == core.Pod:
			list = slices.Insert(list, 0, k)
		default:
			list = append(list, k)
		}
	}
	return list
}
