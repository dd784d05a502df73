package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// storePath is where a tenet under the name etcd says which folder is the store's.
const storePath = "/tenet.run/store"

type storeLocation struct {
	Dir string `json:"dir"`
}

// etcdCommand answers to the name etcd, for envtest: it holds a data directory, says that it is healthy, and tells the tenet under the name kube-apiserver where the
// directory is. It speaks no etcd: Tenet's store is part of its API server.
func etcdCommand() *cobra.Command {
	var data, listen, advertise, peers string
	var noFsync bool
	c := &cobra.Command{
		Use: "etcd", Short: "The place of Tenet's store, with etcd's flags, for envtest", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		Long: "Holds the data directory of a tenet under the name kube-apiserver. It speaks no etcd.",
		RunE: func(c *cobra.Command, _ []string) error {
			u, err := url.Parse(listen)
			if err != nil || u.Scheme != "http" || u.Host == "" {
				return fmt.Errorf("--listen-client-urls %q: use one http URL of this machine", listen)
			}
			dir, err := filepath.Abs(data)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			l, err := net.Listen("tcp", u.Host)
			if err != nil {
				return err
			}
			return serveStorePlace(c.Context(), l, filepath.Join(dir, "tenet"))
		},
	}
	s := c.Flags()
	s.StringVar(&data, "data-dir", "default.etcd", "folder of the data")
	s.StringVar(&listen, "listen-client-urls", "http://localhost:2379", "where kube-apiserver asks")
	s.StringVar(&advertise, "advertise-client-urls", "", "accepted")
	s.StringVar(&peers, "listen-peer-urls", "", "accepted; there are no peers")
	s.BoolVar(&noFsync, "unsafe-no-fsync", false, "accepted; writes are synced all the same")
	return c
}

func serveStorePlace(ctx context.Context, l net.Listener, dir string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"health":"true"}`) })
	mux.HandleFunc(storePath, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(storeLocation{dir}) })
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		web.Close()
	}()
	if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
