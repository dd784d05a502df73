// Package server is the composition root: it builds every part of Tenet in visible order, and stops them in reverse. Its own file for each of: the order
// (this one), the node, the address of the node, the connection to the node agent, stopping pods.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/klog/v2"

	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/apiserver/pki"
	"github.com/tenet-run/tenet/server/control"
	"github.com/tenet-run/tenet/store/embedded"
)

// Config is what `tenet up` and `tenet server` run.
type Config struct {
	DataDir string
	Bind    string // address of the API server's listener
	Port    int
	Names   []string // further names and addresses in its certificate
	Logger  *slog.Logger

	// Kubeconfig is where the administrator's kubeconfig is written. UserKubeconfig, when not "", gets a context of the name Context as well.
	Kubeconfig, UserKubeconfig, Context string

	// Node is this machine as a node; nil: none.
	Node *NodeConfig
	// Ready is called once, when everything is up, with the time since Run began.
	Ready func(elapsed time.Duration)
}

// The cluster's networks.
var (
	serviceCIDR = netip.MustParsePrefix("10.43.0.0/16")
	serviceIP   = netip.MustParseAddr("10.43.0.1")
	podCIDR     = netip.MustParsePrefix("10.42.0.0/16")
)

// ReadyFile holds the process id of a tenet that is ready.
func ReadyFile(dataDir string) string { return filepath.Join(dataDir, "ready") }

// Run serves until ctx ends. Pods outlive it.
func Run(ctx context.Context, cfg Config) (err error) {
	began := time.Now()
	log := cfg.Logger
	klog.SetSlogLogger(slog.New(library{log.Handler()}))
	tuneMemory()
	os.Remove(ReadyFile(cfg.DataDir))
	defer os.Remove(ReadyFile(cfg.DataDir))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	// What can fail for a reason that the user can mend comes first.
	listener, err := net.Listen("tcp", net.JoinHostPort(cfg.Bind, strconv.Itoa(cfg.Port)))
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	defer listener.Close()
	if cfg.Node != nil {
		if err := cfg.Node.complete(); err != nil {
			return err
		}
	}

	// The container runtime needs nothing of the others: it starts beside them.
	var node *node
	if cfg.Node != nil {
		node = startNode(ctx, cfg.DataDir, *cfg.Node, log)
		defer node.close()
	}

	st, err := embedded.Open(ctx, embedded.Options{Dir: filepath.Join(cfg.DataDir, "store"), Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()

	go watchOver(ctx, st, log)

	names := append([]string{serviceIP.String()}, cfg.Names...)
	names = append(names, ownNames(cfg)...)
	keys, err := pki.Ensure(filepath.Join(cfg.DataDir, "pki"), names)
	if err != nil {
		return err
	}
	url := "https://" + net.JoinHostPort(reachable(cfg.Bind), strconv.Itoa(cfg.Port))
	if err := keys.WriteKubeconfig(cfg.Kubeconfig, url, cfg.Context); err != nil {
		return err
	}

	var dialer connect.NodeDialer
	if node != nil {
		dialer = node.wire
	}
	plane, err := control.New(control.Config{
		Store: st, Logger: log, CA: keys.CAPEM(), ClientCAs: keys.ClientCAs(), TokenKey: keys.ServiceAccountKey(),
		FrontProxy: &control.FrontProxy{CA: keys.FrontProxyCAPEM(), Name: pki.FrontProxyName, Certificate: keys.FrontProxyCertificate},
		Nodes:      dialer, ServiceCIDR: serviceCIDR, ServiceIP: serviceIP, Port: cfg.Port, PodCIDR: podCIDR,
	})
	if err != nil {
		return err
	}
	defer plane.Close()

	web := plane.Web(keys.ServerTLS())
	serve := func(l net.Listener) {
		if err := web.ServeTLS(l); err != nil {
			cancel(err)
		}
	}
	go serve(listener)
	defer web.End()
	log.Info("API server listens", "address", listener.Addr().String(), "after", time.Since(began).Round(time.Millisecond))

	planeDone := make(chan struct{})
	go func() {
		defer close(planeDone)
		if err := plane.Run(ctx); err != nil {
			cancel(err)
		}
	}()
	defer func() { cancel(nil); <-planeDone }()

	select {
	case <-plane.Booted():
	case <-ctx.Done():
		return ended(ctx)
	}
	if ip := advertised(cfg); ip.IsValid() {
		if err := plane.Advertise(ctx, ip, cfg.Port); err != nil {
			return err
		}
	}
	if node != nil {
		// The agent's last statuses and events are written before the store closes.
		defer func() { cancel(nil); node.stopAgent() }()
		if err := node.run(ctx, plane, serve, cancel); err != nil {
			return err
		}
		if err := node.awaitReady(ctx, plane); err != nil {
			if ctx.Err() != nil {
				return ended(ctx)
			}
			return err
		}
	}
	if cfg.UserKubeconfig != "" {
		if _, err := keys.MergeKubeconfig(cfg.UserKubeconfig, cfg.Context, url); err != nil {
			log.Warn("your kubeconfig was not changed", "path", cfg.UserKubeconfig, "error", err)
		}
	}
	if err := os.WriteFile(ReadyFile(cfg.DataDir), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return err
	}
	if cfg.Ready != nil {
		cfg.Ready(time.Since(began))
	}
	<-ctx.Done()
	return ended(ctx)
}

// ended is why the context ended, or nil when that was asked for.
func ended(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// reachable is the address by which a client on this machine reaches a listener.
func reachable(bind string) string {
	if ip, err := netip.ParseAddr(bind); err != nil || ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return bind
}

// advertised is the address by which others reach this server: endpoint of Service default/kubernetes. Invalid when it listens to this machine alone.
func advertised(cfg Config) netip.Addr {
	if cfg.Node != nil {
		ip, _ := netip.ParseAddr(cfg.Node.IP) // complete has checked it
		return ip
	}
	ip, err := netip.ParseAddr(cfg.Bind)
	if err != nil || ip.IsUnspecified() {
		if ip, err = primaryAddress(); err != nil {
			return netip.Addr{}
		}
	}
	if ip.IsLoopback() {
		return netip.Addr{}
	}
	return ip
}

// ownNames are those by which this machine is known, for the certificate.
func ownNames(cfg Config) []string {
	var names []string
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	if ip, err := netip.ParseAddr(cfg.Bind); err == nil && !ip.IsUnspecified() {
		return append(names, ip.String())
	}
	if cfg.Node != nil {
		names = append(names, cfg.Node.Name, cfg.Node.IP)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return names
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || n.IP.IsLinkLocalUnicast() {
			continue
		}
		// The pods' bridge comes and goes; a certificate that changes with it serves nobody.
		if ip, ok := netip.AddrFromSlice(n.IP); ok && !podCIDR.Contains(ip.Unmap()) {
			names = append(names, ip.Unmap().String())
		}
	}
	return names
}
