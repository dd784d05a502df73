package disruption

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/policy"
)

// deletionTimeout is how long a pod that was evicted may take until its deletion shows; after that it counts as there again.
const deletionTimeout = 2 * time.Minute

type planner struct{ kinds *kinds.Set }

func (pl planner) plan(s controllers.Snapshot, key controllers.Key, now time.Time) controllers.Plan {
	if key.Kind == core.Pod {
		return planPod(s, key, now)
	}
	b, ok := controllers.As[*policyv1.PodDisruptionBudget](s, policy.PodDisruptionBudget, key.Namespace, key.Name)
	if !ok {
		return controllers.Plan{}
	}
	said, _ := s.Memory.(*told)
	a := account{planner: pl, s: s, b: b, now: now, said: said, say: &told{}}
	return a.plan()
}

// told is what was said about a budget, so that an event is written when there is something new, not with every change of a pod.
type told struct {
	pods, unmanaged, failed string
	shared                  map[string]bool // pods that other budgets have too
}

// account is the making of one budget's status.
type account struct {
	planner
	s   controllers.Snapshot
	b   *policyv1.PodDisruptionBudget
	now time.Time

	said, say *told
	await     bool // an owner is of a kind that does not exist
	p         controllers.Plan
}

func (a *account) plan() controllers.Plan {
	if a.said == nil {
		a.said = &told{}
	}
	a.p.Remember = a.say
	selector, err := metav1.LabelSelectorAsSelector(a.b.Spec.Selector)
	if err != nil {
		return a.fail("NoPods", "Failed to get pods: ", err)
	}
	pods := client.All[*corev1.Pod](a.s.List(core.Pod, a.b.Namespace, selector))
	if len(pods) == 0 {
		a.say.pods = "none"
		if a.said.pods != a.say.pods {
			a.event(corev1.EventTypeNormal, "NoPods", "No matching pods found")
		}
	}
	a.tellShared(pods)
	expected, desired, err := a.expect(pods)
	if err != nil {
		return a.fail("CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: ", err)
	}
	disrupted := a.disrupted(pods)
	status := policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: a.b.Generation, DisruptedPods: disrupted, CurrentHealthy: healthy(pods, disrupted), DesiredHealthy: desired, ExpectedPods: expected,
		Conditions: slices.Clone(a.b.Status.Conditions),
	}
	condition := metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.InsufficientPodsReason}
	// Nothing is allowed while no pods are expected: when the first ones come, an eviction may be faster than we are.
	if status.CurrentHealthy > desired && expected > 0 {
		status.DisruptionsAllowed = status.CurrentHealthy - desired
		condition.Status, condition.Reason = metav1.ConditionTrue, policyv1.SufficientPodsReason
	}
	return a.finish(status, condition)
}

// fail closes the budget: nothing may go while it is not known what there should be.
func (a *account) fail(reason, text string, err error) controllers.Plan {
	if a.say.failed = err.Error(); a.say.failed != a.said.failed {
		a.event(corev1.EventTypeWarning, reason, text+err.Error())
	}
	a.p.AwaitKinds = a.await
	status := *a.b.Status.DeepCopy()
	status.DisruptionsAllowed = 0
	return a.finish(status, metav1.Condition{
		Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason, Message: err.Error(),
	})
}

func (a *account) finish(status policyv1.PodDisruptionBudgetStatus, c metav1.Condition) controllers.Plan {
	c.ObservedGeneration, c.LastTransitionTime = status.ObservedGeneration, metav1.NewTime(a.now)
	meta.SetStatusCondition(&status.Conditions, c)
	if equality.Semantic.DeepEqual(a.b.Status, status) {
		return a.p
	}
	updated := a.b.DeepCopy()
	updated.Status = status
	a.p.StatusUpdates = []controllers.Update{{Kind: policy.PodDisruptionBudget, Object: updated}}
	return a.p
}

// expect is how many pods there should be, and how many of them have to be healthy.
func (a *account) expect(pods []*corev1.Pod) (expected, desired int32, err error) {
	spec := &a.b.Spec
	switch {
	case spec.MaxUnavailable != nil:
		if expected, err = a.scale(pods); err != nil {
			return 0, 0, err
		}
		n, err := intstr.GetScaledValueFromIntOrPercent(spec.MaxUnavailable, int(expected), true)
		return expected, max(expected-int32(n), 0), err
	case spec.MinAvailable == nil:
		return 0, 0, nil
	case spec.MinAvailable.Type == intstr.Int:
		return int32(len(pods)), spec.MinAvailable.IntVal, nil
	}
	if expected, err = a.scale(pods); err != nil {
		return 0, 0, err
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(spec.MinAvailable, int(expected), true)
	return expected, int32(n), err
}

// disrupted is the pods that were evicted and still have to go. One that did not is reported and counts again.
func (a *account) disrupted(pods []*corev1.Pod) map[string]metav1.Time {
	out := map[string]metav1.Time{}
	for _, pod := range pods {
		at, ok := a.b.Status.DisruptedPods[pod.Name]
		if !ok || pod.DeletionTimestamp != nil {
			continue
		}
		left := at.Add(deletionTimeout).Sub(a.now)
		if left <= 0 {
			a.p.Events = append(a.p.Events, controllers.Event{
				Kind: core.Pod, About: pod, Type: corev1.EventTypeWarning, Reason: "NotDeleted",
				Message: fmt.Sprintf("Pod was expected by PDB %s/%s to be deleted but it wasn't", a.b.Namespace, a.b.Name),
			})
			continue
		}
		out[pod.Name] = at
		if a.p.RequeueAfter == 0 || left < a.p.RequeueAfter {
			a.p.RequeueAfter = left
		}
	}
	return out
}

func healthy(pods []*corev1.Pod, disrupted map[string]metav1.Time) (n int32) {
	for _, pod := range pods {
		if _, gone := disrupted[pod.Name]; !gone && pod.DeletionTimestamp == nil && controllers.PodReady(pod) != nil {
			n++
		}
	}
	return n
}

// tellShared says of pods that several budgets have: none of them can be evicted. The first of the budgets says it.
func (a *account) tellShared(pods []*corev1.Pod) {
	var others []labels.Selector
	for _, b := range controllers.All[*policyv1.PodDisruptionBudget](a.s, policy.PodDisruptionBudget, a.b.Namespace) {
		if selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && b.Name > a.b.Name {
			others = append(others, selector)
		}
	}
	if len(others) == 0 {
		return
	}
	a.say.shared = map[string]bool{}
	for _, pod := range pods {
		if !slices.ContainsFunc(others, func(s labels.Selector) bool { return s.Matches(labels.Set(pod.Labels)) }) {
			continue
		}
		if a.say.shared[pod.Name] = true; !a.said.shared[pod.Name] {
			a.p.Events = append(a.p.Events, controllers.Event{
				Kind: core.Pod, About: pod, Type: corev1.EventTypeWarning, Reason: "MultiplePodDisruptionBudgets",
				Message: fmt.Sprintf("Pod %q/%q matches multiple PodDisruptionBudgets.  Chose %q arbitrarily.", pod.Namespace, pod.Name, a.b.Name),
			})
		}
	}
}

// tellUnmanaged says that there are pods nobody has asked for a number of.
func (a *account) tellUnmanaged(pods []string) {
	if a.say.unmanaged = strings.Join(pods, " "); a.say.unmanaged != a.said.unmanaged && len(pods) > 0 {
		a.event(corev1.EventTypeWarning, "UnmanagedPods", fmt.Sprintf("Pods selected by this PodDisruptionBudget (selector: %v) were found "+
			"to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. "+
			"To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.", a.b.Spec.Selector))
	}
}

func (a *account) event(kind, reason, message string) {
	a.p.Events = append(a.p.Events, controllers.Event{Kind: policy.PodDisruptionBudget, About: a.b, Type: kind, Reason: reason, Message: message})
}
