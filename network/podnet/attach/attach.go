//go:build linux

// Package attach is the CNI plugin tenet-bridge: it joins a pod to its node's bridge, gives it an address of the node's range and leads its host ports
// there. It does in one execution what upstream's bridge, host-local and portmap do in three; docs/decisions/2026-11-26-one-plugin.md says what that saves.
//
// [podnet.Ensure] has made the bridge and the rules of the node, and writes the configuration that the container runtime hands to the plugin.
//
// # Guarantees
//
//   - An address belongs to one container at a time, also when plugins run beside each other or are killed; it is given again as late as possible.
//   - ADD that fails leaves nothing. DEL may be repeated, and needs neither the network namespace nor what ADD has printed.
//   - What upstream's plugins gave, DEL takes back: leases have host-local's form and place.
package attach

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/tenet-run/tenet/network/podnet"
)

// config is the plugin's part of the conflist.
type config struct {
	types.PluginConf
	Bridge        string `json:"bridge"`
	MTU           int    `json:"mtu"`
	Subnet        string `json:"subnet"`  // the node's range; its first address is the gateway
	DataDir       string `json:"dataDir"` // leases are below, in a directory with the network's name
	RuntimeConfig struct {
		PortMappings []struct {
			HostPort      int    `json:"hostPort"`
			ContainerPort int    `json:"containerPort"`
			Protocol      string `json:"protocol"`
			HostIP        string `json:"hostIP"`
		} `json:"portMappings"`
	} `json:"runtimeConfig"`

	pods   netip.Prefix
	leases leases
}

// Main runs the plugin: the command is in the environment, the configuration on standard input, as CNI says.
func Main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add, Del: del, Check: check}, version.All, "CNI plugin tenet-bridge")
}

func parse(stdin []byte) (*config, error) {
	c := &config{}
	if err := json.Unmarshal(stdin, c); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	pods, err := netip.ParsePrefix(c.Subnet)
	if err != nil {
		return nil, fmt.Errorf("configuration: subnet: %w", err)
	}
	if !pods.Addr().Is4() || c.Bridge == "" || c.Name == "" || !filepath.IsAbs(c.DataDir) {
		return nil, fmt.Errorf("configuration: bridge %q, network %q, subnet %q (must be IPv4), dataDir %q (must be absolute)", c.Bridge, c.Name, c.Subnet, c.DataDir)
	}
	c.pods, c.leases = pods.Masked(), leases(filepath.Join(c.DataDir, c.Name))
	return c, nil
}

func (c *config) gateway() netip.Addr { return c.pods.Addr().Next() }

func (c *config) ports() []podnet.HostPort {
	var ports []podnet.HostPort
	for _, m := range c.RuntimeConfig.PortMappings {
		if m.HostPort != 0 {
			ports = append(ports, podnet.HostPort{Protocol: m.Protocol, HostIP: m.HostIP, HostPort: m.HostPort, ContainerPort: m.ContainerPort})
		}
	}
	return ports
}

func add(args *skel.CmdArgs) (err error) {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	pod, err := c.leases.take(c.pods, args.ContainerID, args.IfName)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeVeth(args.ContainerID, args.IfName), c.leases.release(args.ContainerID, args.IfName))
		}
	}()
	v, err := c.plug(args, pod)
	if err != nil {
		return err
	}
	if err := podnet.AddHostPorts(c.Bridge, pod, c.ports()); err != nil {
		return err
	}
	sandbox := 1
	return types.PrintResult(&current.Result{
		CNIVersion: c.CNIVersion,
		Interfaces: []*current.Interface{{Name: v.host}, {Name: args.IfName, Mac: v.mac.String(), Mtu: c.MTU, Sandbox: args.Netns}},
		IPs:        []*current.IPConfig{{Interface: &sandbox, Address: ipNet(netip.PrefixFrom(pod, c.pods.Bits())), Gateway: c.gateway().AsSlice()}},
		Routes:     []*types.Route{{Dst: net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, GW: c.gateway().AsSlice()}},
	}, c.CNIVersion)
}

// del gives everything back. Host ports go before the address: another pod may have it at once.
func del(args *skel.CmdArgs) error {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	if len(c.ports()) > 0 {
		pods, err := c.leases.of(args.ContainerID, args.IfName)
		if err != nil {
			return err
		}
		for _, pod := range pods {
			if err := podnet.RemoveHostPorts(c.Bridge, pod); err != nil {
				return err
			}
		}
	}
	if err := removeVeth(args.ContainerID, args.IfName); err != nil {
		return err
	}
	return c.leases.release(args.ContainerID, args.IfName)
}

// check also leads host ports to the pod that have been lost.
func check(args *skel.CmdArgs) error {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	pods, err := c.leases.of(args.ContainerID, args.IfName)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return fmt.Errorf("container %s has no address in %s", args.ContainerID, c.leases)
	}
	if err := c.plugged(args, pods[0]); err != nil {
		return err
	}
	return podnet.AddHostPorts(c.Bridge, pods[0], c.ports())
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
