package criconfig

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/plan"
)

// CPU conversions between Kubernetes and cgroups.
const (
	Period    = 100000 // microseconds
	minQuota  = 1000
	minShares = 2
	maxShares = 262144
)

// Shares is cpu.shares of a number of millicores.
func Shares(milli int64) int64 {
	return min(max(milli*1024/1000, minShares), maxShares)
}

// Quota is cpu.cfs_quota_us of a number of millicores, 0 for none.
func Quota(milli int64) int64 {
	if milli == 0 {
		return 0
	}
	return max(milli*Period/1000, minQuota)
}

// linuxResources are the cgroup limits of a container. A limit that the container lacks is the pod's, if that has one.
func linuxResources(pod *corev1.Pod, c *corev1.Container, memory int64) *runtimeapi.LinuxContainerResources {
	limit := func(name corev1.ResourceName) resource.Quantity {
		q := c.Resources.Limits[name]
		if q.IsZero() && pod.Spec.Resources != nil {
			q = pod.Spec.Resources.Limits[name]
		}
		return q
	}
	cpu, mem := limit(corev1.ResourceCPU), limit(corev1.ResourceMemory)
	request, ok := c.Resources.Requests[corev1.ResourceCPU]
	if !ok && !cpu.IsZero() {
		request = cpu
	}
	r := &runtimeapi.LinuxContainerResources{
		CpuPeriod: Period, CpuQuota: Quota(cpu.MilliValue()), CpuShares: Shares(request.MilliValue()),
		MemoryLimitInBytes: mem.Value(), OomScoreAdj: oomScore(pod, c, memory),
	}
	for name, q := range c.Resources.Limits {
		if size, ok := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix); ok {
			if page, err := resource.ParseQuantity(size); err == nil {
				r.HugepageLimits = append(r.HugepageLimits, &runtimeapi.HugepageLimit{PageSize: pageSize(page.Value()), Limit: uint64(q.Value())})
			}
		}
	}
	return r
}

// pageSize writes a huge page size as the kernel's hugetlb controller names it: 2MB, 1GB.
func pageSize(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	i := 0
	for n >= 1024 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return resource.NewQuantity(n, resource.DecimalSI).String() + units[i]
}

// oomScore follows upstream: guaranteed and critical pods die last, best effort first, burstable by how little memory they asked for.
func oomScore(pod *corev1.Pod, c *corev1.Container, memory int64) int64 {
	const guaranteed, besteffort = -997, 1000
	if pod.Spec.Priority != nil && *pod.Spec.Priority >= 2000000000 {
		return guaranteed
	}
	switch plan.QOS(pod) {
	case corev1.PodQOSGuaranteed:
		return guaranteed
	case corev1.PodQOSBestEffort:
		return besteffort
	}
	if memory <= 0 {
		return besteffort - 1
	}
	request := c.Resources.Requests.Memory().Value()
	score := 1000 - (1000*request)/memory
	return min(max(score, 1000+guaranteed), besteffort-1)
}
