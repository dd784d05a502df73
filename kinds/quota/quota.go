// Package quota measures what objects use of a ResourceQuota: which resources a kind of object counts under, how much of them an object uses, and whether it is
// in the scopes of a quota. Admission, which charges an object's usage in the object's own commit, and the controller, which counts anew, measure with it, so
// that they agree.
package quota

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/podspec"
)

const (
	requestsPrefix     = "requests."
	hugePagesPrefix    = "hugepages-"
	deviceClassPrefix  = "deviceclass.resource.kubernetes.io/"
	storageClassSuffix = ".storageclass.storage.k8s.io/"
)

// CountName is under which resource the number of all objects of a kind is bounded: "count/deployments.apps".
func CountName(k *kinds.Kind) corev1.ResourceName {
	return corev1.ResourceName("count/" + k.GroupResource().String())
}

// Counted reports whether quotas count objects of a kind at all: those that live in namespaces, but for events.
func Counted(k *kinds.Kind) bool { return k.Namespaced && k.Stored() && k != core.Event }

// alias is the older name of the number of objects of some kinds, or "".
func alias(k *kinds.Kind) corev1.ResourceName {
	switch k {
	case core.Pod, core.Service, core.PersistentVolumeClaim, core.ConfigMap, core.Secret, core.ResourceQuota, core.ReplicationController:
		return corev1.ResourceName(k.Plural)
	}
	return ""
}

// Tracks reports whether objects of a kind can use a resource.
func Tracks(k *kinds.Kind, name corev1.ResourceName) bool {
	if !Counted(k) {
		return false
	}
	if name == CountName(k) || name == alias(k) {
		return true
	}
	switch k {
	case core.Pod:
		return isPodResource(name)
	case core.Service:
		return name == corev1.ResourceServicesNodePorts || name == corev1.ResourceServicesLoadBalancers
	case core.PersistentVolumeClaim:
		return name == corev1.ResourceRequestsStorage || strings.HasSuffix(string(name), storageClassSuffix+string(corev1.ResourceRequestsStorage)) ||
			strings.HasSuffix(string(name), storageClassSuffix+string(corev1.ResourcePersistentVolumeClaims))
	}
	return false
}

// TracksAny reports whether objects of a kind can use any of the resources in a list.
func TracksAny(k *kinds.Kind, list corev1.ResourceList) bool {
	for name := range list {
		if Tracks(k, name) {
			return true
		}
	}
	return false
}

func isPodResource(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
		corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage:
		return true
	}
	rest, ofRequests := strings.CutPrefix(string(name), requestsPrefix)
	return strings.HasPrefix(rest, hugePagesPrefix) || ofRequests && (!podspec.IsNativeResource(name) || strings.HasPrefix(rest, deviceClassPrefix))
}

// Usage is what an object uses, at a time: a pod that should have been gone uses nothing but its place in the count of all pods. Resources that it could use
// and does not are left out, or zero.
func Usage(k *kinds.Kind, obj kinds.Object, now time.Time) corev1.ResourceList {
	one := *resource.NewQuantity(1, resource.DecimalSI)
	used := corev1.ResourceList{CountName(k): one}
	switch o := obj.(type) {
	case *corev1.Pod:
		if holds, _ := Holds(o, now); holds {
			podUsage(used, o)
		}
		return used
	case *corev1.Service:
		serviceUsage(used, o)
	case *corev1.PersistentVolumeClaim:
		claimUsage(used, o)
	}
	if name := alias(k); name != "" {
		used[name] = one
	}
	return used
}

// Holds reports whether a pod still uses resources: it has not ended, nor is it overdue to go. until is when it will be; zero: not known yet.
func Holds(pod *corev1.Pod, now time.Time) (holds bool, until time.Time) {
	if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		return false, time.Time{}
	}
	if pod.DeletionTimestamp == nil || pod.DeletionGracePeriodSeconds == nil {
		return true, time.Time{}
	}
	until = pod.DeletionTimestamp.Add(time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second)
	return !now.After(until), until
}

func podUsage(used corev1.ResourceList, pod *corev1.Pod) {
	used[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	for name, q := range podspec.Requests(pod) {
		switch {
		case name == corev1.ResourceCPU, name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage, strings.HasPrefix(string(name), hugePagesPrefix):
			used[name], used[requestsPrefix+name] = q, q
		case podspec.IsExtendedResource(name), strings.HasPrefix(string(name), deviceClassPrefix):
			used[requestsPrefix+name] = q
		}
	}
	for name, q := range podspec.Limits(pod) {
		if name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage {
			used["limits."+name] = q
		}
	}
}

// serviceUsage counts node ports by intent: they may not be allocated yet.
func serviceUsage(used corev1.ResourceList, s *corev1.Service) {
	ports, balancers := 0, 0
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		ports = len(s.Spec.Ports)
	case corev1.ServiceTypeLoadBalancer:
		balancers = 1
		for i := range s.Spec.Ports {
			if allocate := s.Spec.AllocateLoadBalancerNodePorts; allocate == nil || *allocate || s.Spec.Ports[i].NodePort != 0 {
				ports++
			}
		}
	}
	used[corev1.ResourceServicesNodePorts] = *resource.NewQuantity(int64(ports), resource.DecimalSI)
	used[corev1.ResourceServicesLoadBalancers] = *resource.NewQuantity(int64(balancers), resource.DecimalSI)
}

func claimUsage(used corev1.ResourceList, c *corev1.PersistentVolumeClaim) {
	class, old := c.Annotations[corev1.BetaStorageClassAnnotation]
	if !old && c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	both := func(name corev1.ResourceName, q resource.Quantity) {
		used[name] = q
		if class != "" {
			used[corev1.ResourceName(class+storageClassSuffix+string(name))] = q
		}
	}
	both(corev1.ResourcePersistentVolumeClaims, *resource.NewQuantity(1, resource.DecimalSI))
	size, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return
	}
	if allocated, ok := c.Status.AllocatedResources[corev1.ResourceStorage]; ok && allocated.Cmp(size) > 0 {
		size = allocated // an expansion that was taken back may have happened all the same
	}
	size = size.DeepCopy()
	size.RoundUp(0)
	both(corev1.ResourceRequestsStorage, size)
}

// Add adds what is in list to total, of the resources that total names.
func Add(total, list corev1.ResourceList) {
	for name, q := range list {
		if sum, ok := total[name]; ok {
			sum.Add(q)
			total[name] = sum
		}
	}
}

// InScope reports whether an object is in all scopes of a quota.
func InScope(q *corev1.ResourceQuota, obj kinds.Object) bool {
	if slices.ContainsFunc(q.Spec.Scopes, func(s corev1.ResourceQuotaScope) bool {
		return !inScope(corev1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: corev1.ScopeSelectorOpExists}, obj)
	}) {
		return false
	}
	return q.Spec.ScopeSelector == nil ||
		!slices.ContainsFunc(q.Spec.ScopeSelector.MatchExpressions, func(r corev1.ScopedResourceSelectorRequirement) bool { return !inScope(r, obj) })
}
