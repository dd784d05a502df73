//go:build linux

package attach

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// veth is the pair that joins a pod to the bridge.
type veth struct {
	host string           // name on the node
	mac  net.HardwareAddr // of the pod's end
}

// hostName is the node's end's name: DEL finds it without having been told.
func hostName(id, ifName string) string {
	return fmt.Sprintf("veth%x", sha256.Sum256([]byte(id+"/"+ifName)))[:15]
}

// macOf follows from the address, so that no neighbour remembers another one when the address is given again.
func macOf(pod netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x0a, 0x58}, pod.AsSlice()...)
}

// plug makes the pair, one end in the pod's namespace with address and default route, the other on the bridge.
func (c *config) plug(args *skel.CmdArgs, pod netip.Addr) (veth, error) {
	v := veth{host: hostName(args.ContainerID, args.IfName), mac: macOf(pod)}
	ns, err := netns.GetFromPath(args.Netns)
	if err != nil {
		return v, fmt.Errorf("open network namespace %s: %w", args.Netns, err)
	}
	defer ns.Close()
	bridge, err := netlink.LinkByName(c.Bridge) // net.InterfaceByName asks for all interfaces, of all pods
	if err != nil {
		return v, fmt.Errorf("bridge %s: %w", c.Bridge, err)
	}
	attrs := netlink.LinkAttrs{Name: v.host, MTU: c.MTU, TxQLen: -1, MasterIndex: bridge.Attrs().Index, Flags: net.FlagUp}
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: args.IfName, PeerHardwareAddr: v.mac, PeerNamespace: netlink.NsFd(ns)}
	err = netlink.LinkAdd(pair)
	if errors.Is(err, syscall.EEXIST) { // left by an ADD that was killed
		if err := removeVeth(args.ContainerID, args.IfName); err != nil {
			return v, err
		}
		err = netlink.LinkAdd(pair)
	}
	if err != nil {
		return v, fmt.Errorf("add interface %s to the pod and %s to bridge %s: %w", args.IfName, v.host, c.Bridge, err)
	}
	// A pod may reach itself by way of a Service or a host port.
	if err := netlink.LinkSetHairpin(pair, true); err != nil {
		return v, fmt.Errorf("hairpin mode of %s: %w", v.host, err)
	}
	inside, err := enter(ns)
	if err != nil {
		return v, err
	}
	defer inside.Close()
	link, err := inside.LinkByName(args.IfName)
	if err != nil {
		return v, fmt.Errorf("interface %s of the pod: %w", args.IfName, err)
	}
	address := ipNet(netip.PrefixFrom(pod, c.pods.Bits()))
	if err := inside.AddrAdd(link, &netlink.Addr{IPNet: &address}); err != nil {
		return v, fmt.Errorf("add address %s to %s of the pod: %w", &address, args.IfName, err)
	}
	if err := inside.LinkSetUp(link); err != nil {
		return v, fmt.Errorf("set %s of the pod up: %w", args.IfName, err)
	}
	if err := inside.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_UNIVERSE, Gw: c.gateway().AsSlice()}); err != nil {
		return v, fmt.Errorf("add default route by %s to the pod: %w", c.gateway(), err)
	}
	return v, nil
}

// plugged reports what is missing of what plug has made.
func (c *config) plugged(args *skel.CmdArgs, pod netip.Addr) error {
	host := hostName(args.ContainerID, args.IfName)
	if _, err := netlink.LinkByName(host); err != nil {
		return fmt.Errorf("interface %s: %w", host, err)
	}
	ns, err := netns.GetFromPath(args.Netns)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", args.Netns, err)
	}
	defer ns.Close()
	inside, err := enter(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	link, err := inside.LinkByName(args.IfName)
	if err != nil {
		return fmt.Errorf("interface %s of the pod: %w", args.IfName, err)
	}
	addresses, err := inside.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if a.IP.Equal(pod.AsSlice()) {
			return nil
		}
	}
	return fmt.Errorf("interface %s of the pod has not its address %s", args.IfName, pod)
}

// enter opens a netlink socket in the namespace.
func enter(ns netns.NsHandle) (*netlink.Handle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink in the pod's namespace: %w", err)
	}
	return h, nil
}

// removeVeth removes both ends. The pod's namespace may have taken them along already.
func removeVeth(id, ifName string) error {
	host := hostName(id, ifName)
	link, err := netlink.LinkByName(host)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", host, err)
	}
	return nil
}
