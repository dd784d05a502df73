package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/internal/images"
	"github.com/tenet-run/tenet/internal/isolate"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/network/podnet"
)

func TestMain(m *testing.M) { isolate.Main(m) }

const progImage = "tenet.run/test/prog:1"

// machine is a kubelet over a real runtime, in namespaces of the test's own, with the API in memory.
type machine struct {
	*testing.T
	dir    string
	api    *api
	rt     *cri.Daemon
	k      *Kubelet
	web    *httptest.Server
	cancel context.CancelFunc
	ended  chan error
	pods   int
}

func program(t testing.TB, name string) string {
	p, _ := filepath.Abs("../.cache/carried/" + name)
	if _, err := os.Stat(p); err == nil {
		return p
	}
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s: run `make carried`", name)
	}
	return p
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	isolate.Need(t)
	dir, err := os.MkdirTemp("", "kubelet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o711)
	m := &machine{T: t, dir: dir, api: newAPI()}
	m.rt, err = cri.Embedded(t.Context(), cri.EmbeddedOptions{
		Root: dir + "/root", State: dir + "/state", Runc: program(t, "runc"), Shim: program(t, "containerd-shim-runc-v2"),
		CNIConfDir: dir + "/cni", CNIBinDir: filepath.Dir(program(t, podnet.Plugin)), RegistryDir: dir + "/certs.d", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.rt.Close() })
	if err := podnet.Ensure(t.Context(), podnet.Config{Bridge: "tnkubelet0", PodCIDR: "10.42.9.0/24", ClusterCIDR: "10.42.0.0/16", CNIConfDir: dir + "/cni", DataDir: dir + "/ipam"}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "prog")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./testdata/prog")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build test program: %v\n%s", err, b)
	}
	prog, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if _, err := (&images.Archive{Name: progImage, Layer: images.Program("prog", prog), Config: ocispec.ImageConfig{Entrypoint: []string{"/prog"}}}).WriteTo(&archive); err != nil {
		t.Fatal(err)
	}
	if _, err := images.Import(t.Context(), m.rt.Client(), &archive); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.end)
	return m
}

func (m *machine) start() {
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	k, err := New(Config{
		Client: m.api, Cache: cache{m.api}, Recorder: recorder{m.api}, Runtime: m.rt, NodeName: "n1", NodeIPs: []string{"192.0.2.1"},
		RootDir: m.dir + "/kubelet", ServiceHost: "10.43.0.1", ServicePort: 443, ClusterDNS: []string{"10.43.0.10"},
		Logger: slog.New(slog.NewTextHandler(&testWriter{m.T}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		m.Fatal(err)
	}
	m.k = k
	m.web = httptest.NewServer(k.Handler())
	m.ended = make(chan error, 1)
	go func() { m.ended <- k.Run(ctx) }()
}

func (m *machine) stop() {
	m.web.CloseClientConnections()
	m.web.Close()
	m.cancel()
	if err := <-m.ended; err != nil {
		m.Error(err)
	}
}

// end removes what runs.
func (m *machine) end() {
	zero := int64(1)
	for _, o := range (cache{m.api}).List(core.Pod, "", nil) {
		m.api.Delete(context.Background(), core.Pod, o.GetNamespace(), o.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &zero})
	}
	m.until("all pods are gone", func() bool { return len((cache{m.api}).List(core.Pod, "", nil)) == 0 })
	m.stop()
	for _, dir := range []string{"burstable", "besteffort", ""} { // those of pods are gone; empty ones can be removed
		groups, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/*/kubepods", dir)) // a pattern with a slash at its end matches nothing
		for _, g := range groups {
			syscall.Rmdir(g)
		}
		syscall.Rmdir(filepath.Join("/sys/fs/cgroup/kubepods", dir))
	}
	if m.Failed() {
		for _, e := range m.api.events {
			m.Log(e)
		}
	}
}

func (m *machine) until(what string, ok func() bool) {
	m.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	m.api.mu.Lock()
	events := strings.Join(m.api.events, "\n")
	m.api.mu.Unlock()
	m.Fatalf("it never came to be that %s\n%s", what, events)
}

func (m *machine) apply(text string) *corev1.Pod {
	m.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		m.Fatal(err)
	}
	m.pods++
	pod.Namespace, pod.Spec.NodeName, pod.Generation = "default", "n1", 1
	pod.UID = types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012x", time.Now().UnixNano()&0xffffffffffff))
	if pod.Spec.RestartPolicy == "" {
		pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		c.ImagePullPolicy, c.TerminationMessagePath, c.TerminationMessagePolicy = corev1.PullIfNotPresent, "/dev/termination-log", corev1.TerminationMessageReadFile
	}
	pod.Spec.DNSPolicy = corev1.DNSClusterFirst
	pod.Status.Phase = corev1.PodPending
	if _, err := m.api.Create(m.Context(), core.Pod, pod, metav1.CreateOptions{}); err != nil {
		m.Fatal(err)
	}
	return pod
}

func (m *machine) pod(name string) *corev1.Pod {
	o, err := m.api.Get(m.Context(), core.Pod, "default", name)
	if err != nil {
		return &corev1.Pod{}
	}
	return o.(*corev1.Pod)
}

func (m *machine) ready(name string) *corev1.Pod {
	m.Helper()
	m.until(name+" is ready", func() bool {
		for _, c := range m.pod(name).Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return true
			}
		}
		return false
	})
	return m.pod(name)
}

// ask asks the program in a pod.
func (m *machine) ask(pod *corev1.Pod, path string, args ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(args); i += 2 {
		q.Set(args[i], args[i+1])
	}
	r, err := http.Get("http://" + pod.Status.PodIP + ":8080" + path + "?" + q.Encode())
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return strings.TrimSpace(string(b))
}

func (m *machine) get(path string) (int, string) {
	m.Helper()
	r, err := http.Get(m.web.URL + path)
	if err != nil {
		m.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(b)
}

func (m *machine) want(what, got, want string) {
	m.Helper()
	if got != want {
		m.Errorf("%s: got %q, want %q", what, got, want)
	}
}

const rich = `
metadata: {name: rich, labels: {app: rich}, annotations: {note: "a b"}}
spec:
  hostname: box
  subdomain: sub
  serviceAccountName: default
  terminationGracePeriodSeconds: 5
  hostAliases: [{ip: 192.0.2.9, hostnames: [friend]}]
  securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000], runAsNonRoot: true}
  volumes:
  - {name: cm, configMap: {name: cm, items: [{key: k, path: dir/file, mode: 0600}]}}
  - {name: all, configMap: {name: cm}}
  - {name: sec, secret: {secretName: sec, defaultMode: 0400}}
  - {name: maybe, secret: {secretName: none, optional: true}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: disk, emptyDir: {}}
  - name: proj
    projected:
      sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: cm, items: [{key: k, path: ca}]}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
  - {name: down, downwardAPI: {items: [{path: cpu, resourceFieldRef: {containerName: web, resource: limits.cpu, divisor: 1m}}]}}
  containers:
  - name: web
    image: tenet.run/test/prog:1
    args: [serve, "$(FROM_FIELD)"]
    env:
    - {name: FROM_FIELD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: FROM_CM, valueFrom: {configMapKeyRef: {name: cm, key: k}}}
    - {name: FROM_SECRET, valueFrom: {secretKeyRef: {name: sec, key: s}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: EXPANDED, value: "$(FROM_CM)-$(NOPE)-$$x"}
    resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 200m, memory: 64Mi}}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, timeoutSeconds: 1}
    livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, timeoutSeconds: 1, initialDelaySeconds: 1}
    volumeMounts:
    - {name: cm, mountPath: /cm}
    - {name: all, mountPath: /all}
    - {name: sec, mountPath: /sec, readOnly: true}
    - {name: maybe, mountPath: /maybe}
    - {name: mem, mountPath: /mem}
    - {name: disk, mountPath: /disk}
    - {name: disk, mountPath: /sub, subPath: a/b}
    - {name: all, mountPath: /one, subPath: k}
    - {name: proj, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}
    - {name: down, mountPath: /down}
`

func TestNode(t *testing.T) {
	m := newMachine(t)
	m.api.Create(t.Context(), core.Secret, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "sec", Namespace: "default"}, Data: map[string][]byte{"s": []byte("hush")}}, metav1.CreateOptions{})
	pod := m.apply(rich)
	m.until("the missing config map is told", func() bool {
		m.api.mu.Lock()
		defer m.api.mu.Unlock()
		return strings.Contains(strings.Join(m.api.events, "\n"), `FailedMount: MountVolume.SetUp failed for volume "cm" : configmap "cm" not found`)
	})
	m.until("the container waits", func() bool {
		st := m.pod("rich").Status.ContainerStatuses
		return len(st) == 1 && state(st[0].State) == "ContainerCreating"
	})
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm", Namespace: "default"}, Data: map[string]string{"k": "one", "j": "two"}}
	m.api.Create(t.Context(), core.ConfigMap, cm, metav1.CreateOptions{})
	begin := time.Now()
	p := m.ready("rich")
	t.Logf("config map made -> ready: %v", time.Since(begin).Round(time.Millisecond))

	file := func(path string) string { return m.ask(p, "/file", "path", path) }
	stat := func(path string) string { return m.ask(p, "/stat", "path", path) }
	m.want("id", m.ask(p, "/id"), "1000:2000 [2000 3000 4000] box")
	m.want("config map item", file("/cm/dir/file"), "one")
	m.want("mode of the item", stat("/cm/dir/file"), "-rw-r----- 0:3000")
	m.want("secret", file("/sec/s"), "hush")
	m.want("mode of the secret", stat("/sec/s"), "-r--r----- 0:3000")
	m.want("labels", file("/var/run/secrets/kubernetes.io/serviceaccount/labels"), `app="rich"`)
	m.want("token", file("/var/run/secrets/kubernetes.io/serviceaccount/token")[:16], "token-of-default")
	m.want("mode of the token", stat("/var/run/secrets/kubernetes.io/serviceaccount/token"), "-rw-r----- 1000:3000")
	m.want("limit", file("/down/cpu"), "200")
	m.want("emptyDir", stat("/mem"), "dgrwxrwxrwx 0:3000")
	m.want("write to emptyDir", m.ask(p, "/write", "path", "/disk/x", "text", "kept"), "")
	m.want("write through subPath", m.ask(p, "/write", "path", "/sub/y", "text", "deep"), "")
	m.want("subPath", file("/disk/a/b/y"), "deep")
	m.want("subPath of a file", file("/one"), "one")
	if got := m.ask(p, "/write", "path", "/root-is-read-only", "text", "x"); !strings.Contains(got, "read-only file system") {
		t.Errorf("root file system: %q", got)
	}
	hosts := file("/etc/hosts")
	for _, want := range []string{p.Status.PodIP + "\tbox.sub.default.svc.cluster.local\tbox", "192.0.2.9\tfriend"} {
		if !strings.Contains(hosts, want) {
			t.Errorf("hosts file lacks %q:\n%s", want, hosts)
		}
	}
	if resolv := file("/etc/resolv.conf"); !strings.Contains(resolv, "nameserver 10.43.0.10") || !strings.Contains(resolv, "search default.svc.cluster.local svc.cluster.local cluster.local") || !strings.Contains(resolv, "ndots:5") {
		t.Errorf("resolv.conf:\n%s", resolv)
	}
	env := m.ask(p, "/env")
	for _, want := range []string{"FROM_FIELD=rich", "FROM_CM=one", "FROM_SECRET=hush", "POD_IP=" + p.Status.PodIP, "EXPANDED=one-$(NOPE)-$x", "KUBERNETES_SERVICE_HOST=10.43.0.1", "KUBERNETES_SERVICE_PORT_HTTPS=443", "KUBERNETES_PORT_443_TCP_ADDR=10.43.0.1"} {
		if !strings.Contains("\n"+env+"\n", "\n"+want+"\n") {
			t.Errorf("environment lacks %s:\n%s", want, env)
		}
	}
	if m.k.tree != nil {
		if root := "/sys/fs/cgroup/memory"; dirExists(root) {
			b, err := os.ReadFile(root + "/kubepods/burstable/pod" + string(pod.UID) + "/memory.limit_in_bytes")
			if err != nil || strings.TrimSpace(string(b)) != fmt.Sprint(64<<20) {
				t.Errorf("memory limit of the pod's cgroup: %q %v", b, err)
			}
		}
	}

	// A change of the config map reaches the running pod; a subPath keeps what it had.
	changed := cm.DeepCopy()
	now, _ := m.api.Get(t.Context(), core.ConfigMap, "default", "cm")
	changed.ResourceVersion, changed.Data = now.GetResourceVersion(), map[string]string{"k": "three"}
	if _, err := m.api.Update(t.Context(), core.ConfigMap, changed, "", metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	m.until("the config map's change arrives", func() bool { return file("/all/k") == "three" && file("/cm/dir/file") == "three" })
	m.until("the removed key is gone", func() bool { return strings.Contains(file("/all/j"), "no such file") })
	m.want("subPath after the change", file("/one"), "one")

	m.streams(p)
	m.crash(p)
	m.adopt()

	// Deleted: nothing is left.
	m.api.Delete(t.Context(), core.Pod, "default", "rich", metav1.DeleteOptions{})
	m.until("the pod is gone", func() bool { return m.pod("rich").Name == "" })
	if dirExists(m.k.podDir(pod.UID)) || dirExists(m.k.podLogDir(pod)) {
		t.Error("the pod's directories are still there")
	}
	if m.k.tree != nil {
		for _, g := range m.k.tree.Pods() {
			if strings.HasSuffix(g, string(pod.UID)) {
				t.Errorf("cgroup %s is still there", g)
			}
		}
	}
	if l, err := m.rt.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{}); err != nil || len(l.Items) > 0 {
		t.Errorf("sandboxes left: %v %v", l, err)
	}
}

func dirExists(p string) bool { _, err := os.Stat(p); return err == nil }

// streams reads logs, runs commands and forwards a port.
func (m *machine) streams(p *corev1.Pod) {
	code, text := m.get("/containerLogs/default/rich/web?tailLines=1&timestamps=true")
	if code != 200 || !strings.HasSuffix(text, "Z serving\n") {
		m.Errorf("logs: %d %q", code, text)
	}
	code, text = m.get("/containerLogs/default/rich/web?previous=true")
	m.want("previous logs", fmt.Sprint(code, " ", strings.TrimSpace(text)), `400 previous terminated container "web" in pod "rich" not found`)
	code, text = m.get("/containerLogs/default/rich/none")
	m.want("logs of no container", fmt.Sprint(code, " ", strings.TrimSpace(text)), `404 container "none" not found in pod "rich"`)

	follow, err := http.Get(m.web.URL + "/containerLogs/default/rich/web?follow=true&tailLines=0")
	if err != nil {
		m.Fatal(err)
	}
	m.ask(p, "/say", "text", "hello follower")
	line := make([]byte, 100)
	n, _ := follow.Body.Read(line)
	m.want("followed log", string(line[:n]), "hello follower\n")
	follow.Body.Close()

	cfg := &rest.Config{Host: m.web.URL}
	u, _ := url.Parse(m.web.URL + "/exec/default/rich/web?command=/prog&command=cat&input=1&output=1&error=1")
	e, err := remotecommand.NewSPDYExecutor(cfg, "POST", u)
	if err != nil {
		m.Fatal(err)
	}
	var out, errs bytes.Buffer
	if err := e.StreamWithContext(m.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("through and back"), Stdout: &out, Stderr: &errs}); err != nil {
		m.Errorf("exec: %v", err)
	}
	m.want("exec output", out.String(), "through and back")
	u, _ = url.Parse(m.web.URL + "/exec/default/rich/web?command=/prog&command=cat&command=/none&output=1&error=1")
	if e, err = remotecommand.NewSPDYExecutor(cfg, "POST", u); err != nil {
		m.Fatal(err)
	}
	err = e.StreamWithContext(m.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errs})
	m.want("exec that fails", fmt.Sprint(err, ": ", errs.String()), "command terminated with exit code 1: open /none: no such file or directory\n")

	u, _ = url.Parse(m.web.URL + "/portForward/default/rich")
	rt, up, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		m.Fatal(err)
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	fw, err := portforward.New(spdy.NewDialer(up, &http.Client{Transport: rt}, "POST", u), []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		m.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- fw.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		m.Fatalf("port-forward: %v", err)
	}
	ports, _ := fw.GetPorts()
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	if err != nil {
		m.Errorf("port-forward: %v", err)
	} else {
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		m.want("page through port-forward", string(b), "page")
	}
	close(stop)
	<-done
	if code, text := m.get("/stats/summary"); code != 200 || !strings.Contains(text, `"name": "rich"`) && !strings.Contains(text, `"name":"rich"`) {
		m.Errorf("stats: %d %s", code, text)
	}
}

// crash ends the program: it is started again, and what it left behind is told.
func (m *machine) crash(p *corev1.Pod) {
	m.ask(p, "/exit", "code", "3", "message", "out of coffee")
	m.until("the container was restarted", func() bool { s := m.pod("rich").Status.ContainerStatuses[0]; return s.RestartCount == 1 && s.Ready })
	s := m.pod("rich").Status.ContainerStatuses[0]
	last := s.LastTerminationState.Terminated
	if last == nil || last.ExitCode != 3 || last.Message != "out of coffee" || last.Reason != "Error" {
		m.Errorf("last state: %+v", last)
	}
	if code, text := m.get("/containerLogs/default/rich/web?previous=true"); code != 200 || !strings.Contains(text, "hello follower") {
		m.Errorf("previous logs: %d %q", code, text)
	}
	m.want("emptyDir after a restart", m.ask(p, "/file", "path", "/disk/x"), "kept")
}

// adopt starts a new kubelet over the running pod.
func (m *machine) adopt() {
	before := m.pod("rich").Status.ContainerStatuses[0]
	m.stop()
	m.api.mu.Lock()
	m.api.statuses = 0
	m.api.mu.Unlock()
	m.start()
	m.until("the pod is adopted", func() bool {
		for _, w := range m.k.all() {
			w.mu.Lock()
			ok := w.mounted && len(w.containers) > 0 && len(w.busy) == 0
			w.mu.Unlock()
			if ok {
				return true
			}
		}
		return false
	})
	after := m.pod("rich").Status.ContainerStatuses[0]
	if after.ContainerID != before.ContainerID || after.RestartCount != before.RestartCount {
		m.Errorf("the container was replaced: %+v, was %+v", after, before)
	}
	if after.LastTerminationState.Terminated.Message != "out of coffee" {
		m.Errorf("the last state was lost: %+v", after.LastTerminationState)
	}
	m.api.mu.Lock()
	defer m.api.mu.Unlock()
	if m.api.statuses > 0 {
		m.Errorf("%d statuses were written for a pod that did not change", m.api.statuses)
	}
}
