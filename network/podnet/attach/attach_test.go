//go:build linux

package attach

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/tenet-run/tenet/internal/isolate"
	"github.com/tenet-run/tenet/network/podnet"
)

// The test program is the plugin too: it is executed as the container runtime would.
func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		Main()
		return
	}
	isolate.Main(m)
}

// node is a pod network with a directory of its own.
type node struct {
	*testing.T
	podnet.Config
	plugin map[string]any
}

func newNode(t *testing.T, cidr string) *node {
	t.Helper()
	isolate.Need(t)
	dir := t.TempDir()
	n := &node{T: t, Config: podnet.Config{Bridge: "tn1", PodCIDR: cidr, CNIConfDir: filepath.Join(dir, "net.d"), DataDir: filepath.Join(dir, "leases")}}
	if err := podnet.Ensure(t.Context(), n.Config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = podnet.Cleanup(n.Config) })
	text, err := os.ReadFile(filepath.Join(n.CNIConfDir, "10-tenet.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Name, CNIVersion string
		Plugins          []map[string]any
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	n.plugin = list.Plugins[0]
	n.plugin["name"], n.plugin["cniVersion"] = list.Name, list.CNIVersion
	return n
}

// sandbox makes a network namespace and returns its path.
func sandbox(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
		ended <- err
	}()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

func (n *node) call(command, id, ns string, ports ...map[string]any) (*current.Result, error) {
	n.plugin["runtimeConfig"] = map[string]any{"portMappings": ports}
	in, err := json.Marshal(n.plugin)
	if err != nil {
		n.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+id, "CNI_NETNS="+ns, "CNI_IFNAME=eth0", "CNI_PATH=/")
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	if command != "ADD" {
		return nil, nil
	}
	r := &current.Result{}
	return r, json.Unmarshal(out, r)
}

func (n *node) must(command, id, ns string, ports ...map[string]any) *current.Result {
	n.Helper()
	r, err := n.call(command, id, ns, ports...)
	if err != nil {
		n.Fatalf("%s %s: %v", command, id, err)
	}
	return r
}

// leases lists the addresses that are given.
func (n *node) leases() []string {
	n.Helper()
	var out []string
	entries, err := os.ReadDir(filepath.Join(n.DataDir, "tenet"))
	if err != nil && !os.IsNotExist(err) {
		n.Fatal(err)
	}
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err == nil {
			out = append(out, e.Name())
		}
	}
	return out
}

func TestPodIsJoinedAndLeftAgain(t *testing.T) {
	n := newNode(t, "10.42.5.0/24")
	ns := sandbox(t, "a")
	r := n.must("ADD", "a", ns, map[string]any{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"})
	if len(r.IPs) != 1 || r.IPs[0].Address.String() != "10.42.5.2/24" || r.IPs[0].Gateway.String() != "10.42.5.1" {
		t.Fatalf("addresses are %+v", r.IPs)
	}
	if at := r.IPs[0].Interface; at == nil || r.Interfaces[*at].Name != "eth0" || r.Interfaces[*at].Sandbox != ns {
		t.Errorf("interfaces are %+v", r.Interfaces)
	}
	n.must("CHECK", "a", ns)

	h, err := netns.GetFromPath(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	inside, err := netlink.NewHandleAt(h)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	link, err := inside.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	bridge, err := netlink.LinkByName(n.Bridge)
	if err != nil {
		t.Fatal(err)
	}
	if link.Attrs().MTU != bridge.Attrs().MTU || link.Attrs().OperState != netlink.OperUp || link.Attrs().HardwareAddr.String() != "0a:58:0a:2a:05:02" {
		t.Errorf("the pod's interface is %+v", link.Attrs())
	}
	routes, err := inside.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_DST)
	if err != nil || len(routes) != 1 || routes[0].Gw.String() != "10.42.5.1" {
		t.Errorf("default routes are %v, %v", routes, err)
	}
	host, err := netlink.LinkByName(r.Interfaces[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	port, err := netlink.LinkGetProtinfo(host)
	if err != nil || !port.Hairpin || host.Attrs().MasterIndex != bridge.Attrs().Index {
		t.Errorf("the node's interface %+v is not on the bridge in hairpin mode: %+v, %v", host.Attrs(), port, err)
	}

	if _, err := n.call("ADD", "b", sandbox(t, "b"), map[string]any{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}); err == nil || !strings.Contains(err.Error(), "taken by another pod") {
		t.Errorf("a host port that another pod has: %v", err)
	}
	if got := n.leases(); len(got) != 1 {
		t.Errorf("after an ADD that failed the addresses %v are given, want one", got)
	}
	if _, err := netlink.LinkByName(hostName("b", "eth0")); err == nil {
		t.Error("after an ADD that failed its interface is there")
	}

	for range 2 { // the second time there is nothing any more, nor is the namespace named
		n.must("DEL", "a", "", map[string]any{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"})
	}
	if _, err := netlink.LinkByName(host.Attrs().Name); err == nil {
		t.Error("the interface is still there")
	}
	if got := n.leases(); len(got) != 0 {
		t.Errorf("addresses %v are still given", got)
	}
	if _, err := n.call("CHECK", "a", ns); err == nil {
		t.Error("CHECK finds nothing wrong with a pod that has left")
	}
	n.must("ADD", "c", sandbox(t, "c"), map[string]any{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"})
}

// Pods remember the gateway's MAC, and a bridge that was not told otherwise takes the lowest of its ports'.
func TestGatewayKeepsItsMAC(t *testing.T) {
	n := newNode(t, "10.42.5.0/24")
	mac := func() string {
		bridge, err := netlink.LinkByName(n.Bridge)
		if err != nil {
			t.Fatal(err)
		}
		return bridge.Attrs().HardwareAddr.String()
	}
	want := mac()
	// The lowest there can be.
	low := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "low", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}}
	if err := netlink.LinkAdd(low); err != nil {
		low := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "low", HardwareAddr: low.HardwareAddr}, PeerName: "high"}
		if err := netlink.LinkAdd(low); err != nil {
			t.Fatal(err)
		}
	}
	link, err := netlink.LinkByName("low")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	bridge, err := netlink.LinkByName(n.Bridge)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetMaster(link, bridge); err != nil {
		t.Fatal(err)
	}
	if got := mac(); got != want {
		t.Errorf("with another port the bridge's MAC is %s, want %s as before", got, want)
	}
}

func TestAddAgainAfterAKill(t *testing.T) {
	n := newNode(t, "10.42.5.0/24")
	n.must("ADD", "a", sandbox(t, "a"))
	// As if the plugin had been killed before it answered: the runtime does not know of it, and has another namespace.
	n.must("ADD", "a", sandbox(t, "again"))
	n.must("DEL", "a", "")
	if got := n.leases(); len(got) != 0 {
		t.Errorf("addresses %v are still given", got)
	}
}

func TestAddressesAreExclusiveAndReusedLate(t *testing.T) {
	n := newNode(t, "10.42.5.0/28") // 13 pods: less network, gateway and broadcast
	l := leases(filepath.Join(n.DataDir, "tenet"))
	pods := netip.MustParsePrefix(n.PodCIDR)
	got := make([]netip.Addr, 13)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = l.take(pods, fmt.Sprint("c", i), "eth0"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[netip.Addr]bool{}
	for _, a := range got {
		if seen[a] || !pods.Contains(a) || a == netip.MustParseAddr("10.42.5.1") || a == netip.MustParseAddr("10.42.5.15") {
			t.Errorf("%s was given twice or must not be given", a)
		}
		seen[a] = true
	}
	if a, err := l.take(pods, "more", "eth0"); err == nil || !strings.Contains(err.Error(), "no IP addresses available in range set: 10.42.5.2-10.42.5.14") {
		t.Errorf("from a full range came %s, %v", a, err)
	}
	for i := range got {
		if err := l.release(fmt.Sprint("c", i), "eth0"); err != nil {
			t.Fatal(err)
		}
	}
	var order []string
	for i := range 3 {
		a, err := l.take(pods, "again", "eth0")
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, a.String())
		if i == 0 {
			if err := l.release("again", "eth0"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := strings.Join(order, " "); got != "10.42.5.2 10.42.5.3 10.42.5.4" {
		t.Errorf("addresses come as %s: one that was given back must not be the next", got)
	}
}

func TestLeasesOfHostLocalAreKeptAndReleased(t *testing.T) {
	l := leases(filepath.Join(t.TempDir(), "tenet"))
	if err := os.MkdirAll(string(l), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"10.42.5.2": "old\r\neth0", "last_reserved_ip.0": "10.42.5.2", "lock": ""} {
		if err := os.WriteFile(filepath.Join(string(l), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := l.take(netip.MustParsePrefix("10.42.5.0/30"), "new", "eth0")
	if err == nil {
		t.Errorf("the address %s of a running pod was given again", a)
	}
	if err := l.release("old", "eth0"); err != nil {
		t.Fatal(err)
	}
	if a, err := l.take(netip.MustParsePrefix("10.42.5.0/30"), "new", "eth0"); err != nil || a.String() != "10.42.5.2" {
		t.Errorf("after the release: %s, %v", a, err)
	}
}
