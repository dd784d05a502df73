package linear

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// victim is a tenet server that is killed and started again.
type victim struct {
	t    *testing.T
	bin  string
	data string
	port string

	mu    sync.Mutex
	cmd   *exec.Cmd
	kills int
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	bin, err := filepath.Abs("../../bin/tenet")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Skip("bin/tenet is not there: make build")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	v := &victim{t: t, bin: bin, data: t.TempDir(), port: port}
	t.Cleanup(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
	})
	v.start()
	return v
}

// start returns when the server says that it is ready.
func (v *victim) start() {
	v.mu.Lock()
	defer v.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(v.data, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		v.t.Error(err)
		return
	}
	defer log.Close()
	v.cmd = exec.Command(v.bin, "server", "--data-dir", v.data, "--bind-address", "127.0.0.1", "--port", v.port, "--no-kubeconfig")
	v.cmd.Stdout, v.cmd.Stderr = log, log
	if err := v.cmd.Start(); err != nil {
		v.t.Error(err)
		return
	}
	ready := filepath.Join(v.data, "ready")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if text, err := os.ReadFile(ready); err == nil && string(text) == fmt.Sprintln(v.cmd.Process.Pid) {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			v.t.Errorf("tenet is not ready after 30 s:\n%s", text)
			return
		}
	}
}

// kill ends the server without a warning and starts it again.
func (v *victim) kill() {
	v.mu.Lock()
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
	v.kills++
	v.mu.Unlock()
	v.start()
}

func (v *victim) config() *rest.Config {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(v.data, "admin.kubeconfig"))
	if err != nil {
		v.t.Fatal(err)
	}
	cfg.QPS = -1
	return cfg
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
