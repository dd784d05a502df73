package server

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tenet-run/tenet/apiserver/authz"
)

// NodeConfig is this machine as a node.
type NodeConfig struct {
	Name        string // the host name, lower case
	IP          string // the address of the default route's interface
	RunDir      string // what a reboot may lose
	CRIEndpoint string // another container runtime, instead of the one inside
	Bridge      string // of the pods' network
	MaxPods     int
	Labels      map[string]string
}

func (n *NodeConfig) complete() error {
	if n.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("node name: %w; give one with --node-name", err)
		}
		n.Name = strings.ToLower(strings.TrimSuffix(host, "."))
	}
	if errs := validation.IsDNS1123Subdomain(n.Name); len(errs) > 0 {
		return fmt.Errorf("node name %q: %s; give another with --node-name", n.Name, errs[0])
	}
	if bad := authz.ForbiddenNodeLabels(n.Labels); len(bad) > 0 {
		return fmt.Errorf("a node may not give itself label %s: use kubectl label", bad[0])
	}
	if n.RunDir == "" {
		n.RunDir = "/run/tenet"
	}
	if n.Bridge == "" {
		n.Bridge = "tenet0"
	}
	if n.IP == "" {
		ip, err := primaryAddress()
		if err != nil {
			return err
		}
		n.IP = ip.String()
	} else if _, err := netip.ParseAddr(n.IP); err != nil {
		return fmt.Errorf("node address %q: %w", n.IP, err)
	}
	return nil
}

// primaryAddress is the address of this machine that the outside sees: the one of the default route, else the first global one. A machine with neither
// gets 127.0.0.1: everything that stays on it works.
func primaryAddress() (netip.Addr, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("node address: %w; give one with --node-ip", err)
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		if r.Src != nil {
			if a, ok := netip.AddrFromSlice(r.Src); ok {
				return a.Unmap(), nil
			}
		}
		link, err := net.InterfaceByIndex(r.LinkIndex)
		if err != nil {
			continue
		}
		if a, ok := firstAddress(link); ok {
			return a, nil
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("node address: %w; give one with --node-ip", err)
	}
	for _, l := range links {
		if l.Flags&net.FlagLoopback == 0 && l.Flags&net.FlagUp != 0 {
			if a, ok := firstAddress(&l); ok && !podCIDR.Contains(a) {
				return a, nil
			}
		}
	}
	return netip.MustParseAddr("127.0.0.1"), nil
}

func firstAddress(link *net.Interface) (netip.Addr, bool) {
	addrs, err := link.Addrs()
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() && !serviceCIDR.Contains(p.Addr()) {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}
