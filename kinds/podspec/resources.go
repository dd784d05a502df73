package podspec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	resourcehelper "k8s.io/component-helpers/resource"
)

// Requests is what the scheduler and the node reckon a pod to need: the sum of its main containers and sidecars, or what an init container needs
// beside the sidecars before it when that is more, plus overhead. Resources of the pod as a whole go first. Resizes on their way count as allocated.
func Requests(pod *corev1.Pod) corev1.ResourceList {
	return resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true})
}

// Limits is the like for limits: a resource that some container leaves unlimited counts only with the limits there are.
func Limits(pod *corev1.Pod) corev1.ResourceList {
	return resourcehelper.PodLimits(pod, resourcehelper.PodResourcesOptions{UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true})
}

// QOSClass is the quality of service a pod's resources earn it: Guaranteed when all containers have cpu and memory limits equal to their requests,
// BestEffort when nothing is asked for, else Burstable. It does not look at status.
func QOSClass(pod *corev1.Pod) corev1.PodQOSClass {
	requests, limits := cpuAndMemory{}, cpuAndMemory{}
	guaranteed := true
	if r := pod.Spec.Resources; r != nil {
		requests.add(r.Requests)
		if len(r.Limits) > 0 {
			guaranteed = limits.add(r.Limits)
		}
	} else {
		for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for i := range list {
				requests.add(list[i].Resources.Requests)
				if !limits.add(list[i].Resources.Limits) {
					guaranteed = false
				}
			}
		}
	}
	switch {
	case requests.empty() && limits.empty():
		return corev1.PodQOSBestEffort
	case guaranteed && requests.within(limits) && limits.count() == requests.count():
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// cpuAndMemory sums the two resources that quality of service depends on.
type cpuAndMemory [2]resource.Quantity

// add adds what is above zero and reports whether both were.
func (s *cpuAndMemory) add(list corev1.ResourceList) bool {
	both := true
	for i, name := range [2]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		q, ok := list[name]
		if !ok || q.Sign() <= 0 {
			both = false
			continue
		}
		s[i].Add(q)
	}
	return both
}

func (s *cpuAndMemory) count() int {
	n := 0
	for i := range s {
		if !s[i].IsZero() {
			n++
		}
	}
	return n
}

func (s *cpuAndMemory) empty() bool { return s.count() == 0 }

// within reports whether every sum that is not zero is the same in limits.
func (s *cpuAndMemory) within(limits cpuAndMemory) bool {
	for i := range s {
		if !s[i].IsZero() && s[i].Cmp(limits[i]) != 0 {
			return false
		}
	}
	return true
}

func isHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// hugePagesDivisible reports whether an amount is a whole number of pages.
func hugePagesDivisible(name corev1.ResourceName, q resource.Quantity) bool {
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), corev1.ResourceHugePagesPrefix))
	if err != nil || size.Sign() <= 0 || size.MilliValue()%1000 != 0 {
		return false
	}
	return q.Value()%size.Value() == 0
}

// isNative: resources of Kubernetes itself have no domain, or kubernetes.io.
func isNative(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// IsExtendedResource reports whether a resource is one that nodes advertise beside the native ones ("example.com/gpu").
func IsExtendedResource(name corev1.ResourceName) bool {
	return !isNative(name) && !strings.HasPrefix(string(name), corev1.DefaultResourceRequestsPrefix) &&
		len(validation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+string(name))) == 0
}

func overcommitAllowed(name corev1.ResourceName) bool { return isNative(name) && !isHugePages(name) }

func isContainerResource(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return true
	}
	return isHugePages(name)
}

// isStandardResource lists every native resource, also those of quotas.
func isStandardResource(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourceStorage,
		corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage, corev1.ResourceRequestsStorage,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage:
		return true
	}
	return isObjectCount(name) || isHugePages(name) || strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
}

// isObjectCount lists the native resources that are counted in whole objects.
func isObjectCount(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceSecrets,
		corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers:
		return true
	}
	return false
}
