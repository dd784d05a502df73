// Package cgroups makes the control groups that pods live in: /kubepods for guaranteed pods, /kubepods/burstable and /kubepods/besteffort for the others,
// one pod<uid> below, with limits for the pod as a whole. The container runtime makes those of containers inside.
//
// It works with cgroup v2, v1 and both at once, and with whatever controllers there are: what is missing is logged once and done without. Groups that it
// did not make are never touched.
package cgroups

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"github.com/tenet-run/tenet/kubelet/criconfig"
	"github.com/tenet-run/tenet/kubelet/plan"
)

const top = "kubepods"

// Tree is the hierarchies of this machine.
type Tree struct {
	v2   string            // mount point of cgroup v2, when controllers are there
	v1   map[string]string // mount point by controller
	dirs []string          // every mount point in which groups are made
	log  *slog.Logger

	mu   sync.Mutex
	told map[string]bool
}

// Open finds the hierarchies below root, /sys/fs/cgroup.
func Open(root string, log *slog.Logger) (*Tree, error) {
	t := &Tree{v1: map[string]string{}, log: log, told: map[string]bool{}}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		before, after, ok := strings.Cut(sc.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 3 || !strings.HasPrefix(fields[4]+"/", root+"/") {
			continue
		}
		switch at := fields[4]; kind[0] {
		case "cgroup2":
			if b, err := os.ReadFile(filepath.Join(at, "cgroup.controllers")); err == nil && len(strings.Fields(string(b))) > 0 {
				t.v2 = at
				t.dirs = append(t.dirs, at)
			}
		case "cgroup":
			t.dirs = append(t.dirs, at)
			for _, c := range strings.Split(kind[2], ",") {
				t.v1[c] = at
			}
		}
	}
	if len(t.dirs) == 0 {
		return nil, fmt.Errorf("no cgroup hierarchy is mounted below %s", root)
	}
	return t, nil
}

// Unified reports pure cgroup v2.
func (t *Tree) Unified() bool { return t.v2 != "" && len(t.v1) == 0 }

// PodPath is the group of a pod, from the root of each hierarchy.
func PodPath(pod *corev1.Pod) string {
	switch plan.QOS(pod) {
	case corev1.PodQOSGuaranteed:
		return "/" + top + "/pod" + string(pod.UID)
	case corev1.PodQOSBurstable:
		return "/" + top + "/burstable/pod" + string(pod.UID)
	}
	return "/" + top + "/besteffort/pod" + string(pod.UID)
}

// once logs a lack once, so that a machine without a controller does not fill its log.
func (t *Tree) once(what string, err error) {
	t.mu.Lock()
	seen := t.told[what]
	t.told[what] = true
	t.mu.Unlock()
	if !seen {
		t.log.Warn("A cgroup limit cannot be set; pods run without it", "what", what, "err", err)
	}
}

// Create makes the pod's group in every hierarchy and sets the pod's limits. It fails only when no group could be made at all.
func (t *Tree) Create(pod *corev1.Pod) error {
	path := PodPath(pod)
	made := 0
	var errs []error
	for _, root := range t.dirs {
		if err := t.mkdir(root, path); err != nil {
			errs = append(errs, err)
			continue
		}
		made++
	}
	if made == 0 {
		return fmt.Errorf("make cgroup %s: %w", path, errors.Join(errs...))
	}
	if len(errs) > 0 {
		t.once("group in every hierarchy", errors.Join(errs...))
	}
	t.limit(path, pod)
	return nil
}

func (t *Tree) mkdir(root, path string) error {
	if root == t.v2 {
		at := root
		for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
			t.delegate(at)
			at = filepath.Join(at, part)
			if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		t.delegate(at)
		return nil
	}
	full := filepath.Join(root, path)
	if err := os.MkdirAll(full, 0o755); err != nil {
		return err
	}
	if root == t.v1["cpuset"] { // a v1 cpuset without cpus takes no process
		at := root
		for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
			parent := at
			at = filepath.Join(at, part)
			for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
				if b, err := os.ReadFile(filepath.Join(at, f)); err == nil && strings.TrimSpace(string(b)) == "" {
					if up, err := os.ReadFile(filepath.Join(parent, f)); err == nil {
						os.WriteFile(filepath.Join(at, f), up, 0)
					}
				}
			}
		}
	}
	return nil
}

// delegate lets a v2 group's children use its controllers.
func (t *Tree) delegate(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	on, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	for _, c := range strings.Fields(string(b)) {
		if strings.Contains(" "+strings.TrimSpace(string(on))+" ", " "+c+" ") {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			t.once("controller "+c, err)
		}
	}
}

// limit sets what the pod as a whole may use: its requests as weight, and limits for what every container limits.
func (t *Tree) limit(path string, pod *corev1.Pod) {
	req := resource.PodRequests(pod, resource.PodResourcesOptions{})
	lim := resource.PodLimits(pod, resource.PodResourcesOptions{})
	shares := int64(2)
	if plan.QOS(pod) != corev1.PodQOSBestEffort {
		shares = criconfig.Shares(req.Cpu().MilliValue())
	}
	quota, memory := int64(-1), int64(-1)
	if q := criconfig.Quota(lim.Cpu().MilliValue()); q > 0 && all(pod, corev1.ResourceCPU) {
		quota = q
	}
	if m := lim.Memory().Value(); m > 0 && all(pod, corev1.ResourceMemory) {
		memory = m
	}
	t.setCPU(path, shares, quota)
	if memory > 0 {
		if root, ok := t.v1["memory"]; ok {
			t.write("memory limit", root, path, "memory.limit_in_bytes", strconv.FormatInt(memory, 10))
		} else {
			t.write("memory limit", t.v2, path, "memory.max", strconv.FormatInt(memory, 10))
		}
	}
}

// all reports that every container has a limit, or the pod itself.
func all(pod *corev1.Pod, name corev1.ResourceName) bool {
	if pod.Spec.Resources != nil {
		if q := pod.Spec.Resources.Limits[name]; !q.IsZero() {
			return true
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if q := list[i].Resources.Limits[name]; q.IsZero() {
				return false
			}
		}
	}
	return true
}

func (t *Tree) setCPU(path string, shares, quota int64) {
	if root, ok := t.v1["cpu"]; ok {
		t.write("cpu shares", root, path, "cpu.shares", strconv.FormatInt(shares, 10))
		if quota > 0 {
			t.write("cpu quota", root, path, "cpu.cfs_period_us", strconv.Itoa(criconfig.Period))
			t.write("cpu quota", root, path, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10))
		}
		return
	}
	t.write("cpu weight", t.v2, path, "cpu.weight", strconv.FormatInt(weight(shares), 10))
	if quota > 0 {
		t.write("cpu quota", t.v2, path, "cpu.max", fmt.Sprintf("%d %d", quota, criconfig.Period))
	}
}

// weight turns v1's shares (2..262144) into v2's weight (1..10000), so that 1024 becomes 100, as runc does.
func weight(shares int64) int64 {
	if shares <= 2 {
		return 1
	}
	if shares >= 262144 {
		return 10000
	}
	l := math.Log2(float64(shares))
	return int64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

func (t *Tree) write(what, root, path, file, value string) {
	if root == "" {
		t.once(what, errors.New("controller is not available"))
		return
	}
	if err := os.WriteFile(filepath.Join(root, path, file), []byte(value), 0); err != nil {
		t.once(what, err)
	}
}

// SetQOS weighs the groups of burstable and best-effort pods against the rest: millicores that burstable pods ask for in all.
func (t *Tree) SetQOS(burstable int64) {
	for _, c := range []struct {
		path   string
		shares int64
	}{{"/" + top + "/burstable", criconfig.Shares(burstable)}, {"/" + top + "/besteffort", 2}} {
		for _, root := range t.dirs {
			if err := t.mkdir(root, c.path); err != nil {
				t.once("group in every hierarchy", err)
			}
		}
		t.setCPU(c.path, c.shares, 0)
	}
}

// Remove kills what is left in a pod's group and removes it in every hierarchy. A group that is not there is no error.
func (t *Tree) Remove(path string) error {
	if !strings.HasPrefix(path, "/"+top+"/") || !strings.Contains(path, "/pod") {
		return fmt.Errorf("refuse to remove cgroup %s: not a pod's", path)
	}
	var errs []error
	for _, root := range t.dirs {
		errs = append(errs, remove(filepath.Join(root, path)))
	}
	return errors.Join(errs...)
}

func remove(dir string) error {
	var last error
	for try := range 6 {
		last = nil
		var dirs []string
		filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := unix.Rmdir(dirs[i]); err != nil && err != unix.ENOENT {
				last = fmt.Errorf("remove cgroup %s: %w", dirs[i], err)
				kill(dirs[i])
			}
		}
		if last == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond << try) // a killed process leaves its group a moment later, and there is no event for it on v1
	}
	return last
}

func kill(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for _, s := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(s); err == nil && pid > 1 {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// Prune removes the groups above the pods' where no pod is left in them, on a machine that is to be left as it was found.
func (t *Tree) Prune() {
	for _, root := range t.dirs {
		for _, dir := range []string{"burstable", "besteffort", ""} {
			unix.Rmdir(filepath.Join(root, top, dir)) // refused while anything is inside
		}
	}
}

// Pods lists the groups of pods that exist, as paths.
func (t *Tree) Pods() []string {
	seen := map[string]bool{}
	var out []string
	for _, root := range t.dirs {
		for _, qos := range []string{"", "burstable/", "besteffort/"} {
			matches, _ := filepath.Glob(filepath.Join(root, top, qos, "pod*"))
			for _, m := range matches {
				p := strings.TrimPrefix(m, root)
				if !seen[p] {
					seen[p] = true
					out = append(out, p)
				}
			}
		}
	}
	return out
}
