package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/scheduling"
)

// systemPriorityClasses are always there: the server makes them at start, pods may name them before that, and they cannot be deleted.
var systemPriorityClasses = map[string]int32{"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}

type priority struct{ reader Reader }

// Priority turns the name of a PriorityClass into a number when a pod is created, and lets only one class be the default.
func Priority(reader Reader) Plugin { return priority{reader} }

func (priority) Name() string { return "Priority" }

func (p priority) Mutate(_ context.Context, r *Request) error {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok || r.Kind != core.Pod || r.Subresource != "" {
		return nil
	}
	switch r.Operation {
	case Update:
		old := r.Old.(*corev1.Pod)
		if pod.Spec.Priority == nil {
			pod.Spec.Priority = old.Spec.Priority
		}
		if pod.Spec.PreemptionPolicy == nil {
			pod.Spec.PreemptionPolicy = old.Spec.PreemptionPolicy
		}
	case Create:
		name, value, policy, err := p.of(r, pod.Spec.PriorityClassName)
		if err != nil {
			return err
		}
		if pod.Spec.Priority != nil && *pod.Spec.Priority != value {
			return Forbidden(r, "the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *pod.Spec.Priority, value)
		}
		if policy != nil && pod.Spec.PreemptionPolicy != nil && *pod.Spec.PreemptionPolicy != *policy {
			return Forbidden(r, "the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *pod.Spec.PreemptionPolicy, *policy)
		}
		pod.Spec.PriorityClassName, pod.Spec.Priority = name, &value
		if policy != nil {
			pod.Spec.PreemptionPolicy = new(*policy)
		}
	}
	return nil
}

// of resolves the name of a class; the empty name is the default class, or priority 0 when there is none.
func (p priority) of(r *Request, name string) (string, int32, *corev1.PreemptionPolicy, error) {
	lower := corev1.PreemptLowerPriority
	if name == "" {
		if c := p.defaultClass(); c != nil {
			return c.Name, c.Value, c.PreemptionPolicy, nil
		}
		return "", 0, &lower, nil
	}
	if obj, ok := p.reader.Peek(scheduling.PriorityClass, "", name); ok {
		c := obj.(*schedulingv1.PriorityClass)
		return name, c.Value, c.PreemptionPolicy, nil
	}
	if value, ok := systemPriorityClasses[name]; ok {
		return name, value, &lower, nil
	}
	return "", 0, nil, Forbidden(r, "no PriorityClass with name %v was found", name)
}

// defaultClass is the lowest of those marked as default, or nil: a race may have let in more than one.
func (p priority) defaultClass() *schedulingv1.PriorityClass {
	var found *schedulingv1.PriorityClass
	for _, obj := range p.reader.PeekList(scheduling.PriorityClass, "", nil) {
		if c := obj.(*schedulingv1.PriorityClass); c.GlobalDefault && (found == nil || c.Value < found.Value) {
			found = c
		}
	}
	return found
}

func (p priority) Validate(_ context.Context, r *Request) error {
	if r.Kind != scheduling.PriorityClass || r.Subresource != "" {
		return nil
	}
	if r.Operation == Delete {
		if _, system := systemPriorityClasses[r.Name]; system {
			return Forbidden(r, "this is a system priority class and cannot be deleted")
		}
		return nil
	}
	c, ok := r.Object.(*schedulingv1.PriorityClass)
	if !ok || !c.GlobalDefault {
		return nil
	}
	if d := p.defaultClass(); d != nil && (r.Operation == Create || d.Name != c.Name) {
		return Forbidden(r, "PriorityClass %v is already marked as default. Only one default can exist", d.Name)
	}
	return nil
}
