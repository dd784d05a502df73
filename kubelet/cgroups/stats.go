package cgroups

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage is what a group has used.
type Usage struct {
	CPU        uint64 // nanoseconds, ever
	Memory     uint64 // bytes
	WorkingSet uint64 // bytes, without file pages that can be dropped
	RSS        uint64
	Faults     uint64
	MajorFault uint64
}

// Usage reads what a group has used; path "/" is the whole machine. Values that cannot be read are 0.
func (t *Tree) Usage(path string) Usage {
	var u Usage
	if root, ok := t.v1["cpuacct"]; ok {
		u.CPU = number(root, path, "cpuacct.usage")
	} else {
		u.CPU = field(t.v2, path, "cpu.stat", "usage_usec") * 1000
	}
	root, v1 := t.v1["memory"]
	inactive := "inactive_file"
	if v1 {
		u.Memory = number(root, path, "memory.usage_in_bytes")
		u.RSS = field(root, path, "memory.stat", "total_rss")
		inactive = "total_inactive_file"
	} else {
		root = t.v2
		u.Memory = number(root, path, "memory.current")
		u.RSS = field(root, path, "memory.stat", "anon")
	}
	u.Faults, u.MajorFault = field(root, path, "memory.stat", "pgfault"), field(root, path, "memory.stat", "pgmajfault")
	if cold := field(root, path, "memory.stat", inactive); cold < u.Memory {
		u.WorkingSet = u.Memory - cold
	}
	return u
}

func number(root, path, file string) uint64 {
	b, err := os.ReadFile(filepath.Join(root, path, file))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n
}

func field(root, path, file, name string) uint64 {
	b, err := os.ReadFile(filepath.Join(root, path, file))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	return 0
}
