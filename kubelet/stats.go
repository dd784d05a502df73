package kubelet

import (
	"encoding/json"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/tenet-run/tenet/kubelet/cgroups"
	"github.com/tenet-run/tenet/kubelet/criconfig"
	"github.com/tenet-run/tenet/kubelet/nodestatus"
)

// serveSummary tells what node, pods and containers use: containers as the runtime says, pods and node from their cgroups.
func (k *Kubelet) serveSummary(w http.ResponseWriter, r *http.Request) {
	list, err := k.cfg.Runtime.ListContainerStats(r.Context(), &runtimeapi.ListContainerStatsRequest{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	now := metav1.NewTime(time.Now())
	byPod := map[types.UID][]statsapi.ContainerStats{}
	for _, c := range list.Stats {
		uid := types.UID(c.GetAttributes().GetLabels()[criconfig.PodUID])
		byPod[uid] = append(byPod[uid], containerStats(c))
	}
	out := statsapi.Summary{Node: statsapi.NodeStats{NodeName: k.cfg.NodeName, StartTime: now}}
	if k.tree != nil {
		u := k.tree.Usage("/")
		out.Node.CPU, out.Node.Memory = cpuStats(u, now), memoryStats(u, now)
	}
	if out.Node.Memory == nil {
		out.Node.Memory = &statsapi.MemoryStats{Time: now}
	}
	p := nodestatus.Pressure(k.cfg.RootDir)
	free := uint64(p.MemoryFree)
	out.Node.Memory.AvailableBytes = &free
	total, diskFree, used := uint64(p.DiskTotal), uint64(p.DiskFree), uint64(p.DiskTotal-p.DiskFree)
	inodes, inodesFree := uint64(p.Inodes), uint64(p.InodesFree)
	out.Node.Fs = &statsapi.FsStats{Time: now, CapacityBytes: &total, AvailableBytes: &diskFree, UsedBytes: &used, Inodes: &inodes, InodesFree: &inodesFree}
	pids, max := p.PIDs, p.MaxPIDs
	out.Node.Rlimit = &statsapi.RlimitStats{Time: now, NumOfRunningProcesses: &pids, MaxPID: &max}
	for _, wk := range k.all() {
		pod := wk.snapshot.Load()
		ps := statsapi.PodStats{PodRef: statsapi.PodReference{Name: pod.Name, Namespace: pod.Namespace, UID: string(pod.UID)}, Containers: byPod[pod.UID]}
		if pod.Status.StartTime != nil {
			ps.StartTime = *pod.Status.StartTime
		}
		if len(ps.Containers) == 0 || pod.Status.Phase != corev1.PodRunning && pod.Status.Phase != corev1.PodPending {
			continue
		}
		if k.tree != nil {
			u := k.tree.Usage(cgroups.PodPath(pod))
			ps.CPU, ps.Memory = cpuStats(u, now), memoryStats(u, now)
		}
		out.Pods = append(out.Pods, ps)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(&out)
}

func cpuStats(u cgroups.Usage, now metav1.Time) *statsapi.CPUStats {
	return &statsapi.CPUStats{Time: now, UsageCoreNanoSeconds: &u.CPU}
}

func memoryStats(u cgroups.Usage, now metav1.Time) *statsapi.MemoryStats {
	return &statsapi.MemoryStats{Time: now, UsageBytes: &u.Memory, WorkingSetBytes: &u.WorkingSet, RSSBytes: &u.RSS, PageFaults: &u.Faults, MajorPageFaults: &u.MajorFault}
}

func value(v *runtimeapi.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	return &v.Value
}

func containerStats(c *runtimeapi.ContainerStats) statsapi.ContainerStats {
	out := statsapi.ContainerStats{Name: c.GetAttributes().GetMetadata().GetName()}
	if cpu := c.Cpu; cpu != nil {
		out.CPU = &statsapi.CPUStats{Time: metav1.NewTime(time.Unix(0, cpu.Timestamp)), UsageCoreNanoSeconds: value(cpu.UsageCoreNanoSeconds), UsageNanoCores: value(cpu.UsageNanoCores)}
	}
	if m := c.Memory; m != nil {
		out.Memory = &statsapi.MemoryStats{
			Time: metav1.NewTime(time.Unix(0, m.Timestamp)), WorkingSetBytes: value(m.WorkingSetBytes), UsageBytes: value(m.UsageBytes), AvailableBytes: value(m.AvailableBytes),
			RSSBytes: value(m.RssBytes), PageFaults: value(m.PageFaults), MajorPageFaults: value(m.MajorPageFaults),
		}
	}
	if l := c.WritableLayer; l != nil {
		out.Rootfs = &statsapi.FsStats{Time: metav1.NewTime(time.Unix(0, l.Timestamp)), UsedBytes: value(l.UsedBytes), InodesUsed: value(l.InodesUsed)}
	}
	return out
}
