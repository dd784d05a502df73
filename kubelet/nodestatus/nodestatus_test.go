package nodestatus

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func facts() *Facts {
	return &Facts{
		Name: "n", IPs: []string{"192.0.2.1", "2001:db8::1"}, MaxPods: 110, Version: "v1", Runtime: "containerd://2",
		Machine:  MachineInfo{CPUs: 2, Memory: 4 << 30, Storage: 100 << 30, HugePages: map[string]int64{"2Mi": 1 << 30}},
		Pressure: PressureInfo{MemoryFree: 2 << 30, DiskFree: 50, DiskTotal: 100, Inodes: 100, InodesFree: 50, PIDs: 10, MaxPIDs: 100},
		Reserved: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")},
		Images:   []*runtimeapi.Image{{RepoTags: []string{"small"}, Size: 1}, {RepoTags: []string{"big"}, Size: 9}, {Size: 5}},
	}
}

func told(st *corev1.NodeStatus) string {
	var out []string
	for _, c := range st.Conditions {
		out = append(out, string(c.Type)+"="+string(c.Status)+" "+c.Reason)
	}
	return strings.Join(out, ", ")
}

func TestStatus(t *testing.T) {
	now := time.Unix(1000, 0)
	st := Status(&corev1.NodeStatus{}, facts(), now)
	for name, want := range map[corev1.ResourceName]string{"cpu": "1500m", "memory": "2972Mi", "pods": "110", "hugepages-2Mi": "1Gi", "ephemeral-storage": "96636764160"} {
		if got := st.Allocatable[name]; got.Cmp(resource.MustParse(want)) != 0 {
			t.Errorf("allocatable %s: got %s, want %s", name, got.String(), want)
		}
	}
	if len(st.Addresses) != 3 || st.Addresses[2].Type != corev1.NodeHostName {
		t.Errorf("addresses %v", st.Addresses)
	}
	if len(st.Images) != 2 || st.Images[0].Names[0] != "big" {
		t.Errorf("images %v", st.Images)
	}
	if got, want := told(&st), "MemoryPressure=False KubeletHasSufficientMemory, DiskPressure=False KubeletHasNoDiskPressure, PIDPressure=False KubeletHasSufficientPID, Ready=True KubeletReady"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	// Later, with nothing new: no change that is worth a write, and conditions keep the time of their last transition.
	later := Status(&st, facts(), now.Add(time.Minute))
	if Changed(&st, &later, equality.Semantic.DeepEqual) {
		t.Error("a heartbeat is a change")
	}
	if got := later.Conditions[3]; got.LastTransitionTime.Unix() != 1000 || got.LastHeartbeatTime.Unix() != 1060 {
		t.Errorf("times: %v", got)
	}

	bad := facts()
	bad.NotReady = "why"
	bad.Pressure = PressureInfo{MemoryFree: 1 << 20, DiskFree: 9, DiskTotal: 100, PIDs: 99, MaxPIDs: 100}
	worse := Status(&later, bad, now.Add(2*time.Minute))
	if got, want := told(&worse), "MemoryPressure=True KubeletHasInsufficientMemory, DiskPressure=True KubeletHasDiskPressure, PIDPressure=True KubeletHasInsufficientPID, Ready=False KubeletNotReady"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := strings.Join(Transitions(&later, &worse), " "), "NodeHasInsufficientMemory NodeHasDiskPressure NodeHasInsufficientPID NodeNotReady"; got != want {
		t.Errorf("events: got %s, want %s", got, want)
	}

	// What others say about the node stays.
	worse.Conditions = append(worse.Conditions, corev1.NodeCondition{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionFalse})
	worse.VolumesAttached = []corev1.AttachedVolume{{Name: "v"}}
	again := Status(&worse, facts(), now)
	if len(again.Conditions) != 5 || len(again.VolumesAttached) != 1 {
		t.Errorf("lost what others wrote: %s", told(&again))
	}
}
