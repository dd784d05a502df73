// Package podnet gives every pod of a node an address, through CNI: a bridge, addresses from the node's range, host ports, and masquerading for what
// leaves the cluster. It is part of "execute": the kubelet says which range is the node's, the container runtime calls the plugin (package attach).
//
// [Ensure] writes the CNI configuration and the rules that hold for the whole node; it may be called again at any time and changes only what differs.
// [Cleanup] takes everything away again that this package or the plugin made.
//
// Everything goes through netlink: no ip, nft or iptables program is needed. Rules live in a table of our own, so other users of nftables are not touched.
// Where another firewall drops forwarded packets by default (Docker sets such a policy), pods reach the outside only when it lets the bridge pass.
package podnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// Config is the pod network of one node. Two nodes on one machine differ in Bridge, PodCIDR and directories.
type Config struct {
	Bridge      string // name of the bridge, at most 15 bytes; tenet0
	PodCIDR     string // the node's own range: 10.42.N.0/24
	ClusterCIDR string // all pods: traffic to these keeps the pod's address; empty: PodCIDR
	MTU         int    // of pods' interfaces; 0: of the node's default route, or 1500

	CNIConfDir string // the conflist is written here
	DataDir    string // leases of addresses are here
}

// Plugin is the name of the CNI plugin that joins pods to the bridge: cmd/tenet-bridge.
const Plugin = "tenet-bridge"

const (
	confName    = "10-tenet.conflist"
	networkName = "tenet"
)

func (c *Config) complete() (netip.Prefix, error) {
	if c.Bridge == "" {
		c.Bridge = "tenet0"
	}
	if len(c.Bridge) > 15 {
		return netip.Prefix{}, fmt.Errorf("bridge name %q is longer than 15 bytes", c.Bridge)
	}
	pods, err := netip.ParsePrefix(c.PodCIDR)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("pod range: %w", err)
	}
	if !pods.Addr().Is4() {
		return netip.Prefix{}, fmt.Errorf("pod range %s: only IPv4 is supported", pods)
	}
	if c.ClusterCIDR == "" {
		c.ClusterCIDR = c.PodCIDR
	}
	if !filepath.IsAbs(c.CNIConfDir) || !filepath.IsAbs(c.DataDir) {
		return netip.Prefix{}, fmt.Errorf("directories must be absolute: %q, %q", c.CNIConfDir, c.DataDir)
	}
	return pods.Masked(), nil
}

// Ensure makes the node ready to give its pods addresses.
func Ensure(ctx context.Context, c Config) error {
	pods, err := c.complete()
	if err != nil {
		return fmt.Errorf("pod network: %w", err)
	}
	cluster, err := netip.ParsePrefix(c.ClusterCIDR)
	if err != nil {
		return fmt.Errorf("pod network: cluster range: %w", err)
	}
	if err := setSysctl("net/ipv4/ip_forward", "1"); err != nil {
		return fmt.Errorf("pod network: %w", err)
	}
	if c.MTU == 0 {
		c.MTU = defaultMTU()
	}
	if err := ensureBridge(c.Bridge, pods, c.MTU); err != nil {
		return fmt.Errorf("pod network: bridge %s: %w", c.Bridge, err)
	}
	if err := ensureRules(c.Bridge, pods, cluster.Masked()); err != nil {
		return fmt.Errorf("pod network: nftables: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := writeConf(c, pods); err != nil {
		return fmt.Errorf("pod network: %w", err)
	}
	return nil
}

// Cleanup removes the bridge, the rules, the leases and the configuration. Pods must be gone: they lose their network.
func Cleanup(c Config) error {
	if _, err := c.complete(); err != nil {
		return fmt.Errorf("pod network: %w", err)
	}
	return errors.Join(
		removeLink(c.Bridge),
		removeRules(c.Bridge),
		remove(filepath.Join(c.CNIConfDir, confName)),
		os.RemoveAll(c.DataDir),
	)
}

// conflist is what the container runtime hands to the plugins.
func conflist(c Config, pods netip.Prefix) ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"cniVersion": "1.0.0",
		"name":       networkName,
		"plugins": []object{
			{
				"type": Plugin, "bridge": c.Bridge, "mtu": c.MTU, "subnet": pods.String(), "dataDir": c.DataDir,
				"capabilities": object{"portMappings": true},
			},
		},
	}, "", "  ")
}

func writeConf(c Config, pods netip.Prefix) error {
	b, err := conflist(c, pods)
	if err != nil {
		return err
	}
	path := filepath.Join(c.CNIConfDir, confName)
	if old, err := os.ReadFile(path); err == nil && string(old) == string(b) {
		return nil
	}
	if err := os.MkdirAll(c.CNIConfDir, 0o755); err != nil {
		return err
	}
	// A reader must never see half a file: the runtime loads it as soon as it appears.
	tmp := filepath.Join(c.CNIConfDir, "."+confName)
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
