package podnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// HostPort is a port of the node that leads to a pod.
type HostPort struct {
	Protocol      string // tcp, udp or sctp, in any case
	HostIP        string // empty: every address of the node
	HostPort      int
	ContainerPort int
}

func (p HostPort) String() string { return fmt.Sprintf("%s:%d/%s", p.HostIP, p.HostPort, p.Protocol) }

var protocols = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}

// element is a host port in the map; every part of a concatenation is padded to 4 bytes.
func (p HostPort) element(pod netip.Addr) (nftables.SetElement, error) {
	var e nftables.SetElement
	proto, ok := protocols[strings.ToLower(p.Protocol)]
	if !ok {
		return e, fmt.Errorf("host port %s: unknown protocol", p)
	}
	host := netip.IPv4Unspecified()
	if p.HostIP != "" {
		var err error
		if host, err = netip.ParseAddr(p.HostIP); err != nil || !host.Is4() {
			return e, fmt.Errorf("host port %s: host address must be IPv4", p)
		}
	}
	port := func(n int) []byte { return []byte{byte(n >> 8), byte(n), 0, 0} }
	e.Key = slices.Concat([]byte{proto, 0, 0, 0}, port(p.HostPort), host.AsSlice())
	e.Val = slices.Concat(pod.AsSlice(), port(p.ContainerPort))
	return e, nil
}

// AddHostPorts leads the ports to the pod, all or none. Adding the same again is harmless; a port that leads to another pod is an error.
func AddHostPorts(bridge string, pod netip.Addr, ports []HostPort) error {
	if len(ports) == 0 {
		return nil
	}
	var elements []nftables.SetElement
	for _, p := range ports {
		e, err := p.element(pod)
		if err != nil {
			return err
		}
		elements = append(elements, e)
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	if err := c.SetAddElements(hostPorts(table(bridge)), elements); err != nil {
		return err
	}
	switch err := c.Flush(); {
	case errors.Is(err, syscall.EEXIST):
		return fmt.Errorf("host ports %v: taken by another pod", ports)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("host ports %v: the node's pod network is not set up", ports)
	case err != nil:
		return fmt.Errorf("host ports %v: %w", ports, err)
	}
	return nil
}

// RemoveHostPorts takes away every host port that leads to the pod.
func RemoveHostPorts(bridge string, pod netip.Addr) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	m := hostPorts(table(bridge))
	all, err := c.GetSetElements(m)
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("host ports of %s: %w", pod, err)
	}
	var mine []nftables.SetElement
	for _, e := range all {
		if len(e.Val) >= 4 && slices.Equal(e.Val[:4], pod.AsSlice()) {
			mine = append(mine, nftables.SetElement{Key: e.Key, Val: e.Val})
		}
	}
	if len(mine) == 0 {
		return nil
	}
	if err := c.SetDeleteElements(m, mine); err != nil {
		return err
	}
	if err := c.Flush(); err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("host ports of %s: %w", pod, err)
	}
	return nil
}
