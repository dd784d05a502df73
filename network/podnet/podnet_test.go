package podnet

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/tenet-run/tenet/internal/isolate"
)

func TestMain(m *testing.M) { isolate.Main(m) }

func testConfig(t *testing.T) Config {
	dir := t.TempDir()
	return Config{Bridge: "tn0", PodCIDR: "10.42.3.0/24", ClusterCIDR: "10.42.0.0/16", CNIConfDir: filepath.Join(dir, "net.d"), DataDir: filepath.Join(dir, "ipam")}
}

func addresses(t *testing.T, name string) string {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, a := range list {
		s = append(s, a.IPNet.String())
	}
	return strings.Join(s, " ")
}

// rules counts the rules of each chain.
func rules(t *testing.T, bridge string) map[string]int {
	t.Helper()
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, ch := range chains {
		if ch.Table.Name == table(bridge).Name {
			r, err := c.GetRules(ch.Table, ch)
			if err != nil {
				t.Fatal(err)
			}
			n[ch.Name] = len(r)
		}
	}
	return n
}

func TestEnsureTwiceIsAsOnceAndCleanupLeavesNothing(t *testing.T) {
	isolate.Need(t)
	c := testConfig(t)
	for range 2 {
		if err := Ensure(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := addresses(t, "tn0"); got != "10.42.3.1/24" {
			t.Errorf("the bridge has %q, want 10.42.3.1/24", got)
		}
		got := rules(t, "tn0")
		for chain, want := range map[string]int{"dnat": 2, "prerouting": 1, "output": 1, "postrouting": 3} {
			if got[chain] != want {
				t.Errorf("chain %s has %d rules, want %d", chain, got[chain], want)
			}
		}
	}
	if b, _ := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); strings.TrimSpace(string(b)) != "1" {
		t.Errorf("ip_forward is %q", b)
	}
	// The range of a node may change.
	c.PodCIDR = "10.42.4.0/24"
	if err := Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, "tn0"); got != "10.42.4.1/24" {
		t.Errorf("with another range the bridge has %q, want 10.42.4.1/24", got)
	}
	if err := Cleanup(c); err != nil {
		t.Fatal(err)
	}
	if err := Cleanup(c); err != nil {
		t.Errorf("second cleanup: %v", err)
	}
	if _, err := netlink.LinkByName("tn0"); err == nil {
		t.Error("the bridge is still there")
	}
	if left := rules(t, "tn0"); len(left) != 0 {
		t.Errorf("rules left: %v", left)
	}
	if left, _ := os.ReadDir(c.CNIConfDir); len(left) != 0 {
		t.Errorf("configuration left: %v", left)
	}
}

func TestHostPortsSurviveEnsureAndAreExclusive(t *testing.T) {
	isolate.Need(t)
	c := testConfig(t)
	if err := Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Cleanup(c) })
	one, two := netip.MustParseAddr("10.42.3.5"), netip.MustParseAddr("10.42.3.6")
	web := []HostPort{{Protocol: "TCP", HostPort: 8080, ContainerPort: 80}, {Protocol: "udp", HostPort: 8080, ContainerPort: 53, HostIP: "127.0.0.1"}}
	if err := AddHostPorts("tn0", one, web); err != nil {
		t.Fatal(err)
	}
	if err := Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := AddHostPorts("tn0", one, web); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := AddHostPorts("tn0", two, web[:1]); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("a port that another pod has: %v, want an error that says it is taken", err)
	}
	if err := RemoveHostPorts("tn0", one); err != nil {
		t.Fatal(err)
	}
	if err := AddHostPorts("tn0", two, web[:1]); err != nil {
		t.Errorf("after the removal: %v", err)
	}
	if err := AddHostPorts("tn0", two, []HostPort{{Protocol: "icmp", HostPort: 1}}); err == nil {
		t.Error("protocol icmp was accepted")
	}
}

func TestServiceAddress(t *testing.T) {
	isolate.Need(t)
	a, b := netip.MustParseAddr("10.43.0.1"), netip.MustParseAddr("10.43.0.10")
	for range 2 {
		for _, ip := range []netip.Addr{a, b} {
			if err := EnsureServiceAddress(ip); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := addresses(t, ServiceInterface); got != "10.43.0.1/32 10.43.0.10/32" {
		t.Errorf("addresses are %q", got)
	}
	for _, ip := range []netip.Addr{a, a, b} {
		if err := RemoveServiceAddress(ip); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := netlink.LinkByName(ServiceInterface); err == nil {
		t.Error("the interface is still there without addresses")
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	dir := t.TempDir()
	for want, c := range map[string]Config{
		"pod range":    {PodCIDR: "nonsense", CNIConfDir: dir, DataDir: dir},
		"only IPv4":    {PodCIDR: "fd00::/64", CNIConfDir: dir, DataDir: dir},
		"longer than":  {PodCIDR: "10.0.0.0/24", Bridge: "a-very-long-bridge-name", CNIConfDir: dir, DataDir: dir},
		"be absolute:": {PodCIDR: "10.0.0.0/24", CNIConfDir: "net.d", DataDir: dir},
	} {
		if err := Ensure(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", c, err, want)
		}
	}
}

func TestConflistNamesRangeBridgeAndCapabilities(t *testing.T) {
	b, err := conflist(Config{Bridge: "tenet0", MTU: 1400, DataDir: "/d"}, netip.MustParsePrefix("10.42.1.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Plugins []struct {
			Type, Bridge, Subnet, DataDir string
			MTU                           int
			Capabilities                  map[string]bool
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Plugins) != 1 { // each one more is an execution for each pod
		t.Fatalf("%d plugins, want 1", len(got.Plugins))
	}
	p := got.Plugins[0]
	if p.Type != "tenet-bridge" || p.Bridge != "tenet0" || p.MTU != 1400 || p.Subnet != "10.42.1.0/24" || p.DataDir != "/d" || !p.Capabilities["portMappings"] {
		t.Errorf("the plugin is %+v", p)
	}
}
