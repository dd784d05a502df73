package cri

import (
	"os"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestHostPorts(t *testing.T) {
	n := startNode(t)
	config := n.sandbox("web")
	config.PortMappings = []*runtimeapi.PortMapping{{Protocol: runtimeapi.Protocol_TCP, HostPort: 18080, ContainerPort: 8080}}
	p, err := n.runConfig(t.Context(), nil, config, progImage, "serve", "by host port")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"127.0.0.1", "10.42.7.1"} { // the node's addresses here
		if got := httpGet(t, "http://"+at+":18080/"); got != "by host port" {
			t.Errorf("%s: page is %q", at, got)
		}
	}
	other := n.mustRun(t, "other", "sleep")
	for name, from := range map[string]string{"another pod": other.container, "the pod itself": p.container} {
		exec, err := n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: from, Cmd: []string{"/prog", "get", "http://10.42.7.1:18080/"}, Timeout: 10})
		if err != nil || exec.ExitCode != 0 {
			t.Errorf("from %s: %v %s", name, err, exec.GetStdout())
		}
	}

	taken := n.sandbox("taken")
	taken.PortMappings = config.PortMappings
	if _, err := n.runConfig(t.Context(), nil, taken, progImage, "sleep"); err == nil || !strings.Contains(err.Error(), "taken by another pod") {
		t.Errorf("a host port that another pod has: %v, want an error that says so", err)
	}
	if _, err := n.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.sandbox}); err != nil {
		t.Fatal(err)
	}
	again := n.sandbox("again")
	again.PortMappings = config.PortMappings
	if _, err := n.runConfig(t.Context(), nil, again, progImage, "serve", "the next one"); err != nil {
		t.Fatalf("the port of a stopped pod: %v", err)
	}
	if got := httpGet(t, "http://127.0.0.1:18080/"); got != "the next one" {
		t.Errorf("page is %q", got)
	}
}

func TestSandboxHasItsOwnSeccompProfileAndPodsShareProcesses(t *testing.T) {
	n := startNode(t)
	config := n.sandbox("shared")
	config.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_POD
	p, err := n.runConfig(t.Context(), nil, config, progImage, "sleep")
	if err != nil {
		t.Fatal(err)
	}
	// Process 1 of the pod is pause, so its seccomp mode can be seen from the container.
	exec, err := n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"/prog", "cat", "/proc/1/status"}, Timeout: 10})
	if err != nil || !strings.Contains(string(exec.Stdout), "Name:\tpause") || !strings.Contains(string(exec.Stdout), "Seccomp:\t2") {
		t.Errorf("process 1: %v\n%s\nwant pause with a seccomp filter", err, exec.GetStdout())
	}
}

func TestUserNamespaces(t *testing.T) {
	n := startNode(t)
	config := n.sandbox("userns")
	ids := []*runtimeapi.IDMapping{{HostId: 200000, ContainerId: 0, Length: 65536}}
	config.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: ids, Gids: ids}
	p, err := n.runConfig(t.Context(), nil, config, progImage, "sleep")
	if err != nil {
		t.Fatal(err)
	}
	exec, err := n.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"/prog", "cat", "/proc/self/uid_map"}, Timeout: 10})
	if err != nil || strings.Join(strings.Fields(string(exec.Stdout)), " ") != "0 200000 65536" {
		t.Errorf("uid map: %v %s, want 0 200000 65536", err, exec.GetStdout())
	}
}

func TestHostNetwork(t *testing.T) {
	n := startNode(t)
	config := n.sandbox("host")
	config.Hostname = ""
	config.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
	if _, err := n.runConfig(t.Context(), nil, config, progImage, "serve", "on the node"); err != nil {
		t.Fatal(err)
	}
	if got := httpGet(t, "http://127.0.0.1:8080/"); got != "on the node" {
		t.Errorf("page is %q", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := EmbeddedOptions{Root: "/r", State: "/s", Runc: "/x/runc", Shim: "/x/containerd-shim-runc-v2", CNIConfDir: "/c", CNIBinDir: "/b"}
	relative, same, renamed := good, good, good
	relative.Root, same.State, renamed.Runc = "r", "/r", "/x/my-runc"
	for want, o := range map[string]EmbeddedOptions{"absolute": relative, "must differ": same, "of the name runc": renamed, "no such file": good} {
		if os.Geteuid() != 0 && (want == "of the name runc" || want == "no such file") {
			continue
		}
		if _, err := Embedded(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", o, err, want)
		}
	}
}
