// Package portmap is the CNI plugin that gives pods their host ports, under the name and with the configuration that upstream's portmap has. Upstream's
// needs an iptables or nft program on the node; this one talks netlink to the table of [podnet].
package portmap

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/tenet-run/tenet/network/podnet"
)

type config struct {
	types.PluginConf
	Bridge        string `json:"bridge"`
	RuntimeConfig struct {
		PortMappings []struct {
			HostPort      int    `json:"hostPort"`
			ContainerPort int    `json:"containerPort"`
			Protocol      string `json:"protocol"`
			HostIP        string `json:"hostIP"`
		} `json:"portMappings"`
	} `json:"runtimeConfig"`
}

// Main runs the plugin: the command is in the environment, the configuration on standard input, as CNI says.
func Main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add, Del: del, Check: check}, version.All, "CNI plugin portmap of tenet")
}

// parse returns the configuration and the pod's addresses, which the plugin before this one in the chain has given.
func parse(stdin []byte) (*config, types.Result, []netip.Addr, error) {
	var c config
	if err := json.Unmarshal(stdin, &c); err != nil {
		return nil, nil, nil, fmt.Errorf("portmap: configuration: %w", err)
	}
	if c.RawPrevResult == nil {
		return &c, nil, nil, nil
	}
	if err := version.ParsePrevResult(&c.PluginConf); err != nil {
		return nil, nil, nil, fmt.Errorf("portmap: result of the plugin before: %w", err)
	}
	r, err := current.NewResultFromResult(c.PrevResult)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("portmap: result of the plugin before: %w", err)
	}
	var pods []netip.Addr
	for _, ip := range r.IPs {
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok && a.Unmap().Is4() {
			pods = append(pods, a.Unmap())
		}
	}
	return &c, c.PrevResult, pods, nil
}

func (c *config) ports() []podnet.HostPort {
	var ports []podnet.HostPort
	for _, m := range c.RuntimeConfig.PortMappings {
		if m.HostPort != 0 {
			ports = append(ports, podnet.HostPort{Protocol: m.Protocol, HostIP: m.HostIP, HostPort: m.HostPort, ContainerPort: m.ContainerPort})
		}
	}
	return ports
}

func add(args *skel.CmdArgs) error {
	c, prev, pods, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	if prev == nil {
		return fmt.Errorf("portmap: must run after a plugin that gives the pod an address")
	}
	if ports := c.ports(); len(ports) > 0 {
		if len(pods) == 0 {
			return fmt.Errorf("portmap: the pod has no IPv4 address")
		}
		if err := podnet.AddHostPorts(c.Bridge, pods[0], ports); err != nil {
			return err
		}
	}
	return types.PrintResult(prev, c.CNIVersion)
}

func del(args *skel.CmdArgs) error {
	c, _, pods, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	if len(c.ports()) == 0 {
		return nil
	}
	for _, pod := range pods {
		if err := podnet.RemoveHostPorts(c.Bridge, pod); err != nil {
			return err
		}
	}
	return nil
}

// check adds again: what is there already is left, what is missing comes back.
func check(args *skel.CmdArgs) error {
	c, _, pods, err := parse(args.StdinData)
	if err != nil || len(pods) == 0 {
		return err
	}
	return podnet.AddHostPorts(c.Bridge, pods[0], c.ports())
}
