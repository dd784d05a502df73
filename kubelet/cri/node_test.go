package cri

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/tenet-run/tenet/internal/images"
	"github.com/tenet-run/tenet/internal/isolate"
	"github.com/tenet-run/tenet/network/podnet"
)

func TestMain(m *testing.M) { isolate.Main(m) }

const progImage = "tenet.run/test/prog:1"

// testNode is an embedded runtime with a pod network, in namespaces of the test's own.
type testNode struct {
	*Daemon
	dir string
}

func testOptions(t testing.TB, dir string) EmbeddedOptions {
	t.Helper()
	programs := map[string]string{"runc": "", "containerd-shim-runc-v2": ""}
	for name := range programs {
		path, _ := filepath.Abs("../../.cache/carried/" + name)
		if _, err := os.Stat(path); err != nil {
			if path, err = exec.LookPath(name); err != nil {
				t.Skipf("no %s: run `make carried`", name)
			}
		}
		programs[name] = path
	}
	if path := os.Getenv("TENET_TEST_RUNC"); path != "" { // to compare
		programs["runc"] = path
	}
	bin, _ := filepath.Abs("../../.cache/carried")
	if _, err := os.Stat(filepath.Join(bin, podnet.Plugin)); err != nil {
		t.Skip("no CNI plugin: run `make carried`")
	}
	return EmbeddedOptions{
		Root: dir + "/root", State: dir + "/state", Runc: programs["runc"], Shim: programs["containerd-shim-runc-v2"],
		CNIConfDir: dir + "/cni", CNIBinDir: bin, RegistryDir: dir + "/certs.d",
		Logger: slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: logLevel()})),
	}
}

// logWriter sends a log to the test's.
type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Logf("%s", bytes.TrimSpace(p))
	}
	return len(p), nil
}

func startNode(t testing.TB) *testNode {
	t.Helper()
	isolate.Need(t)
	dir, err := os.MkdirTemp("", "cri")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	n := &testNode{dir: dir}
	n.start(t)
	t.Cleanup(func() { n.removePods(t); _ = n.Close() })

	net := podnet.Config{Bridge: "tntest0", PodCIDR: "10.42.7.0/24", ClusterCIDR: "10.42.0.0/16", CNIConfDir: dir + "/cni", DataDir: dir + "/ipam"}
	if err := podnet.Ensure(t.Context(), net); err != nil {
		t.Fatal(err)
	}
	n.waitNetwork(t)
	n.importProg(t)
	return n
}

func (n *testNode) start(t testing.TB) {
	t.Helper()
	begin := time.Now()
	d, err := Embedded(t.Context(), testOptions(t, n.dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("start to CRI ready: %v", time.Since(begin).Round(time.Millisecond))
	n.Daemon = d
}

// waitNetwork waits until the runtime has seen the pod network's configuration.
func (n *testNode) waitNetwork(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		s, err := n.Status(t.Context(), &runtimeapi.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ready := 0
		for _, c := range s.Status.Conditions {
			if c.Status && (c.Type == "NetworkReady" || c.Type == "RuntimeReady") {
				ready++
			}
		}
		if ready == 2 {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatal("the runtime does not see the pod network")
}

func buildProg(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "prog")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./testdata/prog")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build test program: %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func progArchive(t testing.TB, name string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	image := images.Archive{Name: name, Layer: images.Program("prog", buildProg(t)), Config: ocispec.ImageConfig{Entrypoint: []string{"/prog"}}}
	if _, err := image.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return &b
}

func (n *testNode) importProg(t testing.TB) {
	t.Helper()
	if _, err := images.Import(t.Context(), n.Client(), progArchive(t, progImage)); err != nil {
		t.Fatal(err)
	}
}

func (n *testNode) sandbox(name string) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Uid: "uid-" + name, Namespace: "default"},
		Hostname:     name,
		LogDirectory: filepath.Join(n.dir, "logs", name),
		Labels:       map[string]string{"io.kubernetes.pod.name": name},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: "/tenet-cri-test/" + filepath.Base(n.dir) + name,
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
				Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
			},
		},
	}
}

type testPod struct{ sandbox, container string }

// runPod starts a sandbox with one container, as the kubelet would.
func (n *testNode) runPod(ctx context.Context, times *timing, name string, args ...string) (testPod, error) {
	return n.runImage(ctx, times, name, progImage, args...)
}

func (n *testNode) runImage(ctx context.Context, times *timing, name, image string, args ...string) (testPod, error) {
	return n.runConfig(ctx, times, n.sandbox(name), image, args...)
}

func (n *testNode) runConfig(ctx context.Context, times *timing, config *runtimeapi.PodSandboxConfig, image string, args ...string) (testPod, error) {
	var p testPod
	if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
		return p, err
	}
	begin := time.Now()
	sb, err := n.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		return p, fmt.Errorf("run sandbox: %w", err)
	}
	p.sandbox = sb.PodSandboxId
	ran := time.Now()
	c, err := n.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: p.sandbox, SandboxConfig: config, Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "main"},
		Image:    &runtimeapi.ImageSpec{Image: image},
		Args:     args,
		LogPath:  "main.log",
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources: &runtimeapi.LinuxContainerResources{CpuShares: 2, MemoryLimitInBytes: 64 << 20},
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
				NamespaceOptions: config.Linux.SecurityContext.NamespaceOptions,
				Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined},
			},
		},
	}})
	if err != nil {
		return p, fmt.Errorf("create container: %w", err)
	}
	p.container = c.ContainerId
	created := time.Now()
	if _, err := n.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: p.container}); err != nil {
		return p, fmt.Errorf("start container: %w", err)
	}
	times.add(ran.Sub(begin), created.Sub(ran), time.Since(created), time.Since(begin))
	return p, nil
}

func (n *testNode) mustRun(t testing.TB, name string, args ...string) testPod {
	t.Helper()
	p, err := n.runPod(t.Context(), nil, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (n *testNode) podIP(t testing.TB, sandbox string) string {
	t.Helper()
	s, err := n.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: sandbox})
	if err != nil {
		t.Fatal(err)
	}
	return s.Status.Network.GetIp()
}

func (n *testNode) container(t testing.TB, id string) *runtimeapi.ContainerStatus {
	t.Helper()
	s, err := n.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		t.Fatal(err)
	}
	return s.Status
}

func (n *testNode) removePods(t testing.TB) {
	ctx := context.WithoutCancel(t.Context())
	all, err := n.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Log(err)
		return
	}
	for _, s := range all.Items {
		if _, err := n.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			t.Log(err)
		}
		if _, err := n.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			t.Log(err)
		}
	}
	// The pods' parent cgroups are the kubelet's to make and remove, so here the test's.
	for _, pattern := range []string{"/sys/fs/cgroup/tenet-cri-test", "/sys/fs/cgroup/*/tenet-cri-test"} {
		parents, _ := filepath.Glob(pattern)
		for _, parent := range parents {
			mine, _ := filepath.Glob(filepath.Join(parent, filepath.Base(n.dir)+"*"))
			for _, dir := range mine {
				_ = os.Remove(dir)
			}
			_ = os.Remove(parent)
		}
	}
}

func logLevel() slog.Level {
	if os.Getenv("TENET_TEST_DEBUG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
