package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RunPodSandbox implements [Runtime]. The pause process gets a seccomp profile of its own when the default one is asked for: it is stricter, and
// compiling its few rules takes 1 ms where the default profile's 400 take 30.
func (d *Daemon) RunPodSandbox(ctx context.Context, q *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	if s := q.GetConfig().GetLinux().GetSecurityContext(); d.seccomp != "" && s.GetSeccomp().GetProfileType() == runtimeapi.SecurityProfile_RuntimeDefault && !s.GetPrivileged() {
		q = proto.Clone(q).(*runtimeapi.RunPodSandboxRequest)
		q.Config.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: d.seccomp}
	}
	return gated(ctx, d.starts, later, d.rt.RunPodSandbox, q)
}

// writeSandboxSeccomp writes the profile and returns its path.
func writeSandboxSeccomp(dir string) (string, error) {
	b, err := json.Marshal(sandboxSeccomp(runtime.GOARCH))
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sandbox-seccomp.json")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return "", fmt.Errorf("seccomp profile of sandboxes: %w", err)
	}
	return path, nil
}

// sandboxSeccomp allows what the pause program calls, and what runc calls between loading the filter and executing it (it is a Go program that
// drops privileges, closes files and tells its parent).
func sandboxSeccomp(arch string) *specs.LinuxSeccomp {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	switch arch {
	case "amd64":
		p.Architectures = []specs.Arch{specs.ArchX86_64}
	case "arm64":
		p.Architectures = []specs.Arch{specs.ArchAARCH64}
	}
	p.Syscalls = []specs.LinuxSyscall{{Action: specs.ActAllow, Names: []string{
		// pause
		"rt_sigprocmask", "rt_sigtimedwait", "wait4", "exit_group", "restart_syscall",
		// runc's init
		"execve", "exit", "read", "write", "close", "close_range", "openat", "openat2", "fstat", "newfstatat", "statx", "lseek", "fcntl", "dup3", "ioctl",
		"getdents64", "readlinkat", "faccessat", "faccessat2", "fstatfs", "statfs", "getcwd", "chdir", "fchdir", "fchown", "umask",
		"prctl", "arch_prctl", "capget", "capset", "setuid", "setgid", "setgroups", "setresuid", "setresgid", "getuid", "getgid", "geteuid", "getegid",
		"getpid", "getppid", "gettid", "setsid", "keyctl", "prlimit64", "getrlimit", "seccomp", "kill", "tgkill",
		"mmap", "mprotect", "munmap", "madvise", "mincore", "brk", "futex", "clone", "clone3", "rseq", "set_robust_list", "set_tid_address", "getrandom",
		"rt_sigaction", "rt_sigreturn", "sigaltstack", "nanosleep", "clock_gettime", "clock_nanosleep", "sched_getaffinity", "sched_yield", "uname",
		"epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", "pipe2", "timer_create", "timer_settime", "timer_delete", "recvmsg", "sendmsg", "recvfrom", "sendto",
	}}}
	return p
}
