package cri

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func httpGet(t testing.TB, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			return string(b)
		}
		if ctx.Err() != nil {
			t.Fatalf("GET %s: %v", url, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// events collects what the runtime says about containers.
func (n *testNode) events(t testing.TB) <-chan *runtimeapi.ContainerEventResponse {
	t.Helper()
	ch := make(chan *runtimeapi.ContainerEventResponse, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	d := n.Daemon
	go func() {
		defer close(ended)
		_ = d.Events(ctx, func(e *runtimeapi.ContainerEventResponse) { ch <- e })
	}()
	return ch
}

func waitEvent(t testing.TB, ch <-chan *runtimeapi.ContainerEventResponse, id string, typ runtimeapi.ContainerEventType) {
	t.Helper()
	timeout := time.After(15 * time.Second)
	var seen []string
	for {
		select {
		case e := <-ch:
			if e.ContainerId == id && e.ContainerEventType == typ {
				return
			}
			seen = append(seen, fmt.Sprintf("%.8s %v", e.ContainerId, e.ContainerEventType))
		case <-timeout:
			t.Fatalf("no event %v for %.8s; seen: %v", typ, id, seen)
		}
	}
}

func TestPodLivesAndSurvivesARestartOfTheRuntime(t *testing.T) {
	n := startNode(t)
	events := n.events(t)
	a := n.mustRun(t, "a", "serve", "hello from a")
	waitEvent(t, events, a.container, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)

	ip := n.podIP(t, a.sandbox)
	if !strings.HasPrefix(ip, "10.42.7.") {
		t.Errorf("pod address is %q, want one of 10.42.7.0/24", ip)
	}
	if got := httpGet(t, "http://"+ip+":8080/"); got != "hello from a" {
		t.Errorf("page is %q, want %q", got, "hello from a")
	}
	b := n.mustRun(t, "b", "sleep")
	exec, err := n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: b.container, Cmd: []string{"/prog", "get", "http://" + ip + ":8080/"}, Timeout: 10})
	if err != nil || exec.ExitCode != 0 || !strings.Contains(string(exec.Stdout), "200") {
		t.Errorf("pod b does not reach pod a: %v %v", exec, err)
	}
	logs, err := os.ReadFile(n.sandbox("b").LogDirectory + "/main.log")
	if err != nil || !strings.Contains(string(logs), "stdout F hello\n") {
		t.Errorf("log of b is %q (%v), want a line of hello", logs, err)
	}

	before := n.container(t, a.container)
	if err := n.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if got := httpGet(t, "http://"+ip+":8080/"); got != "hello from a" {
		t.Errorf("with the runtime stopped the page is %q", got)
	}
	n.start(t)
	n.waitNetwork(t)
	after := n.container(t, a.container)
	if after.State != runtimeapi.ContainerState_CONTAINER_RUNNING || after.StartedAt != before.StartedAt {
		t.Errorf("after the restart the container is %v, started at %d; want it running since %d", after.State, after.StartedAt, before.StartedAt)
	}
	exec, err = n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: a.container, Cmd: []string{"/prog", "exit", "3"}, Timeout: 10})
	if err != nil || exec.ExitCode != 3 {
		t.Errorf("exec in an adopted container: %v %v, want exit code 3", exec, err)
	}

	events = n.events(t)
	if _, err := n.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: a.container, Timeout: 10}); err != nil {
		t.Fatal(err)
	}
	waitEvent(t, events, a.container, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	if s := n.container(t, a.container); s.ExitCode != 0 || s.State != runtimeapi.ContainerState_CONTAINER_EXITED {
		t.Errorf("after a stop the container is %v with exit code %d (%s), want exited with 0: it ends on SIGTERM", s.State, s.ExitCode, s.Reason)
	}
	if _, err := n.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: a.sandbox}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.RemovePodSandbox(t.Context(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: a.sandbox}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: a.sandbox}); !IsNotFound(err) {
		t.Errorf("status of a removed sandbox: %v, want NotFound", err)
	}
}

func TestEndOfAContainerIsAnEvent(t *testing.T) {
	n := startNode(t)
	events := n.events(t)
	p := n.mustRun(t, "p", "exit", "7")
	waitEvent(t, events, p.container, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	if s := n.container(t, p.container); s.ExitCode != 7 || s.Reason != "Error" {
		t.Errorf("exit code %d, reason %q; want 7, Error", s.ExitCode, s.Reason)
	}
}

func TestSocketServesCRI(t *testing.T) {
	n := startNode(t)
	remote, err := Dial(t.Context(), n.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	p := n.mustRun(t, "p", "sleep")
	got, err := remote.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: p.container})
	if err != nil || got.Status.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("through the socket: %v %v", got, err)
	}
	if _, err := remote.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: "nope"}); !IsNotFound(err) {
		t.Errorf("unknown container through the socket: %v, want NotFound", err)
	}
	if _, err := n.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: "nope"}); !IsNotFound(err) {
		t.Errorf("unknown container: %v, want NotFound", err)
	}
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	for endpoint, want := range map[string]string{"tcp://127.0.0.1:1": "unix:///", "/nonexistent.sock": "does not answer"} {
		if _, err := Dial(t.Context(), endpoint); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Dial(%q) = %v, want an error with %q", endpoint, err, want)
		}
	}
}
