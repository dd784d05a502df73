package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/util/keyutil"

	"github.com/tenet-run/tenet/server"
)

// kubeAPIServerFlags are those flags of kube-apiserver that mean something here.
type kubeAPIServerFlags struct {
	etcd                       []string
	certDir, certFile, keyFile string
	bind, advertise            string
	port                       int
	clientCA                   string
	issuers, audiences         []string
	tokenKeys                  []string
	signingKey                 string
	cidr                       string
	disable, enable, modes     []string
	features, runtimeConfig    string
	allowPrivileged            bool
	verbosity                  int
}

// kubeAPIServerCommand answers to the name kube-apiserver, so that envtest (sigs.k8s.io/controller-runtime) runs on Tenet when KUBEBUILDER_ASSETS names a folder with
// links to it. It is the API server without controllers; its store is in the data directory of the process that answers to the name etcd.
func kubeAPIServerCommand() *cobra.Command {
	var f kubeAPIServerFlags
	c := &cobra.Command{
		Use: "kube-apiserver", Short: "Tenet's API server with kube-apiserver's flags, for envtest", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		Long: "Tenet's API server with those of kube-apiserver's flags that envtest and its users set. The store is that of --etcd-servers, which must be Tenet too (a link named etcd).",
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	s := c.Flags()
	s.StringSliceVar(&f.etcd, "etcd-servers", nil, "URL of the store: tenet under the name etcd")
	s.StringVar(&f.certDir, "cert-dir", "/var/run/kubernetes", "folder of apiserver.crt and apiserver.key")
	s.StringVar(&f.certFile, "tls-cert-file", "", "certificate to serve with, instead of that in --cert-dir")
	s.StringVar(&f.keyFile, "tls-private-key-file", "", "its key")
	s.StringVar(&f.bind, "bind-address", "0.0.0.0", "address to listen on")
	s.StringVar(&f.advertise, "advertise-address", "", "accepted; the address is known only to Service kubernetes, which nobody here serves")
	s.IntVar(&f.port, "secure-port", 6443, "port to listen on")
	s.StringVar(&f.clientCA, "client-ca-file", "", "authority of client certificates")
	s.StringSliceVar(&f.issuers, "service-account-issuer", nil, "issuer of service account tokens")
	s.StringSliceVar(&f.audiences, "api-audiences", nil, "audiences of tokens that this server answers to (default: the issuer)")
	s.StringSliceVar(&f.tokenKeys, "service-account-key-file", nil, "accepted; tokens are checked with the signing key")
	s.StringVar(&f.signingKey, "service-account-signing-key-file", "", "key that signs service account tokens (ECDSA P-256)")
	s.StringVar(&f.cidr, "service-cluster-ip-range", "10.0.0.0/24", "where cluster addresses come from")
	s.StringSliceVar(&f.disable, "disable-admission-plugins", nil, "admission plugins that do not run")
	s.StringSliceVar(&f.enable, "enable-admission-plugins", nil, "accepted; all plugins that Tenet has run unless they are disabled")
	s.StringSliceVar(&f.modes, "authorization-mode", []string{"RBAC"}, "Node and RBAC, which are always there")
	s.StringVar(&f.features, "feature-gates", "", "accepted; Tenet has no gates, features are as they are by default")
	s.StringVar(&f.runtimeConfig, "runtime-config", "", "accepted; all versions that Tenet knows are served")
	s.BoolVar(&f.allowPrivileged, "allow-privileged", true, "accepted; privileged containers are always allowed")
	s.IntVarP(&f.verbosity, "v", "v", 0, "log level: 4 and more is debug")
	return c
}

func (f *kubeAPIServerFlags) run(c *cobra.Command) error {
	level := slog.LevelInfo
	if f.verbosity >= 4 {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log)
	if len(f.etcd) == 0 {
		return errors.New("--etcd-servers is needed: the URL of a tenet that runs under the name etcd")
	}
	for _, m := range f.modes {
		if m != "RBAC" && m != "Node" {
			return fmt.Errorf("--authorization-mode %s: only Node and RBAC are there", m)
		}
	}
	for _, name := range []string{"feature-gates", "runtime-config"} {
		if c.Flags().Changed(name) {
			log.Warn("flag has no effect", "flag", "--"+name)
		}
	}
	cfg := server.StandaloneConfig{Address: net.JoinHostPort(f.bind, strconv.Itoa(f.port)), Logger: log, TokenAudiences: f.audiences, WithoutAdmission: f.disable}
	var err error
	if cfg.StoreDir, err = storeOf(c.Context(), f.etcd[0]); err != nil {
		return err
	}
	if cfg.ServiceCIDR, err = netip.ParsePrefix(strings.Split(f.cidr, ",")[0]); err != nil {
		return fmt.Errorf("--service-cluster-ip-range %q: use an address range such as 10.0.0.0/24", f.cidr)
	}
	if f.certFile == "" && f.keyFile == "" {
		f.certFile, f.keyFile = filepath.Join(f.certDir, "apiserver.crt"), filepath.Join(f.certDir, "apiserver.key")
	}
	if cfg.Serving, err = tls.LoadX509KeyPair(f.certFile, f.keyFile); err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	if cfg.CA, err = os.ReadFile(f.certFile); err != nil {
		return err
	}
	if f.clientCA != "" {
		pem, err := os.ReadFile(f.clientCA)
		if err != nil {
			return fmt.Errorf("--client-ca-file: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--client-ca-file %s holds no certificate in PEM form", f.clientCA)
		}
	}
	if len(f.issuers) > 0 {
		cfg.TokenIssuer = f.issuers[0]
	}
	if f.signingKey != "" {
		key, err := keyutil.PrivateKeyFromFile(f.signingKey)
		if err != nil {
			return fmt.Errorf("--service-account-signing-key-file: %w", err)
		}
		signing, ok := key.(*ecdsa.PrivateKey)
		if !ok {
			return fmt.Errorf("--service-account-signing-key-file %s holds a %T: Tenet signs with ECDSA P-256", f.signingKey, key)
		}
		cfg.TokenKey = signing
	}
	return server.RunStandalone(c.Context(), cfg)
}

// storeOf asks the process that answers to the name etcd where its data directory is.
func storeOf(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+storePath, nil)
	if err != nil {
		return "", fmt.Errorf("--etcd-servers %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("--etcd-servers: %w", err)
	}
	defer resp.Body.Close()
	var at storeLocation
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&at) != nil || at.Dir == "" {
		return "", fmt.Errorf("--etcd-servers %s is not a tenet under the name etcd: Tenet keeps its own store, put links named etcd and kube-apiserver to the tenet program side by side", url)
	}
	return at.Dir, nil
}
