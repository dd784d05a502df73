package disruption

import (
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
)

// scale adds up the replicas of all owners of the pods: how many there should be.
func (a *account) scale(pods []*corev1.Pod) (int32, error) {
	seen := map[types.UID]bool{}   // owners of pods
	sizes := map[types.UID]int32{} // what they are a part of
	var unmanaged []string
	for _, pod := range pods {
		ref := metav1.GetControllerOfNoCopy(pod)
		if ref == nil {
			unmanaged = append(unmanaged, pod.Name)
			continue
		}
		if seen[ref.UID] {
			continue
		}
		seen[ref.UID] = true
		owner, size, err := a.owner(pod.Namespace, ref)
		if err != nil {
			return 0, err
		}
		if owner == nil {
			return 0, fmt.Errorf("found no controllers for pod %q", pod.Name)
		}
		sizes[owner.GetUID()] = size
	}
	a.tellUnmanaged(unmanaged)
	total := int32(0)
	for _, n := range sizes {
		total += n
	}
	return total, nil
}

// owner is who decides about the number of pods, through the scale that its kind has, and that number; nil: it is gone. Of a ReplicaSet that is a
// Deployment's, the Deployment.
func (a *account) owner(namespace string, ref *metav1.OwnerReference) (kinds.Object, int32, error) {
	k := a.kinds.Named(ref.APIVersion, ref.Kind)
	if k == nil {
		a.await = true
		return nil, 0, fmt.Errorf("no matches for kind %q in version %q", ref.Kind, ref.APIVersion)
	}
	view := k.Subresource("scale")
	if view == nil || view.Read == nil {
		return nil, 0, fmt.Errorf("%s does not implement the scale subresource", k.GroupResource())
	}
	if !k.Namespaced {
		namespace = ""
	}
	obj, ok := a.s.Get(k, namespace, ref.Name)
	if !ok || obj.GetUID() != ref.UID {
		return nil, 0, nil
	}
	if above := metav1.GetControllerOfNoCopy(obj); k == apps.ReplicaSet && above != nil && kinds.IsKind(apps.Deployment, above.APIVersion, above.Kind) {
		return a.owner(namespace, above)
	}
	out, err := view.Read(obj)
	if err != nil {
		return nil, 0, err
	}
	scale, ok := out.(*autoscalingv1.Scale)
	if !ok {
		return nil, 0, fmt.Errorf("%s does not implement the scale subresource", k.GroupResource())
	}
	return obj, scale.Spec.Replicas, nil
}
