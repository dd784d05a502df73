// Package nodestatus says what a machine is and how it fares: capacity, addresses, versions and conditions of its Node. [Status] is pure; [Machine] and
// [Pressure] read the machine.
package nodestatus

import (
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Facts are what a status is made of.
type Facts struct {
	Name     string
	IPs      []string
	Machine  MachineInfo
	Pressure PressureInfo
	MaxPods  int
	Port     int
	Version  string // of the kubelet
	Runtime  string // name://version
	Reserved corev1.ResourceList
	// NotReady is why the node cannot run pods; empty: it can.
	NotReady string
	Images   []*runtimeapi.Image
	// Attached sub-objects that do not change here are kept from the old status.
	Handlers []corev1.NodeRuntimeHandler
}

// MachineInfo does not change while the machine is up.
type MachineInfo struct {
	CPUs                          int
	Memory, Storage               int64 // bytes
	HugePages                     map[string]int64
	MachineID, SystemUUID, BootID string
	Kernel, OSImage, OS, Arch     string
	Swap                          int64
}

// PressureInfo is what may run short. Totals of 0 are unknown.
type PressureInfo struct {
	MemoryFree           int64
	DiskFree, DiskTotal  int64
	InodesFree, Inodes   int64
	PIDs, MaxPIDs        int64
	ImageFree, ImageSize int64
}

// Thresholds, as upstream's hard eviction limits.
const (
	memoryFloor  = 100 << 20
	diskPercent  = 10
	inodePercent = 5
	maxImages    = 50
	maxNames     = 5
)

// Status makes the status of a node from facts; old is the one before: it lends the times of conditions that did not change, and what others own.
func Status(old *corev1.NodeStatus, f *Facts, now time.Time) corev1.NodeStatus {
	st := *old.DeepCopy()
	st.Capacity, st.Allocatable = resources(f)
	st.Addresses = nil
	for _, ip := range f.IPs {
		st.Addresses = append(st.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	st.Addresses = append(st.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: f.Name})
	st.DaemonEndpoints.KubeletEndpoint.Port = int32(f.Port)
	st.NodeInfo = corev1.NodeSystemInfo{
		MachineID: f.Machine.MachineID, SystemUUID: f.Machine.SystemUUID, BootID: f.Machine.BootID, KernelVersion: f.Machine.Kernel, OSImage: f.Machine.OSImage,
		ContainerRuntimeVersion: f.Runtime, KubeletVersion: f.Version, OperatingSystem: f.Machine.OS, Architecture: f.Machine.Arch,
	}
	if f.Machine.Swap > 0 {
		swap := f.Machine.Swap
		st.NodeInfo.Swap = &corev1.NodeSwapStatus{Capacity: &swap}
	}
	st.Images = imageList(f.Images)
	if f.Handlers != nil {
		st.RuntimeHandlers = f.Handlers
	}
	conditions(&st, f, now)
	return st
}

func resources(f *Facts) (capacity, allocatable corev1.ResourceList) {
	capacity = corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(f.Machine.CPUs), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(f.Machine.Memory/1024*1024, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(f.Machine.Storage, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(int64(f.MaxPods), resource.DecimalSI),
	}
	for size, n := range f.Machine.HugePages {
		capacity[corev1.ResourceName(corev1.ResourceHugePagesPrefix+size)] = *resource.NewQuantity(n, resource.BinarySI)
	}
	allocatable = corev1.ResourceList{}
	for name, q := range capacity {
		q = q.DeepCopy()
		if r, ok := f.Reserved[name]; ok {
			q.Sub(r)
		}
		switch name {
		case corev1.ResourceMemory:
			q.Sub(*resource.NewQuantity(memoryFloor, resource.BinarySI))
		case corev1.ResourceEphemeralStorage:
			q.Sub(*resource.NewQuantity(f.Machine.Storage*diskPercent/100, resource.BinarySI))
			q = *resource.NewQuantity(q.Value(), resource.DecimalSI)
		}
		if q.Sign() < 0 {
			q.Set(0)
		}
		allocatable[name] = q
	}
	// Huge pages are memory that nobody else gets.
	if len(f.Machine.HugePages) > 0 {
		m := allocatable[corev1.ResourceMemory]
		for _, n := range f.Machine.HugePages {
			m.Sub(*resource.NewQuantity(n, resource.BinarySI))
		}
		allocatable[corev1.ResourceMemory] = m
	}
	return capacity, allocatable
}

func imageList(in []*runtimeapi.Image) []corev1.ContainerImage {
	var out []corev1.ContainerImage
	for _, i := range in {
		names := append(append([]string(nil), i.RepoDigests...), i.RepoTags...)
		if len(names) > maxNames {
			names = names[:maxNames]
		}
		if len(names) > 0 {
			out = append(out, corev1.ContainerImage{Names: names, SizeBytes: int64(i.Size)})
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].SizeBytes != out[j].SizeBytes {
			return out[i].SizeBytes > out[j].SizeBytes
		}
		return strings.Join(out[i].Names, " ") < strings.Join(out[j].Names, " ")
	})
	if len(out) > maxImages {
		out = out[:maxImages]
	}
	return out
}

func conditions(st *corev1.NodeStatus, f *Facts, now time.Time) {
	set := func(t corev1.NodeConditionType, bad bool, badReason, badText, goodReason, goodText string) {
		c := corev1.NodeCondition{Type: t, Status: corev1.ConditionFalse, Reason: goodReason, Message: goodText}
		if bad {
			c.Status, c.Reason, c.Message = corev1.ConditionTrue, badReason, badText
		}
		put(st, c, now)
	}
	p := f.Pressure
	set(corev1.NodeMemoryPressure, f.Machine.Memory > 0 && p.MemoryFree > 0 && p.MemoryFree < memoryFloor,
		"KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
	set(corev1.NodeDiskPressure, p.DiskTotal > 0 && p.DiskFree*100 < p.DiskTotal*diskPercent || p.Inodes > 0 && p.InodesFree*100 < p.Inodes*inodePercent,
		"KubeletHasDiskPressure", "kubelet has disk pressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
	set(corev1.NodePIDPressure, p.MaxPIDs > 0 && p.PIDs*100 > p.MaxPIDs*95,
		"KubeletHasInsufficientPID", "kubelet has insufficient PID available", "KubeletHasSufficientPID", "kubelet has sufficient PID available")
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"}
	if f.NotReady != "" {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "KubeletNotReady", f.NotReady
	}
	put(st, ready, now)
}

func put(st *corev1.NodeStatus, c corev1.NodeCondition, now time.Time) {
	at := metav1.NewTime(now.Truncate(time.Second))
	c.LastHeartbeatTime, c.LastTransitionTime = at, at
	for i := range st.Conditions {
		if st.Conditions[i].Type == c.Type {
			if st.Conditions[i].Status == c.Status {
				c.LastTransitionTime = st.Conditions[i].LastTransitionTime
			}
			st.Conditions[i] = c
			return
		}
	}
	st.Conditions = append(st.Conditions, c)
}

// Changed reports that two statuses differ in more than the times of heartbeats.
func Changed(a, b *corev1.NodeStatus, equal func(a, b any) bool) bool {
	x, y := a.DeepCopy(), b.DeepCopy()
	for _, st := range []*corev1.NodeStatus{x, y} {
		for i := range st.Conditions {
			st.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
		sort.Slice(st.Conditions, func(i, j int) bool { return st.Conditions[i].Type < st.Conditions[j].Type })
	}
	return !equal(x, y)
}

// Transitions lists the conditions whose status differs, as events: NodeReady, NodeHasSufficientMemory, ...
func Transitions(old, now *corev1.NodeStatus) []string {
	was := map[corev1.NodeConditionType]corev1.ConditionStatus{}
	for _, c := range old.Conditions {
		was[c.Type] = c.Status
	}
	names := map[corev1.NodeConditionType][2]string{ // when true, when not
		corev1.NodeReady:          {"NodeReady", "NodeNotReady"},
		corev1.NodeMemoryPressure: {"NodeHasInsufficientMemory", "NodeHasSufficientMemory"},
		corev1.NodeDiskPressure:   {"NodeHasDiskPressure", "NodeHasNoDiskPressure"},
		corev1.NodePIDPressure:    {"NodeHasInsufficientPID", "NodeHasSufficientPID"},
	}
	var out []string
	for _, c := range now.Conditions {
		n, ours := names[c.Type]
		if !ours || was[c.Type] == c.Status {
			continue
		}
		if c.Status == corev1.ConditionTrue {
			out = append(out, n[0])
		} else {
			out = append(out, n[1])
		}
	}
	return out
}
