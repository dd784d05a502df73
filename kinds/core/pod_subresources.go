package core

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// podSubresources are the doors to a pod beside status.
var podSubresources = []*kinds.Subresource{
	{
		Name: "binding", Verbs: []string{"create"}, GVK: corev1.SchemeGroupVersion.WithKind("Binding"), New: newObject[corev1.Binding],
		Write: func(obj kinds.Object, in runtime.Object) error {
			return bindPod(obj.(*corev1.Pod), in.(*corev1.Binding))
		},
	},
	{
		Name: "ephemeralcontainers", Verbs: []string{"get", "patch", "update"}, Resets: podResetsBut("ephemeralContainers"),
		Before: func(obj, old kinds.Object) {
			p, o := obj.(*corev1.Pod), old.(*corev1.Pod)
			containers := p.Spec.EphemeralContainers
			p.Spec, p.Status = *o.Spec.DeepCopy(), *o.Status.DeepCopy()
			p.Spec.EphemeralContainers = containers
			metav1.ResetObjectMetaForStatus(p, o)
			countPodChange(p, o)
		},
		Validate: func(obj, old kinds.Object) field.ErrorList {
			return podspec.ValidateEphemeralContainers(obj.(*corev1.Pod), old.(*corev1.Pod))
		},
	},
	{
		Name: "resize", Verbs: []string{"get", "patch", "update"}, Resets: podResetsBut("containers", "initContainers", "resources"),
		Before: func(obj, old kinds.Object) {
			p, o := obj.(*corev1.Pod), old.(*corev1.Pod)
			if podspec.KeepAllButResize(p, o) {
				metav1.ResetObjectMetaForStatus(p, o)
			}
			countPodChange(p, o)
		},
		Validate: func(obj, old kinds.Object) field.ErrorList {
			return podspec.ValidateResize(obj.(*corev1.Pod), old.(*corev1.Pod))
		},
	},
	{
		Name: "eviction", Verbs: []string{"create"}, Connect: true,
		GVK: policyv1.SchemeGroupVersion.WithKind("Eviction"), New: newObject[policyv1.Eviction],
	},
	{Name: "log", Verbs: []string{"get"}, Connect: true},
	{
		Name: "exec", Verbs: []string{"create", "get"}, Connect: true,
		GVK: corev1.SchemeGroupVersion.WithKind("PodExecOptions"), New: newObject[corev1.PodExecOptions],
	},
	{
		Name: "attach", Verbs: []string{"create", "get"}, Connect: true,
		GVK: corev1.SchemeGroupVersion.WithKind("PodAttachOptions"), New: newObject[corev1.PodAttachOptions],
	},
	{
		Name: "portforward", Verbs: []string{"create", "get"}, Connect: true,
		GVK: corev1.SchemeGroupVersion.WithKind("PodPortForwardOptions"), New: newObject[corev1.PodPortForwardOptions],
	},
	{
		Name: "proxy", Verbs: proxyVerbs, Connect: true,
		GVK: corev1.SchemeGroupVersion.WithKind("PodProxyOptions"), New: newObject[corev1.PodProxyOptions],
	},
}

// countPodChange counts a change of the spec, after gated fields were dropped.
func countPodChange(p, old *corev1.Pod) {
	podspec.DropDisabledFields(&p.Spec, &old.Spec)
	if !equality.Semantic.DeepEqual(&p.Spec, &old.Spec) {
		p.Generation = old.Generation + 1
	}
}

// podResetsBut names all of a pod but some fields of its spec.
func podResetsBut(keep ...string) []string {
	resets := []string{"status", "metadata.labels", "metadata.annotations", "metadata.finalizers", "metadata.ownerReferences"}
	spec := reflect.TypeFor[corev1.PodSpec]()
	for i := range spec.NumField() {
		name, _, _ := strings.Cut(spec.Field(i).Tag.Get("json"), ",")
		if !slices.Contains(keep, name) {
			resets = append(resets, "spec."+name)
		}
	}
	return resets
}

// bindPod assigns a pod to a node. The time of the condition is the binding's creationTimestamp, which the API server sets.
func bindPod(p *corev1.Pod, b *corev1.Binding) error {
	if b.Name != p.Name {
		return apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	var errs field.ErrorList
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(field.NewPath("target", "kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(field.NewPath("target", "name"), ""))
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Binding").GroupKind(), p.Name, errs)
	}
	var refusal error
	switch {
	case b.UID != "" && b.UID != p.UID:
		refusal = fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", b.UID, p.UID)
	case b.ResourceVersion != "" && b.ResourceVersion != p.ResourceVersion:
		refusal = errors.New("the object has been modified; please apply your changes to the latest version and try again")
	case p.DeletionTimestamp != nil:
		refusal = fmt.Errorf("pod %s is being deleted, cannot be assigned to a host", p.Name)
	case p.Spec.NodeName != "":
		refusal = fmt.Errorf("pod %v is already assigned to node %q", p.Name, p.Spec.NodeName)
	case len(p.Spec.SchedulingGates) != 0:
		refusal = fmt.Errorf("pod %v has non-empty .spec.schedulingGates", p.Name)
	}
	if refusal != nil {
		return apierrors.NewConflict(corev1.Resource("pods/binding"), p.Name, refusal)
	}
	p.Spec.NodeName = b.Target.Name
	p.Status.NominatedNodeName = ""
	if p.Annotations == nil && len(b.Annotations) > 0 {
		p.Annotations = map[string]string{}
	}
	for k, v := range b.Annotations {
		p.Annotations[k] = v
	}
	if p.Labels == nil && len(b.Labels) > 0 {
		p.Labels = map[string]string{}
	}
	for k, v := range b.Labels {
		p.Labels[k] = v
	}
	scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: b.CreationTimestamp}
	i := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodScheduled })
	if i < 0 {
		p.Status.Conditions = append(p.Status.Conditions, scheduled)
		return nil
	}
	if was := &p.Status.Conditions[i]; was.Status == scheduled.Status {
		scheduled.LastTransitionTime = was.LastTransitionTime
	}
	p.Status.Conditions[i] = scheduled
	return nil
}
