package kubelet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/plan"
)

// admit refuses a pod that this node cannot hold, whoever bound it here. It returns nil for a pod that may run.
func (k *Kubelet) admit(pod *corev1.Pod) *plan.Stop {
	if sc := pod.Spec.SecurityContext; sc != nil {
		for _, s := range sc.Sysctls {
			if !safeSysctl(s.Name) {
				return &plan.Stop{Rejected: true, Reason: "SysctlForbidden", Message: fmt.Sprintf("forbidden sysctl: %q not allowlisted", s.Name)}
			}
		}
	}
	node := k.node.object()
	if node == nil {
		return nil
	}
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node); err == nil && !ok {
		return &plan.Stop{Rejected: true, Reason: "NodeAffinity", Message: "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"}
	}
	used := corev1.ResourceList{}
	pods := int64(0)
	for _, w := range k.all() {
		if w.uid == pod.UID {
			continue
		}
		// Only this worker's lock is held by the caller; another's fields are read through what the API says.
		other := w.snapshot.Load()
		if other == nil || other.Status.Phase == corev1.PodSucceeded || other.Status.Phase == corev1.PodFailed || other.Status.StartTime == nil {
			continue
		}
		pods++
		for name, q := range resource.PodRequests(other, resource.PodResourcesOptions{}) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	allocatable := k.node.allocatable()
	if max := allocatable.Pods().Value(); max > 0 && pods+1 > max {
		return &plan.Stop{Rejected: true, Reason: "OutOfpods", Message: fmt.Sprintf("Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: %d, capacity: %d", pods, max)}
	}
	want := resource.PodRequests(pod, resource.PodResourcesOptions{})
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		q, have, sum := want[name], allocatable[name], used[name]
		if q.IsZero() || have.IsZero() {
			continue
		}
		total := sum.DeepCopy()
		total.Add(q)
		if total.Cmp(have) > 0 {
			a, b, c := q.Value(), sum.Value(), have.Value()
			if name == corev1.ResourceCPU {
				a, b, c = q.MilliValue(), sum.MilliValue(), have.MilliValue()
			}
			return &plan.Stop{Rejected: true, Reason: "OutOf" + string(name), Message: fmt.Sprintf("Pod was rejected: Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, a, b, c)}
		}
	}
	return nil
}

// safeSysctl follows upstream's list of what is namespaced and isolated.
func safeSysctl(name string) bool {
	switch strings.ReplaceAll(name, "/", ".") {
	case "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
		"net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
		"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem":
		return true
	}
	return false
}

var errNetwork = errors.New("container runtime network not ready")

// networkReady says why a pod cannot be given an address now.
func (k *Kubelet) networkReady(pod *corev1.Pod) error {
	if pod.Spec.HostNetwork || k.cfg.NetworkReady == nil {
		return nil
	}
	if err := k.cfg.NetworkReady(); err != nil {
		return fmt.Errorf("%w: %w", errNetwork, err)
	}
	return nil
}

// runtimeHandler is the runtime's name for a pod's runtime class. A class names its handler; without RuntimeClass objects it is the class's own name.
func (k *Kubelet) runtimeHandler(pod *corev1.Pod) string {
	if pod.Spec.RuntimeClassName == nil {
		return ""
	}
	return *pod.Spec.RuntimeClassName
}

// weighQOS gives burstable pods the weight of what they ask for.
func (k *Kubelet) weighQOS() {
	milli := int64(0)
	for _, w := range k.all() {
		pod := w.snapshot.Load()
		if pod != nil && plan.QOS(pod) == corev1.PodQOSBurstable && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			req := resource.PodRequests(pod, resource.PodResourcesOptions{})
			milli += req.Cpu().MilliValue()
		}
	}
	k.mu.Lock()
	same := k.shares == milli
	k.shares = milli
	k.mu.Unlock()
	if !same {
		k.tree.SetQOS(milli)
	}
}

// idsPerPod is how many user IDs a pod with a user namespace of its own gets.
const idsPerPod = 65536

// userns gives a pod a range of user IDs and remembers it in the pod's directory.
func (k *Kubelet) userns(uid types.UID) (*runtimeapi.UserNamespace, error) {
	file := filepath.Join(k.podDir(uid), "userns")
	k.mu.Lock()
	defer k.mu.Unlock()
	var slot uint32
	if b, err := os.ReadFile(file); err == nil {
		n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("read user namespace of pod %s: %q", uid, b)
		}
		slot = uint32(n)
	} else {
		for slot = 1; slot < 1<<15; slot++ {
			if _, taken := k.ids[slot]; !taken {
				break
			}
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(strconv.Itoa(int(slot))), 0o600); err != nil {
			return nil, fmt.Errorf("remember user namespace of pod %s: %w", uid, err)
		}
	}
	k.ids[slot] = uid
	m := []*runtimeapi.IDMapping{{HostId: slot * idsPerPod, ContainerId: 0, Length: idsPerPod}}
	return &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: m, Gids: m}, nil
}

// recallUserns learns, after a start, which ranges pods have from before.
func (k *Kubelet) recallUserns() {
	files, _ := filepath.Glob(filepath.Join(k.cfg.RootDir, "pods", "*", "userns"))
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16); err == nil {
				k.ids[uint32(n)] = types.UID(filepath.Base(filepath.Dir(f)))
			}
		}
	}
}
