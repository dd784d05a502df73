//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/go-runc"
	"golang.org/x/sys/unix"
)

// created is a state directory as `runc create` leaves it, with a first process that does what runc's init does.
func created(t *testing.T, pid int) (root, fifo string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "c1")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	fifo = filepath.Join(dir, "exec.fifo")
	if err := unix.Mkfifo(fifo, 0o622); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.json"), fmt.Appendf(nil, `{"id":"c1","init_process_pid":%d}`, pid), 0o600); err != nil {
		t.Fatal(err)
	}
	return root, fifo
}

// counting is a monitor that only counts what it is asked to execute.
type counting struct{ executed *int }

func (c counting) Start(*exec.Cmd) (chan runc.Exit, error) {
	*c.executed++
	return success(), nil
}
func (c counting) StartLocked(cmd *exec.Cmd) (chan runc.Exit, error) { return c.Start(cmd) }
func (c counting) Wait(_ *exec.Cmd, exits chan runc.Exit) (int, error) {
	return (<-exits).Status, nil
}

// do runs the command as go-runc does and returns how often a program was executed.
func do(t *testing.T, args ...string) int {
	t.Helper()
	executed := 0
	m := monitor{counting{&executed}}
	cmd := exec.Command("runc", args...)
	exits, err := m.StartLocked(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := m.Wait(cmd, exits); err != nil || status != 0 {
		t.Fatalf("status %d, error %v", status, err)
	}
	return executed
}

func TestStartLetsTheContainerGoWithoutRunc(t *testing.T) {
	for _, late := range []time.Duration{0, 150 * time.Millisecond} { // the process may reach the fifo after the start
		root, fifo := created(t, os.Getpid())
		gone := make(chan error, 1)
		time.AfterFunc(late, func() {
			f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.Write([]byte("0"))
				f.Close()
			}
			gone <- err
		})
		if n := do(t, "--root", root, "--log-format", "json", "start", "c1"); n != 0 {
			t.Errorf("process %v late: runc was executed %d times, want not at all", late, n)
		}
		if err := <-gone; err != nil {
			t.Errorf("process %v late: the first process could not go on: %v", late, err)
		}
		if _, err := os.Stat(fifo); !os.IsNotExist(err) {
			t.Errorf("process %v late: the fifo is still there (%v): runc would call the container created", late, err)
		}
	}
}

func TestRuncSaysWhatIsWrong(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Skip(err)
	}
	root, fifo := created(t, dead.Process.Pid)
	if n := do(t, "--root", root, "start", "c1"); n != 1 {
		t.Errorf("the first process is dead: runc was executed %d times, want once", n)
	}
	if _, err := os.Stat(fifo); err != nil {
		t.Errorf("the first process is dead: the fifo was touched: %v", err)
	}
	os.Remove(fifo)
	if n := do(t, "--root", root, "start", "c1"); n != 1 {
		t.Errorf("already running: runc was executed %d times, want once", n)
	}
	if n := do(t, "--root", root, "start", "c2"); n != 1 {
		t.Errorf("no such container: runc was executed %d times, want once", n)
	}
	if n := do(t, "--root", root, "kill", "start", "9"); n != 1 {
		t.Errorf("another command: runc was executed %d times, want once", n)
	}
}

func TestZombieIsNotAlive(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer cmd.Wait()
	// WNOWAIT leaves the zombie.
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	root, _ := created(t, cmd.Process.Pid)
	if alive(filepath.Join(root, "c1")) {
		t.Error("a zombie counts as alive; the start of its container would never end")
	}
}
