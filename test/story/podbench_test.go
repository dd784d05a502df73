package story

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/internal/isolate"
	"github.com/tenet-run/tenet/kinds/core"
)

var podBench = flag.String("podbench", "", "measure pod starts and memory, and write the table to this file (make bench-pods)")

// TestPodStarts measures what a user waits for: from the create call to Running seen on a watch, the image being there, over a real TLS connection.
func TestPodStarts(t *testing.T) {
	if *podBench == "" {
		t.Skip("a measurement, not a test: make bench-pods")
	}
	isolate.Need(t)
	c := newCluster(t)
	image, err := filepath.Abs("../../.cache/images/nginx.tar")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.up()
	up := time.Since(began)
	c.must("image", "load", image, "--run-dir", c.run)
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.data, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.Remote(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&out, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	row("`tenet up --detach` on an empty machine, until it returns with the node Ready", "%s", up.Round(time.Millisecond))
	for _, line := range strings.Split(c.logText(), "\n") {
		if i := strings.Index(line, "msg=ready after="); i >= 0 {
			row("of it inside the server, process start to node Ready", "%s", strings.Fields(line[i+len("msg=ready after="):])[0])
		}
	}

	startPods(t, api, "warm", 1, false)
	time.Sleep(20 * time.Second) // idle
	before := c.usage(t)
	time.Sleep(30 * time.Second)
	idle := c.usage(t)
	row("idle with one pod: RSS of tenet; of it anonymous", "%d MB; %d MB", idle.rss>>20, idle.anon>>20)
	row("idle with one pod: RSS of all shims; of it anonymous", "%d MB; %d MB", idle.shimRSS>>20, idle.shimAnon>>20)
	row("idle CPU, with one pod, tenet and shims", "%.2f %% of a core", float64(idle.cpu-before.cpu)/30*100)

	for _, profile := range []struct {
		name       string
		unconfined bool
	}{{"seccomp unconfined", true}, {"seccomp RuntimeDefault", false}} {
		single := startPodsOneByOne(t, api, "single", 30, profile.unconfined)
		row("apply -> Running, 30 pods one after the other, "+profile.name, "p50 %s, p99 %s", percentile(single, 50), percentile(single, 99))
		c.deletePods(t, api)
		all := startPods(t, api, "many", 20, profile.unconfined)
		row("20 pods at once, "+profile.name, "p50 %s, all in %s", percentile(all, 50), percentile(all, 100))
		loaded := c.usage(t)
		row("memory per pod: tenet's RSS; shim's RSS", "%.1f MB; %.1f MB", float64(loaded.rss-idle.rss)/20/(1<<20), float64(loaded.shimRSS)/float64(max(loaded.shims, 1))/(1<<20))
		c.deletePods(t, api)
	}
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	text := fmt.Sprintf("# Pods on one node\n\nDate %s, commit %s, 2 cores, real containers (nginx from Debian's package), image present. `make bench-pods` makes this file. Stock Kubernetes 1.36.3 with\n"+
		"containerd on the same kind of machine, seccomp unconfined: 572 ms p50, 612-684 ms p99; 20 at once in 3.9-4.0 s; node Ready after 4.7 s; 605-626 MB idle, 282 MB of it anonymous (another run).\n\n| what | measured |\n|---|---|\n%s",
		time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)), out.String())
	t.Log("\n" + out.String())
	if err := os.WriteFile(*podBench, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func benchPod(name string, unconfined bool) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": "bench"}}}
	grace := int64(0)
	p.Spec.TerminationGracePeriodSeconds = &grace
	p.Spec.Containers = []corev1.Container{{Name: "nginx", Image: "nginx:stable", ImagePullPolicy: corev1.PullIfNotPresent}}
	profile := corev1.SeccompProfileTypeRuntimeDefault
	if unconfined {
		profile = corev1.SeccompProfileTypeUnconfined
	}
	p.Spec.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: profile}}
	return p
}

// startPods creates pods at once and returns how long each took until Running was seen.
func startPods(t *testing.T, api client.Client, prefix string, n int, unconfined bool) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w, err := api.Watch(ctx, core.Pod, "default", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	began := make([]time.Time, n)
	var wg sync.WaitGroup
	for i := range n {
		began[i] = time.Now()
		wg.Go(func() {
			if _, err := api.Create(ctx, core.Pod, benchPod(fmt.Sprintf("%s-%d", prefix, i), unconfined), metav1.CreateOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	took := map[string]time.Duration{}
	for len(took) < n {
		e, open := <-w.ResultChan()
		if !open {
			t.Fatalf("%d of %d pods run", len(took), n)
		}
		pod, ok := e.Object.(*corev1.Pod)
		var i int
		if !ok || pod.Status.Phase != corev1.PodRunning {
			continue
		}
		if _, err := fmt.Sscanf(pod.Name, prefix+"-%d", &i); err != nil || took[pod.Name] != 0 {
			continue
		}
		took[pod.Name] = time.Since(began[i])
	}
	wg.Wait()
	var all []time.Duration
	for _, d := range took {
		all = append(all, d)
	}
	slices.Sort(all)
	return all
}

func startPodsOneByOne(t *testing.T, api client.Client, prefix string, n int, unconfined bool) []time.Duration {
	t.Helper()
	var all []time.Duration
	for i := range n {
		all = append(all, startPods(t, api, fmt.Sprintf("%s%d", prefix, i), 1, unconfined)...)
	}
	slices.Sort(all)
	return all
}

// deletePods returns when the pods are gone, from the API and from the machine: the end of some must not be measured as the start of others.
func (c *cluster) deletePods(t *testing.T, api client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := api.DeleteCollection(ctx, core.Pod, "default", metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=bench"}); err != nil {
		t.Fatal(err)
	}
	for {
		list, err := api.List(ctx, core.Pod, "default", metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(filepath.Join(c.data, "kubelet", "pods"))
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) == 0 && len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*p/100)].Round(time.Millisecond)
}

func (c *cluster) logText() string {
	text, _ := os.ReadFile(filepath.Join(c.data, "tenet.log"))
	return string(text)
}

type podUsage struct {
	rss, anon, shimRSS, shimAnon int64
	shims                        int
	cpu                          float64 // seconds
}

// usage adds up tenet and its shims.
func (c *cluster) usage(t *testing.T) podUsage {
	t.Helper()
	var u podUsage
	pid := c.pid()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue
		}
		shim := strings.HasPrefix(string(name), "containerd-shim")
		if !shim && filepath.Base(dir) != fmt.Sprint(pid) {
			continue
		}
		var rss, anon int64
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		for line := range strings.Lines(string(status)) {
			fmt.Sscanf(line, "VmRSS: %d kB", &rss)
			fmt.Sscanf(line, "RssAnon: %d kB", &anon)
		}
		if shim {
			u.shims++
			u.shimRSS += rss << 10
			u.shimAnon += anon << 10
		} else {
			u.rss, u.anon = rss<<10, anon<<10
		}
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		if i := strings.LastIndexByte(string(stat), ')'); i > 0 {
			f := strings.Fields(string(stat[i+2:]))
			var user, system float64
			fmt.Sscan(f[11], &user)
			fmt.Sscan(f[12], &system)
			u.cpu += (user + system) / 100
		}
	}
	return u
}
