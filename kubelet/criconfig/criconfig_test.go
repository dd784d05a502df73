package criconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestExpand(t *testing.T) {
	env := map[string]string{"A": "1", "B": "$(A)"}
	for in, want := range map[string]string{
		"": "", "x": "x", "$(A)": "1", "a$(A)b$(A)": "a1b1", "$$(A)": "$(A)", "$(B)": "$(A)", "$(NO)": "$(NO)", "$(A": "$(A", "$A": "$A", "$": "$", "$$": "$", "$()": "$()", "$($(A))": "$($(A))",
	} {
		if got := Expand(in, env); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestServiceVariables(t *testing.T) {
	svc := func(ns, name, ip string, ports ...corev1.ServicePort) *corev1.Service {
		s := &corev1.Service{}
		s.Namespace, s.Name, s.Spec.ClusterIP, s.Spec.Ports = ns, name, ip, ports
		return s
	}
	src := &Sources{Services: func(ns string) []*corev1.Service {
		if ns == "default" {
			return []*corev1.Service{svc(ns, "kubernetes", "10.0.0.1", corev1.ServicePort{Name: "https", Port: 443}), svc(ns, "other", "10.0.0.9", corev1.ServicePort{Port: 1})}
		}
		return []*corev1.Service{svc(ns, "my-db", "10.0.0.2", corev1.ServicePort{Name: "sql", Port: 5432, Protocol: corev1.ProtocolTCP}, corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}), svc(ns, "headless", "None", corev1.ServicePort{Port: 1})}
	}}
	pod := &corev1.Pod{}
	pod.Namespace = "app"
	env, err := Env(pod, &corev1.Container{Env: []corev1.EnvVar{{Name: "URL", Value: "pg://$(MY_DB_SERVICE_HOST)"}, {Name: "MY_DB_SERVICE_PORT", Value: "mine"}}}, src)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443", "KUBERNETES_PORT": "tcp://10.0.0.1:443",
		"MY_DB_SERVICE_HOST": "10.0.0.2", "MY_DB_SERVICE_PORT_DNS": "53", "MY_DB_PORT_53_UDP": "udp://10.0.0.2:53", "MY_DB_PORT_53_UDP_ADDR": "10.0.0.2", "URL": "pg://10.0.0.2", "MY_DB_SERVICE_PORT": "mine",
	} {
		if env[k] != v {
			t.Errorf("%s: got %q, want %q", k, env[k], v)
		}
	}
	if _, ok := env["OTHER_SERVICE_HOST"]; ok || env["HEADLESS_SERVICE_HOST"] != "" {
		t.Error("a Service of another namespace, or without an address, has variables")
	}
	pod.Spec.EnableServiceLinks = ptr(false)
	if env, _ = Env(pod, &corev1.Container{}, src); env["MY_DB_SERVICE_HOST"] != "" || env["KUBERNETES_SERVICE_HOST"] == "" {
		t.Errorf("without service links: %v", env)
	}
}

func TestRunAsNonRoot(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr(true)}}}
	pod.Name, pod.Namespace, pod.UID = "p", "ns", "u"
	for _, c := range []struct {
		own  *int64
		user User
		want string
	}{
		{ptr(int64(0)), User{}, `container's runAsUser breaks non-root policy (pod: "p_ns(u)", container: c)`},
		{ptr(int64(5)), User{UID: ptr(int64(0))}, ""},
		{nil, User{UID: ptr(int64(0))}, `container has runAsNonRoot and image will run as root (pod: "p_ns(u)", container: c)`},
		{nil, User{Name: "nginx"}, `container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root (pod: "p_ns(u)", container: c)`},
		{nil, User{UID: ptr(int64(7))}, ""},
	} {
		_, err := containerSecurity(pod, &corev1.Container{Name: "c", SecurityContext: &corev1.SecurityContext{RunAsUser: c.own}}, c.user, HostFacts{}, nil)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestSecurity(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{HostPID: true, SecurityContext: &corev1.PodSecurityContext{
		RunAsUser: ptr(int64(1)), FSGroup: ptr(int64(2)), SupplementalGroups: []int64{3}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: ptr("../../etc/p.json")},
	}}}
	c := &corev1.Container{SecurityContext: &corev1.SecurityContext{
		RunAsUser: ptr(int64(9)), AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true), ProcMount: ptr(corev1.UnmaskedProcMount),
		Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}},
	}}
	sc, err := containerSecurity(pod, c, User{}, HostFacts{SeccompRoot: "/root/seccomp"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sc.RunAsUser.Value != 9 || !sc.NoNewPrivs || !sc.ReadonlyRootfs || len(sc.MaskedPaths) != 0 || sc.Capabilities.AddCapabilities[0] != "NET_ADMIN" || sc.NamespaceOptions.Pid != runtimeapi.NamespaceMode_NODE {
		t.Errorf("got %v", sc)
	}
	if sc.Seccomp.LocalhostRef != "/root/seccomp/etc/p.json" {
		t.Errorf("a seccomp profile outside of its directory: %s", sc.Seccomp.LocalhostRef)
	}
	if len(sc.SupplementalGroups) != 2 {
		t.Errorf("groups %v", sc.SupplementalGroups)
	}
}

func TestResources(t *testing.T) {
	list := func(cpu, mem string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(mem)}
	}
	for _, c := range []struct {
		r                       corev1.ResourceRequirements
		shares, quota, mem, oom int64
	}{
		{corev1.ResourceRequirements{}, 2, 0, 0, 1000},
		{corev1.ResourceRequirements{Limits: list("500m", "1Gi"), Requests: list("500m", "1Gi")}, 512, 50000, 1 << 30, -997},
		{corev1.ResourceRequirements{Requests: list("250m", "1Gi")}, 256, 0, 0, 750},
		{corev1.ResourceRequirements{Requests: list("1m", "1Mi"), Limits: list("1m", "2Mi")}, 2, 1000, 2 << 20, 999},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: c.r}}}}
		r := linuxResources(pod, &pod.Spec.Containers[0], 4<<30)
		if r.CpuShares != c.shares || r.CpuQuota != c.quota || r.MemoryLimitInBytes != c.mem || r.OomScoreAdj != c.oom {
			t.Errorf("%v: got %v", c.r, r)
		}
	}
}

func TestDNS(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	os.WriteFile(path, []byte("# c\nnameserver 1.1.1.1\nnameserver 1.1.1.2\nsearch a.example. b.example\noptions ndots:1 rotate\n"), 0o644)
	r := Resolver{Cluster: []string{"10.0.0.10"}, Domain: "cluster.local", Path: path}
	for _, c := range []struct {
		spec corev1.PodSpec
		want string
	}{
		{corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirst}, "10.0.0.10 | ns.svc.cluster.local svc.cluster.local cluster.local a.example b.example | ndots:5 rotate"},
		{corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirst, HostNetwork: true}, "1.1.1.1 1.1.1.2 | a.example b.example | ndots:1 rotate"},
		{corev1.PodSpec{DNSPolicy: corev1.DNSDefault, DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"2.2.2.2", "3.3.3.3"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr("3")}}}}, "1.1.1.1 1.1.1.2 2.2.2.2 | a.example b.example | ndots:3 rotate"},
		{corev1.PodSpec{DNSPolicy: corev1.DNSNone, DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"2.2.2.2"}, Searches: []string{"x"}}}, "2.2.2.2 | x | "},
	} {
		pod := &corev1.Pod{Spec: c.spec}
		pod.Namespace = "ns"
		d, _, _, err := r.DNS(pod)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(d.Servers, " ") + " | " + strings.Join(d.Searches, " ") + " | " + strings.Join(d.Options, " "); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
