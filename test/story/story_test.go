// Package story tells Tenet's story as a newcomer lives it, with the built program, stock kubectl's code and real containers: apply, serve, look inside,
// break things, and see them pulled back.
//
// It needs root and bin/tenet (`make build`), and runs in a network and mount namespace of its own without a route out. `make test` runs it.
package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenet-run/tenet/internal/isolate"
)

// cluster is a running tenet with a data directory of its own.
type cluster struct {
	t    *testing.T
	bin  string
	data string
	run  string
	env  []string
}

func TestMain(m *testing.M) { isolate.Main(m) }

// newCluster prepares network and folders; start starts it.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	bin, err := filepath.Abs("../../bin/tenet")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Skip("bin/tenet is not there: make build")
	}
	isolate.Uplink(t)
	dir, err := os.MkdirTemp("/var/tmp", "story")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o711), os.Mkdir(filepath.Join(dir, "run"), 0o711)); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, bin: bin, data: filepath.Join(dir, "data"), run: filepath.Join(dir, "run")}
	// As /run is on a machine: in memory.
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", c.run).CombinedOutput(); err != nil {
		t.Fatalf("mount the run directory: %v: %s", err, out)
	}
	c.env = append(os.Environ(), "HOME="+dir, "KUBECONFIG="+filepath.Join(dir, "kubeconfig"))
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(c.data, "tenet.log"))
			if len(log) > 20000 {
				log = log[len(log)-20000:]
			}
			t.Logf("tenet.log:\n%s", log)
			out, _ := c.try("kubectl", "--data-dir", c.data, "get", "all,events", "-A", "-o", "wide")
			t.Logf("%s", out)
		}
		c.try("down", "--data-dir", c.data, "--run-dir", c.run)
		if out, err := isolate.UnmountBelow(dir); err != nil {
			t.Logf("clean up %s: %v: %s", dir, err, out)
		}
	})
	return c
}

// try runs tenet and returns what it printed.
func (c *cluster) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.bin, args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) must(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("tenet %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	return c.must(append([]string{"kubectl", "--data-dir", c.data}, args...)...)
}

func (c *cluster) tryKubectl(args ...string) (string, error) {
	return c.try(append([]string{"kubectl", "--data-dir", c.data}, args...)...)
}

// apply applies a manifest given as text.
func (c *cluster) apply(manifest string) string {
	c.t.Helper()
	out, err := c.tryApply(manifest)
	if err != nil {
		c.t.Fatalf("apply: %v\n%s\n%s", err, out, manifest)
	}
	return out
}

func (c *cluster) tryApply(manifest string) (string, error) {
	file := filepath.Join(filepath.Dir(c.data), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o644); err != nil {
		c.t.Fatal(err)
	}
	return c.tryKubectl("apply", "-f", file)
}

func (c *cluster) up() string {
	c.t.Helper()
	return c.must("up", "--detach", "--data-dir", c.data, "--run-dir", c.run)
}

// field reads one value of an object by JSONPath; "" when the object is not there.
func (c *cluster) field(object, path string) string {
	out, err := c.tryKubectl("get", object, "-o", "jsonpath="+path, "--ignore-not-found")
	if err != nil {
		return ""
	}
	return out
}

// eventually waits for a condition and fails with what was seen last.
func (c *cluster) eventually(what string, seen func() (string, bool)) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		text, ok := seen()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			out, _ := c.tryKubectl("describe", "pods")
			c.t.Fatalf("%s: not within a minute; last seen: %s\n%s", what, text, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *cluster) is(object, path, want string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%s %s = %q", object, path, want), func() (string, bool) {
		got := c.field(object, path)
		return got, got == want
	})
}

func (c *cluster) page(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func (c *cluster) pid() int {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.data, "tenet.pid"))
	if err != nil {
		c.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		c.t.Fatal(err)
	}
	return pid
}

// kill9 kills tenet as a power cut would, and waits until it is gone.
func (c *cluster) kill9() {
	c.t.Helper()
	pid := c.pid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	c.eventually("tenet is gone", func() (string, bool) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return string(text), err != nil || bytes.Contains(text, []byte(") Z "))
	})
}

// killProcess kills the first process whose command line begins so. The test has a process namespace of its own: there are no others.
func killProcess(t *testing.T, command string) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || !bytes.HasPrefix(text, []byte(command)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no process %q", command)
}

const nginxPod = `
apiVersion: v1
kind: Pod
metadata:
  name: nginx
  labels: {app: nginx}
spec:
  containers:
    - name: nginx
      image: nginx:stable
      ports:
        - containerPort: 80
`

const webDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: nginx
          image: nginx:stable
          ports: [{containerPort: 80}]
          readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
`

func TestStory(t *testing.T) {
	isolate.Need(t)
	c := newCluster(t)
	image, err := filepath.Abs("../../.cache/images/nginx.tar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(image); err != nil {
		t.Skip(image + " is not there: make image-nginx")
	}
	step := func(name string, do func()) {
		t.Helper()
		began := time.Now()
		do()
		t.Logf("%-64s %s", name, time.Since(began).Round(time.Millisecond))
	}

	step("tenet up", func() { c.up() })
	step("up again is harmless", func() {
		if out := c.up(); !strings.Contains(out, "runs already") {
			t.Fatalf("up again said: %s", out)
		}
	})
	step("load the image", func() { c.must("image", "load", image, "--run-dir", c.run) })
	step("apply the pod; it runs", func() {
		c.apply(nginxPod)
		c.is("pod/nginx", "{.status.phase}", "Running")
		c.is("pod/nginx", `{.status.conditions[?(@.type=="Ready")].status}`, "True")
	})
	step("nginx answers at the pod's address", func() {
		ip := c.field("pod/nginx", "{.status.podIP}")
		c.eventually("the page", func() (string, bool) {
			body, err := c.page("http://" + ip + "/")
			return fmt.Sprint(body, err), strings.Contains(body, "nginx")
		})
	})
	step("nginx answers through port-forward", func() {
		ctx, cancel := context.WithCancel(context.Background())
		cmd := exec.CommandContext(ctx, c.bin, "kubectl", "--data-dir", c.data, "port-forward", "pod/nginx", "18080:80")
		cmd.Env = c.env
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { cancel(); cmd.Wait() }()
		c.eventually("the page by port-forward", func() (string, bool) {
			body, err := c.page("http://127.0.0.1:18080/")
			return fmt.Sprint(body, err), strings.Contains(body, "nginx")
		})
	})
	step("logs, exec, describe, get", func() {
		c.eventually("the request in the log", func() (string, bool) {
			out := c.kubectl("logs", "nginx")
			return out, strings.Contains(out, "GET / HTTP/1.1")
		})
		if out := c.kubectl("exec", "nginx", "--", "cat", "/etc/hostname"); strings.TrimSpace(out) != "nginx" {
			t.Fatalf("exec cat /etc/hostname: %q", out)
		}
		if out, err := c.tryKubectl("exec", "nginx", "--", "sh", "-c", "exit 7"); err == nil || !strings.Contains(out, "exit code 7") {
			t.Fatalf("exec exit 7: %v %q", err, out)
		}
		for _, want := range []string{"Successfully assigned default/nginx", "Started", "Container image \"nginx:stable\" already present"} {
			if out := c.kubectl("describe", "pod", "nginx"); !strings.Contains(out, want) {
				t.Fatalf("describe lacks %q:\n%s", want, out)
			}
		}
		if out := c.kubectl("get", "pods"); !strings.Contains(out, "nginx   1/1     Running   0") {
			t.Fatalf("get pods:\n%s", out)
		}
	})
	step("a killed nginx is started again", func() {
		killProcess(t, "nginx: master process")
		c.eventually("one restart, ready", func() (string, bool) {
			got := c.field("pod/nginx", "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}")
			return got, got == "1 true"
		})
	})
	step("a deployment of two", func() {
		c.apply(webDeployment)
		c.is("deployment/web", "{.status.availableReplicas}", "2")
	})
	step("a deleted pod comes back", func() {
		name := strings.Fields(c.field("pods", `{.items[*].metadata.name}`))
		var victim string
		for _, n := range name {
			if strings.HasPrefix(n, "web-") {
				victim = n
			}
		}
		c.kubectl("delete", "pod", victim)
		c.eventually("two other pods, ready", func() (string, bool) {
			got := c.kubectl("get", "pods", "-l", "app=web", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
			return got, strings.Count(got, " True") == 2 && !strings.Contains(got, victim)
		})
	})
	step("a ReplicaSet scaled by hand is pulled back", func() {
		rs := strings.TrimSpace(c.kubectl("get", "rs", "-l", "app=web", "-o", "name"))
		c.kubectl("scale", rs, "--replicas=5")
		c.is(rs, "{.spec.replicas}", "2")
		c.eventually("two pods", func() (string, bool) {
			got := c.kubectl("get", "pods", "-l", "app=web", "-o", "name")
			return got, strings.Count(got, "\n") == 2
		})
	})
	step("a rolling update, and its rollback", func() {
		c.kubectl("set", "env", "deployment/web", "COLOR=blue")
		c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
		if out := c.kubectl("rollout", "history", "deployment/web"); !strings.Contains(out, "2 ") {
			t.Fatalf("history:\n%s", out)
		}
		c.kubectl("rollout", "undo", "deployment/web")
		c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
		if got := c.field("deployment/web", "{.spec.template.spec.containers[0].env}"); got != "" {
			t.Fatalf("env after undo: %s", got)
		}
	})
	step("kill -9: no write and no pod is lost", func() {
		containers := `{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}`
		before := c.kubectl("get", "pods", "-o", "jsonpath="+containers)
		ip := c.field("pod/nginx", "{.status.podIP}")
		var acknowledged []string
		for i := range 50 {
			name := fmt.Sprintf("cm-%d", i)
			if i == 25 {
				c.kill9()
				if body, err := c.page("http://" + ip + "/"); err != nil || !strings.Contains(body, "nginx") {
					t.Fatalf("nginx does not answer while tenet is dead: %v %s", err, body)
				}
				c.up()
			}
			if out, err := c.tryKubectl("create", "configmap", name, "--from-literal=a=b"); err != nil {
				t.Fatalf("create %s: %v %s", name, err, out)
			}
			acknowledged = append(acknowledged, name)
		}
		got := c.kubectl("get", "configmaps", "-o", "name")
		for _, name := range acknowledged {
			if !strings.Contains(got, "configmap/"+name+"\n") {
				t.Errorf("%s was acknowledged and is lost", name)
			}
		}
		c.eventually("all pods ready again", func() (string, bool) {
			got := c.kubectl("get", "pods")
			return got, strings.Count(got, "1/1     Running") == 3
		})
		if after := c.kubectl("get", "pods", "-o", "jsonpath="+containers); after != before {
			t.Errorf("containers before the kill:\n%s\nafter:\n%s", before, after)
		}
		if out := c.kubectl("exec", "nginx", "--", "echo", "adopted"); strings.TrimSpace(out) != "adopted" {
			t.Errorf("exec after adoption: %q", out)
		}
	})
	step("wrong input is refused and explained", func() {
		for _, bad := range []struct{ manifest, want string }{
			{strings.Replace(nginxPod, "image:", "imagee:", 1), `unknown field "spec.containers[0].imagee"`},
			{strings.Replace(nginxPod, "name: nginx\n  labels", "name: Nginx_1\n  labels", 1), `metadata.name: Invalid value: "Nginx_1"`},
			{strings.Replace(nginxPod, "containerPort: 80", "containerPort: 70000", 1), "must be between 1 and 65535, inclusive"},
			{strings.Replace(nginxPod, "containerPort: 80", "containerPort: eighty", 1), "containerPort"},
			{strings.Replace(webDeployment, "{app: web}", "{app: other}", 1), "selector"},
		} {
			if out, err := c.tryApply(bad.manifest); err == nil || !strings.Contains(out, bad.want) {
				t.Errorf("want a refusal with %q, got %v:\n%s", bad.want, err, out)
			}
		}
	})
	step("a missing image says why", func() {
		c.apply(strings.Replace(strings.Replace(nginxPod, "name: nginx\n  labels", "name: missing\n  labels", 1), "nginx:stable", "127.0.0.1:9/none/none:1", 1))
		c.eventually("ErrImagePull or ImagePullBackOff", func() (string, bool) {
			got := c.field("pod/missing", "{.status.containerStatuses[0].state.waiting}")
			return got, strings.Contains(got, "ErrImagePull") || strings.Contains(got, "ImagePullBackOff")
		})
		c.kubectl("delete", "pod", "missing", "--wait=true", "--timeout=60s")
	})
	step("status", func() {
		if out := c.must("status", "--data-dir", c.data); !strings.Contains(out, "3 running") {
			t.Fatalf("status:\n%s", out)
		}
	})
	step("delete everything", func() {
		c.kubectl("delete", "deployment", "web", "--wait=true", "--timeout=60s")
		c.kubectl("delete", "pod", "nginx", "--wait=true", "--timeout=60s")
		c.eventually("no pods", func() (string, bool) {
			got := c.kubectl("get", "pods,rs", "-o", "name")
			return got, strings.TrimSpace(got) == ""
		})
	})
	step("a namespace goes with all that is in it", func() {
		c.kubectl("create", "namespace", "shop")
		c.kubectl("-n", "shop", "create", "configmap", "x", "--from-literal=a=b")
		c.kubectl("delete", "namespace", "shop", "--wait=true", "--timeout=60s")
	})
	step("tenet down", func() { c.must("down", "--data-dir", c.data, "--run-dir", c.run) })
}
