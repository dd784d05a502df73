package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what processes have used up to now, and what they hold.
type usage struct {
	cpu        time.Duration
	rss, anon  int64 // bytes
	peak       int64 // bytes: the high-water mark of rss
	diskWrites int64 // bytes
}

func (a *api) usage() usage {
	var u usage
	for _, p := range a.procs {
		// The process's CPU clock counts nanoseconds; /proc/PID/stat has hundredths of a second.
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^p.Pid<<3|2), &t); err == nil {
			u.cpu += time.Duration(t.Nano())
		}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid))
		for line := range strings.Lines(string(text)) {
			var n int64
			if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
				u.rss += n << 10
			} else if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &n); err == nil {
				u.anon += n << 10
			} else if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
				u.peak += n << 10
			}
		}
		text, _ = os.ReadFile(fmt.Sprintf("/proc/%d/io", p.Pid))
		for line := range strings.Lines(string(text)) {
			var n int64
			if _, err := fmt.Sscanf(line, "write_bytes: %d", &n); err == nil {
				u.diskWrites += n
			}
		}
	}
	return u
}

// resetPeak begins the high-water mark of memory anew.
func (a *api) resetPeak() {
	for _, p := range a.procs {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.Pid), []byte("5"), 0)
	}
}

// ownCPU is what the load generator has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
