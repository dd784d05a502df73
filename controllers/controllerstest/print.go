package controllerstest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
)

// Print says in one line what matters of an object. Names that are made of states (pods of a ReplicaSet) are not in it.
func Print(k *kinds.Kind, obj kinds.Object) string {
	var b strings.Builder
	name := obj.GetName()
	if obj.GetGenerateName() != "" && obj.GetLabels()[appsv1.StatefulSetPodNameLabel] == "" {
		name = obj.GetGenerateName() + "*"
	}
	fmt.Fprintf(&b, "%s %s", k.Singular, name)
	for _, key := range slices.Sorted(maps.Keys(obj.GetAnnotations())) {
		if short, ok := strings.CutPrefix(key, "deployment.kubernetes.io/"); ok {
			fmt.Fprintf(&b, " %s=%s", short, obj.GetAnnotations()[key])
		}
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		st := o.Status
		fmt.Fprintf(&b, " replicas=%d/%d updated=%d ready=%d available=%d unavailable=%d", st.Replicas, *o.Spec.Replicas, st.UpdatedReplicas, st.ReadyReplicas, st.AvailableReplicas, st.UnavailableReplicas)
		if st.TerminatingReplicas != nil && *st.TerminatingReplicas > 0 {
			fmt.Fprintf(&b, " terminating=%d", *st.TerminatingReplicas)
		}
		if st.ObservedGeneration != o.Generation {
			fmt.Fprintf(&b, " observed=%d of %d", st.ObservedGeneration, o.Generation)
		}
		conditions := slices.Clone(st.Conditions)
		slices.SortFunc(conditions, func(a, b appsv1.DeploymentCondition) int { return strings.Compare(string(a.Type), string(b.Type)) })
		for _, c := range conditions {
			fmt.Fprintf(&b, " %s=%s(%s)", c.Type, c.Status, c.Reason)
		}
	case *appsv1.ReplicaSet:
		st := o.Status
		fmt.Fprintf(&b, " replicas=%d/%d ready=%d available=%d", st.Replicas, *o.Spec.Replicas, st.ReadyReplicas, st.AvailableReplicas)
		for _, c := range st.Conditions {
			fmt.Fprintf(&b, " %s=%s(%s: %s)", c.Type, c.Status, c.Reason, c.Message)
		}
	case *appsv1.StatefulSet:
		st := o.Status
		fmt.Fprintf(&b, " replicas=%d/%d ready=%d available=%d current=%d of %s", st.Replicas, *o.Spec.Replicas, st.ReadyReplicas, st.AvailableReplicas, st.CurrentReplicas, st.CurrentRevision)
		if st.UpdateRevision != st.CurrentRevision {
			fmt.Fprintf(&b, " updated=%d to %s", st.UpdatedReplicas, st.UpdateRevision)
		}
		if st.ObservedGeneration != o.Generation {
			fmt.Fprintf(&b, " observed=%d of %d", st.ObservedGeneration, o.Generation)
		}
	case *appsv1.DaemonSet:
		st := o.Status
		fmt.Fprintf(&b, " current=%d/%d updated=%d ready=%d available=%d", st.CurrentNumberScheduled, st.DesiredNumberScheduled, st.UpdatedNumberScheduled, st.NumberReady, st.NumberAvailable)
		if st.NumberMisscheduled > 0 {
			fmt.Fprintf(&b, " misscheduled=%d", st.NumberMisscheduled)
		}
		if st.ObservedGeneration != o.Generation {
			fmt.Fprintf(&b, " observed=%d of %d", st.ObservedGeneration, o.Generation)
		}
	case *appsv1.ControllerRevision:
		fmt.Fprintf(&b, " number=%d", o.Revision)
	case *corev1.Pod:
		if revision := o.Labels[appsv1.ControllerRevisionHashLabelKey]; revision != "" {
			fmt.Fprintf(&b, " %s", revision)
		}
		fmt.Fprintf(&b, " %s", o.Status.Phase)
		if controllers.PodReady(o) != nil {
			b.WriteString(" ready")
		}
		if o.Spec.NodeName != "" {
			fmt.Fprintf(&b, " on %s", o.Spec.NodeName)
		}
		for _, c := range o.Status.Conditions {
			if c.Type == corev1.DisruptionTarget {
				fmt.Fprintf(&b, " %s=%s", c.Type, c.Status)
			}
		}
	case *corev1.Namespace:
		fmt.Fprintf(&b, " %s", o.Status.Phase)
		for _, c := range o.Status.Conditions {
			if c.Status == corev1.ConditionTrue {
				fmt.Fprintf(&b, "\n    %s=%s(%s: %s)", c.Type, c.Status, c.Reason, c.Message)
			}
		}
	case *corev1.Node:
		for _, c := range o.Status.Conditions {
			fmt.Fprintf(&b, " %s=%s(%s)", c.Type, c.Status, c.Reason)
		}
		for _, t := range o.Spec.Taints {
			fmt.Fprintf(&b, " taint:%s:%s", t.Key, t.Effect)
		}
		if o.Spec.PodCIDR != "" {
			fmt.Fprintf(&b, " cidr=%s", o.Spec.PodCIDR)
		}
	case *policyv1.PodDisruptionBudget:
		st := o.Status
		fmt.Fprintf(&b, " healthy=%d/%d of %d allowed=%d", st.CurrentHealthy, st.DesiredHealthy, st.ExpectedPods, st.DisruptionsAllowed)
		for _, name := range slices.Sorted(maps.Keys(st.DisruptedPods)) {
			fmt.Fprintf(&b, " disrupted=%s", name)
		}
		if st.ObservedGeneration != o.Generation {
			fmt.Fprintf(&b, " observed=%d of %d", st.ObservedGeneration, o.Generation)
		}
		for _, c := range st.Conditions {
			fmt.Fprintf(&b, " %s=%s(%s)", c.Type, c.Status, strings.TrimSpace(c.Reason+" "+c.Message))
		}
	case *corev1.PersistentVolumeClaim:
		fmt.Fprintf(&b, " %s", o.Status.Phase)
		if o.Spec.VolumeName != "" {
			fmt.Fprintf(&b, " volume=%s", o.Spec.VolumeName)
		}
		if size, ok := o.Status.Capacity[corev1.ResourceStorage]; ok {
			fmt.Fprintf(&b, " has=%s", size.String())
		}
		if o.Spec.StorageClassName != nil {
			fmt.Fprintf(&b, " class=%q", *o.Spec.StorageClassName)
		}
	case *corev1.PersistentVolume:
		fmt.Fprintf(&b, " %s", o.Status.Phase)
		if r := o.Spec.ClaimRef; r != nil {
			fmt.Fprintf(&b, " claim=%s/%s", r.Namespace, r.Name)
		}
		if o.Status.Message != "" {
			fmt.Fprintf(&b, " (%s)", o.Status.Message)
		}
	case *corev1.ResourceQuota:
		for _, name := range slices.Sorted(maps.Keys(o.Status.Hard)) {
			used, known := o.Status.Used[name]
			hard := o.Status.Hard[name]
			if b.WriteString(" " + string(name) + "="); known {
				b.WriteString(used.String())
			}
			b.WriteString("/" + hard.String())
		}
	case *corev1.ConfigMap:
		fmt.Fprintf(&b, " data=%v", o.Data)
	default:
		printOther(&b, obj)
	}
	for _, ref := range obj.GetOwnerReferences() {
		fmt.Fprintf(&b, " owner=%s/%s", strings.ToLower(ref.Kind), ref.Name)
	}
	if obj.GetDeletionTimestamp() != nil {
		b.WriteString(" terminating")
	}
	if f := obj.GetFinalizers(); len(f) > 0 {
		fmt.Fprintf(&b, " finalizers=%s", strings.Join(f, ","))
	}
	return b.String()
}

// PrintAll is Print of every object of some kinds, but for the namespace of the nodes' Leases; what prints alike is counted.
func PrintAll(cache controllers.Reader, list ...*kinds.Kind) string {
	var b strings.Builder
	for _, k := range list {
		var lines []string
		counts := map[string]int{}
		for _, obj := range cache.List(k, "", nil) {
			if obj.GetNamespace() == corev1.NamespaceNodeLease || obj.GetName() == corev1.NamespaceNodeLease {
				continue
			}
			line := Print(k, obj)
			if counts[line]++; counts[line] == 1 {
				lines = append(lines, line)
			}
		}
		slices.Sort(lines)
		for _, line := range lines {
			if counts[line] > 1 {
				fmt.Fprintf(&b, "%d x ", counts[line])
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// PrintPlan says what a plan would do.
func PrintPlan(p controllers.Plan) string {
	var b strings.Builder
	where := func(namespace, name string) string {
		if namespace == "" {
			return name
		}
		return namespace + "/" + name
	}
	done := func(e *controllers.Event) {
		if e != nil {
			fmt.Fprintf(&b, "  then event %s %s: %s\n", e.Type, e.Reason, e.Message)
		}
	}
	for _, q := range p.Requires {
		state := "exists"
		if q.Absent {
			state = "is absent"
		}
		fmt.Fprintf(&b, "require %s %s %s\n", q.Kind.Singular, where(q.Namespace, q.Name), state)
	}
	for _, w := range p.Patches {
		fmt.Fprintf(&b, "patch %s %s %s\n", w.Kind.Singular, where(w.Namespace, w.Name), w.Data)
		done(w.Done)
	}
	for _, w := range p.Updates {
		fmt.Fprintf(&b, "update %s\n", Print(w.Kind, w.Object))
		done(w.Done)
	}
	for _, w := range p.Creates {
		fmt.Fprintf(&b, "create %s\n", Print(w.Kind, w.Object))
		done(w.Done)
	}
	for _, c := range p.Collections {
		fmt.Fprintf(&b, "delete all %s in %s\n", c.Kind.Plural, c.Namespace)
	}
	for _, w := range p.Deletes {
		fmt.Fprintf(&b, "delete %s %s\n", w.Kind.Singular, where(w.Namespace, w.Name))
	}
	for _, w := range p.StatusUpdates {
		fmt.Fprintf(&b, "status %s\n", Print(w.Kind, w.Object))
		done(w.Done)
	}
	for _, e := range p.Events {
		fmt.Fprintf(&b, "event %s %s: %s\n", e.Type, e.Reason, e.Message)
	}
	if p.RequeueAfter > 0 {
		fmt.Fprintf(&b, "again after %s\n", p.RequeueAfter)
	}
	if p.AwaitKinds {
		b.WriteString("again when there are other kinds\n")
	}
	if p.Err != nil {
		fmt.Fprintf(&b, "error %v\n", p.Err)
	}
	return b.String()
}

// Recorder is a client.Recorder that keeps what it is told.
type Recorder struct {
	mu     sync.Mutex
	counts map[string]int
}

var podName = regexp.MustCompile(`([Pp]od:? \S+-)[bcdfghjklmnpqrstvwxz2456789]{5}\b`)

// Event implements client.Recorder.
func (r *Recorder) Event(k *kinds.Kind, about kinds.Object, eventType, reason, message string) {
	r.EventField(k, about, "", eventType, reason, message)
}

// EventField implements client.Recorder.
func (r *Recorder) EventField(k *kinds.Kind, about kinds.Object, _, eventType, reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[string]int{}
	}
	name := about.GetName()
	if about.GetGenerateName() != "" {
		name = about.GetGenerateName() + "*"
	}
	r.counts[fmt.Sprintf("%s %s %s %s: %s", k.Singular, name, eventType, reason, podName.ReplaceAllString(message, "$1*"))]++
}

// Count is how many events with a reason were recorded since the last Take.
func (r *Recorder) Count(reason string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := 0
	for line, n := range r.counts {
		if strings.Contains(line, " "+reason+": ") {
			total += n
		}
	}
	return total
}

// Take returns what was recorded since the last call, sorted and counted.
func (r *Recorder) Take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, line := range slices.Sorted(maps.Keys(r.counts)) {
		if n := r.counts[line]; n > 1 {
			fmt.Fprintf(&b, "%d x ", n)
		}
		b.WriteString(line + "\n")
	}
	r.counts = nil
	return b.String()
}

// OwnerRef is a reference to an object, for tests.
func OwnerRef(k *kinds.Kind, obj kinds.Object, block bool) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: k.GVK().GroupVersion().String(), Kind: k.Kind, Name: obj.GetName(), UID: obj.GetUID(), BlockOwnerDeletion: &block}
}
