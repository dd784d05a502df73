package images

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestPauseWaitsAndEndsOnSIGTERM(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := startPause(t)
		// It reaps its children and goes on waiting; then the signal must end it.
		if err := cmd.Process.Signal(syscall.SIGCHLD); err != nil {
			t.Fatal(err)
		}
		for children := "?"; children != "" && t.Context().Err() == nil; runtime.Gosched() {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", cmd.Process.Pid))
			if err != nil {
				t.Fatalf("pause is gone with children unreaped: %v, %v", err, cmd.Wait())
			}
			children = strings.TrimSpace(string(b))
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("on %v pause ended with %v, want exit code 0", sig, err)
		}
	}
}

func startPause(t *testing.T) *exec.Cmd {
	t.Helper()
	b, err := pauseProgram(runtime.GOARCH)
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	// Children that the shell leaves behind are children of what it becomes.
	cmd := exec.Command("sh", "-c", `sleep 0 & sleep 0 & exec "$0"`, path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	// It is ready when it sleeps in rt_sigtimedwait, its only blocking call; before, a signal would kill it.
	for t.Context().Err() == nil {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(status), "Name:\tpause\n") && strings.Contains(string(status), "State:\tS") {
			return cmd
		}
		if strings.Contains(string(status), "State:\tZ") {
			t.Fatalf("pause ended at once: %v", cmd.Wait())
		}
		runtime.Gosched()
	}
	return cmd
}

func TestPauseIsAnExecutableForBothArchitectures(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		b, err := pauseProgram(arch)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		if f.Machine != machine || len(f.Progs) != 1 || f.Progs[0].Filesz != uint64(len(b)) {
			t.Errorf("%s: machine %v, %d segments, %d bytes of %d", arch, f.Machine, len(f.Progs), f.Progs[0].Filesz, len(b))
		}
	}
}
