// Package resourcequota counts what the objects of a namespace use, and says so in the status of its ResourceQuotas.
//
// Status has two writers, by this rule. Admission charges what an object uses in the object's own commit: it only ever adds to status.used, and is exact however
// many write at once. This controller alone takes away, and sets status.hard: it reads the quota first and the objects after that, and writes with the resourceVersion
// of the quota it read. A charge that came in between has changed that, so the count is dropped and made again; an object that went in between was free to be
// left out. So a count can be late, but never gives away what is taken. That holds where reads show all that has been committed, which in the process of the API server they
// do; over a cache that lags, an object that is not shown yet may be missed until it is, which brings the next count.
//
// Objects that appear are counted too, a second later: it changes nothing when they were charged, and mends what was not (an object that was written while the
// quota was being made).
package resourcequota

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/quota"
)

const (
	freedDelay = 20 * time.Millisecond // deletions that come together are one count
	addedDelay = time.Second
)

// New is the controller. It counts objects of all kinds.
func New(set *kinds.Set) controllers.Controller {
	return controllers.Controller{
		Name: "resourcequota", Component: "resourcequota-controller",
		Inputs: []controllers.Input{
			{Kind: core.ResourceQuota, Keys: asked},
			{Kind: core.ResourceQuota, Keys: written, Delay: addedDelay},
			{Kinds: set, Except: []*kinds.Kind{core.Event}, Keys: freed, Delay: freedDelay},
			{Kinds: set, Except: []*kinds.Kind{core.Event}, Keys: added, Delay: addedDelay},
		},
		Outputs: []controllers.Output{{Kind: core.ResourceQuota, Fields: "status; used shared with admission, which adds"}},
		Plan:    planner{set}.plan,
	}
}

// asked names a quota that bounds something else than its status says.
func asked(_ controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	q, ok := c.New.(*corev1.ResourceQuota)
	if !ok {
		return nil
	}
	old, _ := c.Old.(*corev1.ResourceQuota)
	if old != nil && equality.Semantic.DeepEqual(q.Spec, old.Spec) && equality.Semantic.DeepEqual(q.Spec.Hard, q.Status.Hard) {
		return nil
	}
	return []controllers.Key{controllers.KeyOf(q)}
}

// written names a quota whose status was written, by admission or somebody else.
func written(_ controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	q, ok := c.New.(*corev1.ResourceQuota)
	if !ok || c.Old == nil || equality.Semantic.DeepEqual(q.Status, c.Old.(*corev1.ResourceQuota).Status) {
		return nil
	}
	return []controllers.Key{controllers.KeyOf(q)}
}

// freed names the quotas of an object that went, or that uses something else than it did.
func freed(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	if !quota.Counted(k) || c.Old == nil {
		return nil
	}
	if c.New != nil && k != core.Pod && k != core.Service && k != core.PersistentVolumeClaim {
		return nil // there, and that is all that counts
	}
	var keys []controllers.Key
	for _, q := range quotasOf(r, c.Old.GetNamespace()) {
		if quota.TracksAny(k, q.Spec.Hard) && (c.New == nil || differs(q, k, c)) {
			keys = append(keys, controllers.KeyOf(q))
		}
	}
	return keys
}

func differs(q *corev1.ResourceQuota, k *kinds.Kind, c client.Change) bool {
	if quota.InScope(q, c.New) != quota.InScope(q, c.Old) {
		return true
	}
	if pod, ok := c.New.(*corev1.Pod); ok && (pod.DeletionTimestamp == nil) != (c.Old.GetDeletionTimestamp() == nil) {
		return true // not yet, but it has to be looked at when it is overdue
	}
	var none time.Time // what time alone changes, the plan looks for
	return !equality.Semantic.DeepEqual(quota.Usage(k, c.New, none), quota.Usage(k, c.Old, none))
}

// added names the quotas of an object that appeared.
func added(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	if !quota.Counted(k) || c.Old != nil {
		return nil
	}
	var keys []controllers.Key
	for _, q := range quotasOf(r, c.New.GetNamespace()) {
		if quota.TracksAny(k, q.Spec.Hard) {
			keys = append(keys, controllers.KeyOf(q))
		}
	}
	return keys
}

func quotasOf(r controllers.Reader, namespace string) []*corev1.ResourceQuota {
	return controllers.All[*corev1.ResourceQuota](r, core.ResourceQuota, namespace)
}
