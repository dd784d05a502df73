package podnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
)

// ServiceInterface, a dummy interface, carries the addresses of Services that the node itself answers for.
const ServiceInterface = "tenet-svc"

// EnsureServiceAddress puts ip/32 on the dummy interface tenet-svc, so that pods and the node reach what listens there (the API server, on the address
// of the Service default/kubernetes).
func EnsureServiceAddress(ip netip.Addr) error {
	link, err := ensureLink(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: ServiceInterface}})
	if errors.Is(err, syscall.EOPNOTSUPP) { // a kernel without dummy interfaces: a bridge without ports holds an address as well
		link, err = ensureLink(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: ServiceInterface, TxQLen: -1}})
	}
	if err != nil {
		return fmt.Errorf("service address %s: %w", ip, err)
	}
	if err := ensureAddress(link, netip.PrefixFrom(ip, ip.BitLen())); err != nil {
		return fmt.Errorf("service address %s: %w", ip, err)
	}
	return nil
}

// RemoveServiceAddress takes ip away again, and with the last address the interface.
func RemoveServiceAddress(ip netip.Addr) error {
	link, err := netlink.LinkByName(ServiceInterface)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", ServiceInterface, err)
	}
	if err := netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(ip, ip.BitLen()))}); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
		return fmt.Errorf("service address %s: %w", ip, err)
	}
	left, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("interface %s: %w", ServiceInterface, err)
	}
	if len(left) == 0 {
		return removeLink(ServiceInterface)
	}
	return nil
}

// ensureBridge makes the bridge with the range's first address: the gateway exists before any pod.
func ensureBridge(name string, pods netip.Prefix, mtu int) error {
	link, err := ensureLink(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu, TxQLen: -1}})
	if err != nil {
		return err
	}
	if link.Type() != "bridge" {
		return fmt.Errorf("an interface of this name exists and is a %s", link.Type())
	}
	// Said to be its own, the MAC stays. Otherwise it is the lowest of all ports' and changes as pods come and go, and pods send to one that is no more.
	if err := netlink.LinkSetHardwareAddr(link, link.Attrs().HardwareAddr); err != nil {
		return fmt.Errorf("keep the hardware address: %w", err)
	}
	gateway := netip.PrefixFrom(pods.Addr().Next(), pods.Bits())
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range addrs { // an address of an earlier range would confuse routing
		if a.IPNet.String() != ipNet(gateway).String() {
			if err := netlink.AddrDel(link, &a); err != nil {
				return err
			}
		}
	}
	if err := ensureAddress(link, gateway); err != nil {
		return err
	}
	// Host ports answer on 127.0.0.1 too: such packets have to be routed to the bridge.
	return setSysctl("net/ipv4/conf/"+name+"/route_localnet", "1")
}

func ensureLink(want netlink.Link) (netlink.Link, error) {
	name := want.Attrs().Name
	if err := netlink.LinkAdd(want); err != nil && !errors.Is(err, syscall.EEXIST) {
		return nil, fmt.Errorf("add interface %s: %w", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			return nil, fmt.Errorf("set interface %s up: %w", name, err)
		}
	}
	return link, nil
}

func ensureAddress(link netlink.Link, p netip.Prefix) error {
	err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p)})
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("add address %s to %s: %w", p, link.Attrs().Name, err)
	}
	return nil
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

// defaultMTU is that of the interface of the default route.
func defaultMTU() int {
	const ethernet = 1500
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil {
		return ethernet
	}
	for _, r := range routes {
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil && link.Attrs().MTU > 0 {
			return link.Attrs().MTU
		}
	}
	return ethernet
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// setSysctl writes only what differs: in a container /proc/sys may be read only, and right already.
func setSysctl(name, value string) error {
	path := filepath.Join("/proc/sys", name)
	if old, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(old)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set %s=%s: %w", strings.ReplaceAll(name, "/", "."), value, err)
	}
	return nil
}
