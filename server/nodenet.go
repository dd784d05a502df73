package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/tenet-run/tenet/network/podnet"
)

// podNetwork makes the network of this node's pods, as soon as their range is known.
func (n *node) podNetwork(cidr string) error {
	return podnet.Ensure(context.Background(), networkConfig(n.data, n.cfg, cidr))
}

func networkConfig(dataDir string, cfg NodeConfig, cidr string) podnet.Config {
	return podnet.Config{
		Bridge: cfg.Bridge, PodCIDR: cidr, ClusterCIDR: podCIDR.String(),
		CNIConfDir: filepath.Join(cfg.RunDir, "cni"), DataDir: filepath.Join(dataDir, "cni"),
	}
}

// serviceAddress puts the address of the Service default/kubernetes on this node and serves the API there, on the port that pods are told.
func (n *node) serviceAddress(serve func(net.Listener)) error {
	if err := podnet.EnsureServiceAddress(serviceIP); err != nil {
		return err
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(serviceIP, 443).String())
	if err != nil {
		return fmt.Errorf("API server at the address that pods use: %w", err)
	}
	go serve(l)
	return nil
}
