// Package isolate runs a test binary in network, mount and process namespaces of its own, so that tests may make containers, interfaces, firewall rules
// and mounts, and leave nothing behind: when the test ends, however it ends, the kernel takes all of it away. (Only cgroups are shared with the machine.)
//
// Use it from TestMain, and [Need] in tests that cannot do without:
//
//	func TestMain(m *testing.M) { isolate.Main(m) }
package isolate

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const stageVar = "TENET_TEST_ISOLATION"

// Main runs the tests of m, isolated if this is root on a machine that allows it. It does not return.
func Main(m *testing.M) {
	switch os.Getenv(stageVar) {
	case "":
		if os.Geteuid() != 0 {
			os.Exit(m.Run())
		}
		os.Exit(outside(m))
	case "init":
		os.Exit(initProcess())
	default:
		os.Exit(m.Run())
	}
}

// Need skips the test unless it runs isolated.
func Need(t testing.TB) {
	t.Helper()
	if os.Getenv(stageVar) != "test" {
		t.Skip("needs root and namespaces of its own (internal/isolate)")
	}
}

// outside starts the init process of the new namespaces.
func outside(m *testing.M) int {
	cmd := again("init")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "isolate: no namespaces here, tests that need them are skipped:", err)
		return m.Run()
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

func again(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stageVar+"="+stage)
	return cmd
}

// initProcess is process 1 of the namespaces: it prepares them, starts the tests and reaps orphans.
func initProcess() int {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "isolate:", err)
		return 1
	}
	cmd := again("test")
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "isolate:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "isolate: wait:", err)
			return 1
		}
		if pid == cmd.Process.Pid {
			if status.Signaled() {
				return 128 + int(status.Signal())
			}
			return status.ExitStatus()
		}
	}
}

func prepare() error {
	// Mounts made here must not reach the machine, but do have to reach the mount namespaces of containers.
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// sysfs shows the network namespace that mounted it; the cgroup file systems below it have to be seen through the new one.
	if err := remountSys(); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

func remountSys() error {
	const at = "/sys"
	keep, err := os.MkdirTemp("", "isolate-cgroup-")
	if err != nil {
		return err
	}
	if err := unix.Mount("/sys/fs/cgroup", keep, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind cgroups: %w", err)
	}
	if err := unix.Mount("sysfs", at, "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := unix.Mount(keep, "/sys/fs/cgroup", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind cgroups back: %w", err)
	}
	if err := unix.Unmount(keep, unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Remove(keep)
}
