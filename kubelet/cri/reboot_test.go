package cri

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// reboot ends the runtime, every shim and every process of a pod, and empties what lies in memory.
func (n *testNode) reboot(t *testing.T) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	belongs := func(dir string) bool {
		for _, file := range []string{"cmdline", "cgroup"} { // a shim names the socket, a pod's process is in its cgroup
			text, _ := os.ReadFile(filepath.Join(dir, file))
			if strings.Contains(string(text), n.dir+"/") || strings.Contains(string(text), "/tenet-cri-test/"+filepath.Base(n.dir)) {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(10 * time.Second); ; {
		left := 0
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range dirs {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			if pid == os.Getpid() || !belongs(dir) {
				continue
			}
			left++
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("processes of pods do not end")
		}
		<-time.After(5 * time.Millisecond)
	}
	state := filepath.Join(n.dir, "state")
	if out, err := exec.Command("sh", "-c", "awk '{print $5}' /proc/self/mountinfo | grep ^"+state+"/ | sort -r | xargs -r -n1 umount -l").CombinedOutput(); err != nil {
		t.Fatalf("unmount: %v: %s", err, out)
	}
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	n.waitNetwork(t)
}

func TestRebootKeepsExitCodesAndLeavesNothingRunning(t *testing.T) {
	n := startNode(t)
	events := n.events(t)
	ended := n.mustRun(t, "ended", "exit", "7")
	waitEvent(t, events, ended.container, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	runs := n.mustRun(t, "runs", "sleep")

	n.reboot(t)
	if s := n.container(t, ended.container); s.State != runtimeapi.ContainerState_CONTAINER_EXITED || s.ExitCode != 7 {
		t.Errorf("the container that had ended is %v with code %d, want exited with 7", s.State, s.ExitCode)
	}
	if s := n.container(t, runs.container); s.State != runtimeapi.ContainerState_CONTAINER_EXITED || s.ExitCode == 0 {
		t.Errorf("the container that ran is %v with code %d, want exited with an error", s.State, s.ExitCode)
	}
	for _, p := range []testPod{ended, runs} {
		s, err := n.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.sandbox})
		if err != nil || s.Status.State != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
			t.Errorf("sandbox: %v %v, want one that is not ready", s, err)
		}
	}
	n.mustRun(t, "next", "sleep") // while the old ones are still known
	for _, p := range []testPod{ended, runs} {
		if _, err := n.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.sandbox}); err != nil {
			t.Error(err)
		}
		if _, err := n.RemovePodSandbox(t.Context(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.sandbox}); err != nil {
			t.Error(err)
		}
	}
	n.mustRun(t, "runs", "sleep")
}

func TestSandboxFilesAreVolatile(t *testing.T) {
	dir := t.TempDir()
	o := EmbeddedOptions{Root: dir + "/root", State: dir + "/state"}
	at := filepath.Join(o.Root, criPlugin, "sandboxes")
	write := func(under string) error {
		err := os.MkdirAll(filepath.Join(under, "id"), 0o755)
		return errors.Join(err, os.WriteFile(filepath.Join(under, "id", "hosts"), nil, 0o644))
	}
	for _, when := range []string{"at first", "again", "after a reboot", "with another State"} {
		switch when {
		case "after a reboot":
			if err := os.RemoveAll(o.State); err != nil {
				t.Fatal(err)
			}
		case "with another State":
			o.State = dir + "/other"
		}
		if err := errors.Join(volatileSandboxes(o), write(at)); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, err := os.Stat(filepath.Join(o.State, "sandboxes", "id", "hosts")); err != nil {
			t.Errorf("%s a file of a sandbox is not in State: %v", when, err)
		}
	}
	// An earlier Tenet's sandboxes keep the files that are mounted into their containers.
	o.Root = dir + "/old"
	at = filepath.Join(o.Root, criPlugin, "sandboxes")
	if err := errors.Join(write(at), volatileSandboxes(o)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(at, "id", "hosts")); err != nil {
		t.Errorf("a file of a sandbox that runs is gone: %v", err)
	}
}
