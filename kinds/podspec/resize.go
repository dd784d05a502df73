package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateResize says what is wrong with a write to the resize subresource, which may change cpu and memory of containers and of the pod, and resize policies.
func ValidateResize(pod, old *corev1.Pod) field.ErrorList {
	if _, mirror := old.Annotations[mirrorAnnotation]; mirror {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods cannot be resized")}
	}
	if isWindows(&old.Spec) {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "windows pods cannot be resized")}
	}
	c := checker{leniency: lenientForPod(old)}
	c.pod(pod)
	class := old.Status.QOSClass
	if class == "" {
		class = QOSClass(old)
	}
	if class != QOSClass(pod) {
		c.invalid(specPath, pod.Status.QOSClass, "Pod QOS Class may not change as a result of resizing")
	}
	if !nodeResizes(old) {
		c.forbidden(specPath, "Pod running on node without support for resize")
	}
	spec := *pod.Spec.DeepCopy()
	c.resizePod(&spec, pod, old)
	if !c.sameContainers(pod, old) {
		return c.errs
	}
	for i := range old.Spec.InitContainers {
		c.nothingRemoved(specPath.Child("initContainers").Index(i).Child("resources"), &pod.Spec.InitContainers[i].Resources, &old.Spec.InitContainers[i].Resources)
	}
	for i := range old.Spec.Containers {
		c.nothingRemoved(specPath.Child("containers").Index(i).Child("resources"), &pod.Spec.Containers[i].Resources, &old.Spec.Containers[i].Resources)
	}
	for i := range spec.Containers {
		resetResources(&spec.Containers[i].Resources, old.Spec.Containers[i].Resources)
		if !equality.Semantic.DeepEqual(spec.Containers[i], old.Spec.Containers[i]) {
			c.forbidden(specPath, "only cpu and memory resources are mutable")
		}
	}
	for i := range spec.InitContainers {
		ctr, was := &spec.InitContainers[i], &old.Spec.InitContainers[i]
		modified := !equality.Semantic.DeepEqual(ctr, was)
		resetResources(&ctr.Resources, was.Resources)
		if !equality.Semantic.DeepEqual(ctr, was) {
			c.forbidden(specPath.Child("initContainers").Index(i), "only cpu and memory resources for init or sidecar containers are mutable")
		}
		if !modified || IsSidecar(ctr) {
			continue
		}
		for _, policy := range ctr.ResizePolicy {
			if policy.RestartPolicy == corev1.RestartContainer {
				c.forbidden(specPath.Child("initContainers").Index(i), "non-sidecar init containers with a resize policy of RestartContainer cannot be resized")
			}
		}
	}
	if len(c.errs) == 0 && !equality.Semantic.DeepEqual(spec, old.Spec) {
		c.forbidden(specPath, "only cpu and memory resources are mutable")
	}
	return c.errs
}

// resizePod checks resources of the pod as a whole and sets cpu and memory in spec back to old.
func (c *checker) resizePod(spec *corev1.PodSpec, pod, old *corev1.Pod) {
	is, was := pod.Spec.Resources, old.Spec.Resources
	if !requestsAnything(is) && !requestsAnything(was) {
		return
	}
	p := specPath.Child("resources")
	if was != nil {
		if is == nil {
			c.forbidden(p, "pod-level resources cannot be removed")
			return
		}
		if anyRemoved(is.Requests, was.Requests) {
			c.forbidden(p.Child("requests"), "pod-level resource requests cannot be removed")
		}
		if anyRemoved(is.Limits, was.Limits) {
			c.forbidden(p.Child("limits"), "pod-level resource limits cannot be removed")
		}
	}
	var keep corev1.ResourceRequirements
	if was != nil {
		keep = *was
	}
	claims := spec.Resources.Claims
	resetResources(spec.Resources, keep)
	spec.Resources.Claims = claims
	if was == nil && !requestsAnything(spec.Resources) && len(claims) == 0 {
		spec.Resources = nil
	}
	if !equality.Semantic.DeepEqual(spec.Resources, was) {
		c.forbidden(specPath, "only cpu and memory resources are mutable at pod-level")
	}
}

func requestsAnything(r *corev1.ResourceRequirements) bool {
	return r != nil && len(r.Requests)+len(r.Limits) > 0
}

// nodeResizes: a node that can resize reports the resources of running containers. While nothing runs, it is assumed to.
func nodeResizes(pod *corev1.Pod) bool {
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.State.Running != nil {
			return s.Resources != nil
		}
	}
	return true
}

func (c *checker) sameContainers(pod, old *corev1.Pod) bool {
	before := len(c.errs)
	compare := func(name string, list, old []corev1.Container) {
		p := specPath.Child(name)
		if len(list) != len(old) {
			c.forbidden(p, name+" may not be added or removed on resize")
			return
		}
		for i := range old {
			if list[i].Name != old[i].Name {
				c.forbidden(p.Index(i).Child("name"), name+" may not be renamed or reordered on resize")
			}
		}
	}
	compare("containers", pod.Spec.Containers, old.Spec.Containers)
	compare("initContainers", pod.Spec.InitContainers, old.Spec.InitContainers)
	return len(c.errs) == before
}

func (c *checker) nothingRemoved(p *field.Path, r, old *corev1.ResourceRequirements) {
	if anyRemoved(r.Requests, old.Requests) {
		c.forbidden(p.Child("requests"), "resource requests cannot be removed")
	}
	if anyRemoved(r.Limits, old.Limits) {
		c.forbidden(p.Child("limits"), "resource limits cannot be removed")
	}
}

func anyRemoved(list, old corev1.ResourceList) bool {
	for name := range old {
		if !has(list, name) {
			return true
		}
	}
	return false
}

// resetResources sets cpu and memory in r, a private copy, back to what they were. Claims are dropped, as upstream drops them.
func resetResources(r *corev1.ResourceRequirements, old corev1.ResourceRequirements) {
	reset := func(list, old corev1.ResourceList) corev1.ResourceList {
		if list == nil && old == nil {
			return nil
		}
		if list == nil {
			list = corev1.ResourceList{}
		}
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			delete(list, name)
			if q, ok := old[name]; ok {
				list[name] = q
			}
		}
		return list
	}
	*r = corev1.ResourceRequirements{Limits: reset(r.Limits, old.Limits), Requests: reset(r.Requests, old.Requests)}
}

// KeepAllButResize makes spec and status of pod equal to old's but for what the resize subresource may change. When containers were added or removed, it
// returns false and leaves pod as it is; renamed ones it leaves too: for validation to say so.
func KeepAllButResize(pod, old *corev1.Pod) bool {
	if len(pod.Spec.Containers) != len(old.Spec.Containers) || len(pod.Spec.InitContainers) != len(old.Spec.InitContainers) {
		return false
	}
	merge := func(list, old []corev1.Container) []corev1.Container {
		if len(list) == 0 {
			return list
		}
		merged := make([]corev1.Container, len(old))
		for i := range old {
			if old[i].Name != list[i].Name {
				return list
			}
			merged[i] = *old[i].DeepCopy()
			merged[i].Resources, merged[i].ResizePolicy = list[i].Resources, list[i].ResizePolicy
		}
		return merged
	}
	containers, inits, resources := merge(pod.Spec.Containers, old.Spec.Containers), merge(pod.Spec.InitContainers, old.Spec.InitContainers), pod.Spec.Resources
	pod.Spec = *old.Spec.DeepCopy()
	pod.Spec.Containers, pod.Spec.InitContainers, pod.Spec.Resources = containers, inits, resources
	pod.Status = *old.Status.DeepCopy()
	return true
}
