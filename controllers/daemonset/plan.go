package daemonset

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/history"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

// burst is how many pods one plan makes or deletes at most, as upstream.
const burst = 250

// Plan has a pod on every node that wants one and no others, or when that is so, goes on with an update.
func Plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	ds, ok := controllers.As[*appsv1.DaemonSet](s, apps.DaemonSet, key.Namespace, key.Name)
	if !ok || ds.DeletionTimestamp != nil {
		return controllers.Plan{} // the history may go before the pods do, and without it there is nothing to say
	}
	selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	if err != nil || selector.Empty() {
		return controllers.Plan{} // an object that validation lets through has one
	}
	revisions := history.Of(s, ds, selector)
	adopted := controllers.Claim(ds, apps.DaemonSet, apps.ControllerRevision, labels.Everything(), revisions)
	pods := controllers.Claim(ds, apps.DaemonSet, core.Pod, selector, podsOf(s, ds, selector))
	if len(adopted.Patches)+len(pods.Patches) > 0 { // that changes what is ours, which brings the next plan
		return controllers.Plan{Requires: append(adopted.Requires, pods.Requires...), Patches: append(adopted.Patches, pods.Patches...)}
	}
	r := round{s: s, ds: ds, now: now, placement: placementOf(ds), sites: map[string]*site{}, failed: map[string]failure{}}
	if p, done := r.revise(revisions); done {
		return p
	}
	r.survey(pods.Objects)
	if before, ok := s.Memory.(map[string]failure); ok {
		maps.Copy(r.failed, before)
	}
	r.manage()
	if len(r.creates)+len(r.deletes) == 0 && ds.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		r.update()
	}
	return r.plan(history.Surplus(revisions, ds.Spec.RevisionHistoryLimit, func(c *appsv1.ControllerRevision) bool {
		return r.hashes[c.Labels[hashLabel]] || slices.ContainsFunc(pods.Objects, func(p *corev1.Pod) bool { return p.Labels[hashLabel] == c.Labels[hashLabel] })
	}))
}

const hashLabel = appsv1.DefaultDaemonSetUniqueLabelKey

// podsOf is the pods that are owned, and those without a controller that match.
func podsOf(s controllers.Reader, ds *appsv1.DaemonSet, selector labels.Selector) []*corev1.Pod {
	pods := client.All[*corev1.Pod](s.Owned(core.Pod, ds.Namespace, ds.UID))
	pods = slices.DeleteFunc(pods, func(p *corev1.Pod) bool { return !metav1.IsControlledBy(p, ds) })
	for _, pod := range client.All[*corev1.Pod](s.List(core.Pod, ds.Namespace, selector)) {
		if metav1.GetControllerOfNoCopy(pod) == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// round is the making of one plan.
type round struct {
	s         controllers.Snapshot
	ds        *appsv1.DaemonSet
	now       time.Time
	placement placement

	hash   string          // of the template, on new pods
	hashes map[string]bool // and on pods that are up to date: the template may have been recorded twice

	sites map[string]*site
	order []*site // by name of the node

	creates []*site
	deletes []*corev1.Pod
	events  []controllers.Event
	failed  map[string]failure // by node
	again   time.Duration
}

// site is a node, or what was one, with its pods. Pods that have ended and are being deleted are not among them: nothing is left to be done about them.
type site struct {
	name string
	node *corev1.Node // nil: gone
	verdict
	pods []*corev1.Pod // scheduled first, then oldest first
}

// living is the pods of a site that are not being deleted.
func (n *site) living() []*corev1.Pod {
	return slices.DeleteFunc(slices.Clone(n.pods), func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

func (r *round) survey(pods []*corev1.Pod) {
	at := func(name string) *site {
		if r.sites[name] == nil {
			r.sites[name] = &site{name: name}
			r.order = append(r.order, r.sites[name])
		}
		return r.sites[name]
	}
	for _, node := range controllers.All[*corev1.Node](r.s, core.Node, "") {
		n := at(node.Name)
		n.node, n.verdict = node, r.placement.on(node)
	}
	for _, pod := range pods {
		ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
		if name := nodeOf(pod); name != "" && !(ended && pod.DeletionTimestamp != nil) {
			at(name).pods = append(at(name).pods, pod)
		}
	}
	slices.SortFunc(r.order, func(a, b *site) int { return cmp.Compare(a.name, b.name) })
	for _, n := range r.order {
		slices.SortFunc(n.pods, func(a, b *corev1.Pod) int {
			unscheduled := func(p *corev1.Pod) int {
				if p.Spec.NodeName == "" {
					return 1
				}
				return 0
			}
			return cmp.Or(unscheduled(a)-unscheduled(b), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
		})
	}
}

// plan puts the round in order; status comes last, by what came of it.
func (r *round) plan(forget []controllers.Delete) controllers.Plan {
	p := controllers.Plan{RequeueAfter: r.again, Events: r.events}
	if len(r.failed) > 0 {
		p.Remember = r.failed
	}
	for _, n := range r.creates[:min(len(r.creates), burst)] {
		p.Creates = append(p.Creates, r.create(n))
	}
	doomed := r.deletes[:min(len(r.deletes), burst)]
	for _, pod := range doomed {
		p.Deletes = append(p.Deletes, r.remove(pod))
	}
	p.Deletes = append(p.Deletes, forget...)
	p.Then = func(out controllers.Outcome) controllers.Plan { return r.report(out) }
	return p
}

func (r *round) create(n *site) controllers.Create {
	// A pod does not get the name of one that was there before: that one has changed the DaemonSet's status since, or is still there.
	state := []string{string(r.ds.UID), r.ds.ResourceVersion, n.name}
	for _, pod := range n.pods {
		state = append(state, string(pod.UID))
	}
	slices.Sort(state[3:])
	name := controllers.Names(r.s, core.Pod, r.ds.Namespace, controllers.NamePrefix(core.Pod, r.ds.Name), 1, state...)[0]
	return controllers.Create{
		Kind: core.Pod, Object: newPod(r.ds, n.name, name, r.hash),
		Done: r.about(corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: "+name), Failed: r.about(corev1.EventTypeWarning, "FailedCreate", "Error creating: "),
	}
}

func (r *round) remove(pod *corev1.Pod) controllers.Delete {
	d := controllers.DeleteOf(core.Pod, pod)
	d.Done = r.about(corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: "+pod.Name)
	d.Failed = r.about(corev1.EventTypeWarning, "FailedDelete", "Error deleting: ")
	return d
}

func (r *round) about(kind, reason, message string) *controllers.Event {
	return &controllers.Event{Kind: apps.DaemonSet, About: r.ds, Type: kind, Reason: reason, Message: message}
}

// wait has the key planned again at the latest after d.
func (r *round) wait(d time.Duration) {
	if d > 0 && (r.again == 0 || d < r.again) {
		r.again = d
	}
}

// revise finds the revision of the template, which is numbered or made first where it must be; done: p is all there is to do now.
func (r *round) revise(sorted []*appsv1.ControllerRevision) (p controllers.Plan, done bool) {
	fresh, err := history.New(r.ds, apps.DaemonSet, &r.ds.Spec.Template, history.Next(sorted), r.ds.Status.CollisionCount, hashLabel)
	if err != nil {
		return controllers.Plan{Err: err}, true
	}
	current := history.Find(sorted, fresh, &r.ds.Spec.Template)
	switch {
	case current == nil:
		return r.record(fresh), true
	case current != sorted[len(sorted)-1]:
		return controllers.Plan{Updates: []controllers.Update{history.Number(current, fresh.Revision)}}, true // rolled back: that brings the next plan
	case current.Labels[hashLabel] == "":
		labelled := current.DeepCopy()
		if labelled.Labels == nil {
			labelled.Labels = map[string]string{}
		}
		labelled.Labels[hashLabel] = current.Name
		return controllers.Plan{Updates: []controllers.Update{{Kind: apps.ControllerRevision, Object: labelled}}}, true
	}
	r.hash, r.hashes = current.Labels[hashLabel], map[string]bool{}
	for _, c := range sorted {
		if c == current || history.Equal(c, current) {
			r.hashes[c.Labels[hashLabel]] = true
		}
	}
	return controllers.Plan{}, false
}

// record makes a revision, which brings the next plan.
func (r *round) record(c *appsv1.ControllerRevision) controllers.Plan {
	return controllers.Plan{
		Creates: []controllers.Create{{Kind: apps.ControllerRevision, Object: c, Exists: true}},
		Then: func(out controllers.Outcome) controllers.Plan {
			if !out.Exists[0] {
				return controllers.Plan{}
			}
			switch history.NameTaken(r.s, r.ds, c) {
			case history.Unseen:
				return controllers.Plan{Err: fmt.Errorf("ControllerRevision %s/%s exists, but is not seen yet", c.Namespace, c.Name)}
			case history.Collision:
				updated := r.ds.DeepCopy()
				n := int32(1)
				if updated.Status.CollisionCount != nil {
					n += *updated.Status.CollisionCount
				}
				updated.Status.CollisionCount = &n
				return controllers.Plan{StatusUpdates: []controllers.Update{{Kind: apps.DaemonSet, Object: updated}}}
			}
			return controllers.Plan{}
		},
	}
}

// upToDate reports whether a pod is of the current template.
func (r *round) upToDate(pod *corev1.Pod) bool {
	if hash := pod.Labels[hashLabel]; hash != "" && r.hashes[hash] {
		return true
	}
	generation := templateGeneration(r.ds)
	return generation != "" && pod.Labels[generationLabel] == generation
}

func (r *round) available(pod *corev1.Pod) bool {
	ok, in := controllers.PodAvailable(pod, r.ds.Spec.MinReadySeconds, r.now)
	r.wait(in)
	return ok
}
