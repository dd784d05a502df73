// Package tenettest is Tenet's API server for other people's `go test`: the whole front door of a cluster, with or without controllers, in the test's own process, up in
// well under a tenth of a second.
//
//	func TestReconcile(t *testing.T) {
//		server := tenettest.Start(t)                         // or tenettest.Start(t, tenettest.Controllers())
//		c, err := client.New(server.Config, client.Options{}) // controller-runtime, client-go, kubectl with server.Kubeconfig
//		...
//	}
//
// In a project that uses envtest (sigs.k8s.io/controller-runtime/pkg/envtest), keep its Environment with all that it installs (CRDs, webhooks), and let it use this
// server instead of starting kube-apiserver and etcd:
//
//	env := &envtest.Environment{
//		CRDDirectoryPaths:  []string{"config/crd"},
//		UseExistingCluster: ptr.To(true),
//		Config:             tenettest.Start(t).Config,
//	}
//
// Every server is by itself: tests may run in parallel. It listens on 127.0.0.1, over TLS, and is gone when the test ends. Without [Controllers] nothing acts on what is
// declared, as with envtest: no pods of a Deployment, no garbage collection, no default ServiceAccounts (and pods need none).
package tenettest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"k8s.io/client-go/rest"

	"github.com/tenet-run/tenet/apiserver/pki"
	"github.com/tenet-run/tenet/server/control"
	"github.com/tenet-run/tenet/store/embedded"
)

// Server is a running API server.
type Server struct {
	// Config is for clients of the administrator (group system:masters). It is the caller's to copy and change.
	Config *rest.Config
	// Kubeconfig is a file with the same, for programs such as kubectl.
	Kubeconfig string

	keys   *pki.PKI
	cancel context.CancelFunc
	done   chan error
}

type options struct {
	controllers bool
	dir         string
	logger      *slog.Logger
}

// Option changes what Start starts.
type Option func(*options)

// Controllers runs Tenet's controllers and scheduler too. There is still no node: pods stay Pending unless the test plays the kubelet.
func Controllers() Option { return func(o *options) { o.controllers = true } }

// OnDisk keeps the objects in a folder, rather than in memory: another Start with the same folder goes on from there.
func OnDisk(dir string) Option { return func(o *options) { o.dir = dir } }

// Logger gets what the server logs. Without it, nothing is logged.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// Start runs a server until the test, with its cleanups, ends. It returns when the server is ready.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	keep := t.TempDir()
	s, err := start(keep, opts...)
	if err != nil {
		t.Fatalf("tenettest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("tenettest: %v", err)
		}
	})
	return s
}

// Run is Start outside of a test, for TestMain. The caller stops the server.
func Run(opts ...Option) (*Server, error) {
	keep, err := os.MkdirTemp("", "tenettest")
	if err != nil {
		return nil, err
	}
	s, err := start(keep, opts...)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(keep))
	}
	done := s.done
	s.done = make(chan error, 1)
	go func() { s.done <- errors.Join(<-done, os.RemoveAll(keep)) }()
	return s, nil
}

// start runs a server whose keys are in keep.
func start(keep string, opts ...Option) (*Server, error) {
	o := options{logger: slog.New(slog.DiscardHandler)}
	for _, set := range opts {
		set(&o)
	}
	where := embedded.Options{Dir: "store", FS: vfs.NewMem(), Logger: o.logger}
	pkiDir := filepath.Join(keep, "pki")
	if o.dir != "" {
		where.Dir, where.FS = filepath.Join(o.dir, "store"), nil
		pkiDir = filepath.Join(o.dir, "pki") // tokens outlive a restart
	}
	keys, err := pki.Ensure(pkiDir, []string{"127.0.0.1"})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	st, err := embedded.Open(ctx, where)
	if err != nil {
		cancel()
		return nil, err
	}
	fail := func(err error) (*Server, error) {
		cancel()
		return nil, errors.Join(err, st.Close())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	cfg := control.Config{
		Store: st, Logger: o.logger, CA: keys.CAPEM(), ClientCAs: keys.ClientCAs(), TokenKey: keys.ServiceAccountKey(), Port: listener.Addr().(*net.TCPAddr).Port,
		WithoutControllers: !o.controllers, WithoutScheduler: !o.controllers,
	}
	if !o.controllers {
		cfg.WithoutAdmission = []string{"ServiceAccount"} // nobody makes the accounts
	}
	plane, err := control.New(cfg)
	if err != nil {
		listener.Close()
		return fail(err)
	}
	url := "https://" + listener.Addr().String()
	s := &Server{keys: keys, cancel: cancel, done: make(chan error, 1), Kubeconfig: filepath.Join(keep, "kubeconfig")}
	if err := keys.WriteKubeconfig(s.Kubeconfig, url, "tenettest"); err != nil {
		listener.Close()
		return fail(err)
	}
	cert, key := keys.Admin()
	s.Config = s.config(url, cert, key)
	ready := make(chan struct{})
	go func() {
		err := plane.Serve(ctx, listener, keys.ServerTLS(), func() { close(ready) })
		plane.Close()
		s.done <- errors.Join(err, st.Close())
	}()
	select {
	case <-ready:
		return s, nil
	case err := <-s.done:
		cancel()
		return nil, fmt.Errorf("ended before it was ready: %w", err)
	}
}

func (s *Server) config(url string, cert, key []byte) *rest.Config {
	return &rest.Config{
		Host: url, QPS: -1, // a test is not to be throttled
		TLSClientConfig: rest.TLSClientConfig{CAData: s.keys.CAPEM(), CertData: cert, KeyData: key},
	}
}

// User is a client configuration of another user. What it may do is for RBAC to say.
func (s *Server) User(name string, groups ...string) (*rest.Config, error) {
	cert, key, err := s.keys.IssueClient(name, groups, 24*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("tenettest: user %s: %w", name, err)
	}
	return s.config(s.Config.Host, cert, key), nil
}

// Stop stops the server and returns when it has stopped. Only for servers of [Run], and for tests of what happens without a server; another Stop does nothing.
func (s *Server) Stop() error {
	s.cancel()
	err, ok := <-s.done
	if ok {
		close(s.done)
	}
	return err
}
