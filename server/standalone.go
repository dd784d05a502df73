package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"k8s.io/klog/v2"

	"github.com/tenet-run/tenet/server/control"
	"github.com/tenet-run/tenet/store/embedded"
)

// StandaloneConfig is an API server by itself, without controllers, scheduler and node, with keys that somebody else has made: what kube-apiserver is to envtest.
type StandaloneConfig struct {
	StoreDir string
	Address  string // host:port to listen on
	Logger   *slog.Logger

	Serving        tls.Certificate
	ClientCAs      *x509.CertPool // of client certificates; nil: there are none
	CA             []byte         // PEM, for kube-root-ca.crt
	TokenKey       *ecdsa.PrivateKey
	TokenIssuer    string
	TokenAudiences []string

	ServiceCIDR      netip.Prefix
	WithoutAdmission []string
}

// RunStandalone serves until ctx ends.
func RunStandalone(ctx context.Context, cfg StandaloneConfig) (err error) {
	began := time.Now()
	klog.SetSlogLogger(slog.New(library{cfg.Logger.Handler()}))
	tuneMemory()
	listener, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return fmt.Errorf("API server: %w", err)
	}
	defer listener.Close()
	st, err := embedded.Open(ctx, embedded.Options{Dir: cfg.StoreDir, Logger: cfg.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	plane, err := control.New(control.Config{
		Store: st, Logger: cfg.Logger, CA: cfg.CA, ClientCAs: cfg.ClientCAs,
		TokenKey: cfg.TokenKey, TokenIssuer: cfg.TokenIssuer, TokenAudiences: cfg.TokenAudiences,
		ServiceCIDR: cfg.ServiceCIDR, Port: listener.Addr().(*net.TCPAddr).Port,
		WithoutControllers: true, WithoutScheduler: true, WithoutAdmission: cfg.WithoutAdmission,
	})
	if err != nil {
		return err
	}
	defer plane.Close()
	return plane.Serve(ctx, listener, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{cfg.Serving},
		ClientAuth: tls.RequestClientCert, ClientCAs: cfg.ClientCAs, DynamicRecordSizingDisabled: true,
	}, func() {
		cfg.Logger.Info("ready", "after", time.Since(began).Round(time.Millisecond), "address", listener.Addr().String())
	})
}
