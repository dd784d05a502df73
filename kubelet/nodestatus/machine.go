package nodestatus

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine reads what the machine is. root is on the file system that pods write to. What cannot be read stays empty.
func Machine(root string) MachineInfo {
	m := MachineInfo{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, HugePages: map[string]int64{}}
	mem := meminfo()
	m.Memory, m.Swap = mem["MemTotal"], mem["SwapTotal"]
	var fs unix.Statfs_t
	err := unix.Statfs(root, &fs)
	for err == unix.ENOENT && root != filepath.Dir(root) { // the folder is made at the first start, on the file system of its parent
		root = filepath.Dir(root)
		err = unix.Statfs(root, &fs)
	}
	if err == nil {
		m.Storage = int64(fs.Blocks) * fs.Bsize
	}
	m.MachineID = line("/etc/machine-id", "/var/lib/dbus/machine-id")
	m.SystemUUID = line("/sys/class/dmi/id/product_uuid")
	if m.SystemUUID == "" {
		m.SystemUUID = m.MachineID
	}
	m.BootID = line("/proc/sys/kernel/random/boot_id")
	m.Kernel = line("/proc/sys/kernel/osrelease")
	m.OSImage = "Linux"
	for _, l := range strings.Split(line0("/etc/os-release"), "\n") {
		if v, ok := strings.CutPrefix(l, "PRETTY_NAME="); ok {
			m.OSImage = strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	pools, _ := filepath.Glob("/sys/kernel/mm/hugepages/hugepages-*kB")
	for _, p := range pools {
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(p), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		n, _ := strconv.ParseInt(line(filepath.Join(p, "nr_hugepages")), 10, 64)
		m.HugePages[size(kb*1024)] = n * kb * 1024
	}
	return m
}

// size writes 2097152 as 2Mi.
func size(n int64) string {
	units := []string{"", "Ki", "Mi", "Gi", "Ti"}
	i := 0
	for n >= 1024 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i]
}

func line0(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

func line(paths ...string) string {
	for _, p := range paths {
		if s := strings.TrimSpace(line0(p)); s != "" {
			return s
		}
	}
	return ""
}

// meminfo is /proc/meminfo in bytes.
func meminfo() map[string]int64 {
	out := map[string]int64{}
	for _, l := range strings.Split(line0("/proc/meminfo"), "\n") {
		name, rest, ok := strings.Cut(l, ":")
		f := strings.Fields(rest)
		if ok && len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			out[name] = n * 1024
		}
	}
	return out
}

// Memory is how many bytes of memory the machine has.
func Memory() int64 { return meminfo()["MemTotal"] }

// Pressure reads what may run short.
func Pressure(root string) PressureInfo {
	p := PressureInfo{MemoryFree: meminfo()["MemAvailable"]}
	var fs unix.Statfs_t
	if unix.Statfs(root, &fs) == nil {
		p.DiskTotal, p.DiskFree = int64(fs.Blocks)*fs.Bsize, int64(fs.Bavail)*fs.Bsize
		p.Inodes, p.InodesFree = int64(fs.Files), int64(fs.Ffree)
	}
	if f := strings.Fields(line("/proc/loadavg")); len(f) > 3 {
		if _, total, ok := strings.Cut(f[3], "/"); ok {
			p.PIDs, _ = strconv.ParseInt(total, 10, 64)
		}
	}
	p.MaxPIDs, _ = strconv.ParseInt(line("/proc/sys/kernel/pid_max"), 10, 64)
	if threads, err := strconv.ParseInt(line("/proc/sys/kernel/threads-max"), 10, 64); err == nil && threads > 0 {
		p.MaxPIDs = min(p.MaxPIDs, threads)
	}
	return p
}
