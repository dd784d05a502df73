package conformance

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/internal/isolate"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/test/hollow"
)

// cluster is a tenet that runs for the tests, with folders of its own.
type cluster struct {
	kubeconfig string
	env        []string
}

// start starts bin/tenet: a whole node, or the API server with controllers and scheduler. It is gone when the test ends.
func start(t *testing.T, root string) *cluster {
	t.Helper()
	bin := filepath.Join(root, "bin/tenet")
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("bin/tenet is not there: make build")
	}
	isolate.Uplink(t)
	dir, err := os.MkdirTemp("/var/tmp", "conformance")
	if err != nil {
		t.Fatal(err)
	}
	data, run := filepath.Join(dir, "data"), filepath.Join(dir, "run")
	if err := errors.Join(os.Chmod(dir, 0o711), os.Mkdir(run, 0o711)); err != nil {
		t.Fatal(err)
	}
	c := &cluster{kubeconfig: filepath.Join(data, "admin.kubeconfig")}
	c.env = append(os.Environ(), "HOME="+dir, "KUBECONFIG="+c.kubeconfig)
	args := []string{"server", "--data-dir", data, "--no-kubeconfig"}
	if *node {
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", run).CombinedOutput(); err != nil {
			t.Fatalf("mount the run directory: %v: %s", err, out)
		}
		args = []string{"up", "--data-dir", data, "--run-dir", run, "--no-kubeconfig"}
	}
	log, err := os.Create(filepath.Join(root, ".cache/conformance/tenet.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Logf("tenet ended with %v, its log is in .cache/conformance/tenet.log", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("tenet did not end within 30 s of SIGTERM")
			_ = cmd.Process.Kill()
		}
		if *node {
			down := exec.Command(bin, "down", "--data-dir", data, "--run-dir", run)
			down.Env = c.env
			if out, err := down.CombinedOutput(); err != nil {
				t.Logf("tenet down: %v: %s", err, out)
			}
		}
		log.Close()
		if out, err := isolate.UnmountBelow(dir); err != nil {
			t.Logf("clean up %s: %v: %s", dir, err, out)
		}
	})
	ready := filepath.Join(data, "ready")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("tenet ended with %v, its log is in .cache/conformance/tenet.log", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("tenet is not ready after a minute, its log is in .cache/conformance/tenet.log")
		}
	}
	if *node {
		for _, image := range images(t, root) {
			load := exec.Command(bin, "image", "load", image, "--run-dir", run)
			load.Env = c.env
			if out, err := load.CombinedOutput(); err != nil {
				t.Fatalf("image load %s: %v: %s", image, err, out)
			}
		}
	}
	return c
}

// images are the archives that `make conformance-images` has made.
func images(t *testing.T, root string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, ".cache/conformance/images/*.tar"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// hollowNode registers a node without containers and waits until it is there.
func (c *cluster) hollowNode(t *testing.T) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.Remote(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	cache, err := client.NewRemoteCache(ctx, api, slog.New(slog.DiscardHandler), core.Pod)
	if err != nil {
		t.Fatal(err)
	}
	w, err := api.Watch(ctx, core.Node, "", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	n := &hollow.Node{API: api, Cache: cache, Name: "hollow-1", Failed: func(err error) { t.Log(err) }}
	go n.Run(ctx)
	for deadline := time.After(time.Minute); ; {
		select {
		case e := <-w.ResultChan():
			if node, ok := e.Object.(*corev1.Node); ok && len(node.Spec.Taints) == 0 && len(node.Status.Conditions) > 0 {
				return
			}
		case <-deadline:
			t.Fatal("the hollow node is not ready after a minute")
		}
	}
}
