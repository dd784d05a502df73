package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/node"
)

type runtimeClass struct{ reader Reader }

// RuntimeClass gives a pod what its RuntimeClass says: overhead, and where it may run. Overhead that no class says is refused.
func RuntimeClass(reader Reader) Plugin { return runtimeClass{reader} }

func (runtimeClass) Name() string { return "RuntimeClass" }

// class is the pod's class, or nil. ok is false for what is no new pod.
func (p runtimeClass) class(r *Request) (pod *corev1.Pod, class *nodev1.RuntimeClass, ok bool, err error) {
	if r.Kind != core.Pod || r.Operation != Create || r.Subresource != "" {
		return nil, nil, false, nil
	}
	pod = r.Object.(*corev1.Pod)
	if pod.Spec.RuntimeClassName == nil {
		return pod, nil, true, nil
	}
	obj, found := p.reader.Peek(node.RuntimeClass, "", *pod.Spec.RuntimeClassName)
	if !found {
		return nil, nil, false, Forbidden(r, "pod rejected: RuntimeClass %q not found", *pod.Spec.RuntimeClassName)
	}
	return pod, obj.(*nodev1.RuntimeClass), true, nil
}

func (p runtimeClass) Mutate(_ context.Context, r *Request) error {
	pod, class, ok, err := p.class(r)
	if !ok || err != nil || class == nil {
		return err
	}
	if o := class.Overhead; o != nil {
		if len(pod.Spec.Overhead) > 0 && !equality.Semantic.DeepEqual(o.PodFixed, pod.Spec.Overhead) {
			return Forbidden(r, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
		}
		pod.Spec.Overhead = o.DeepCopy().PodFixed
	}
	s := class.Scheduling
	if s == nil {
		return nil
	}
	for key, value := range s.NodeSelector {
		if has, ok := pod.Spec.NodeSelector[key]; ok && has != value {
			return Forbidden(r, "conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", key, value, key, has)
		}
		if pod.Spec.NodeSelector == nil {
			pod.Spec.NodeSelector = map[string]string{}
		}
		pod.Spec.NodeSelector[key] = value
	}
next:
	for _, t := range s.Tolerations {
		for _, has := range pod.Spec.Tolerations {
			if equality.Semantic.DeepEqual(has, t) {
				continue next
			}
		}
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, *t.DeepCopy())
	}
	return nil
}

func (p runtimeClass) Validate(_ context.Context, r *Request) error {
	pod, class, ok, err := p.class(r)
	switch {
	case !ok || err != nil:
		return err
	case class != nil && class.Overhead != nil:
		if !equality.Semantic.DeepEqual(class.Overhead.PodFixed, pod.Spec.Overhead) {
			return Forbidden(r, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
		}
	case pod.Spec.Overhead != nil:
		return Forbidden(r, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
	}
	return nil
}
