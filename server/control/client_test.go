package control

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/client-go/rest"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/client/clienttest"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/store/embedded"
)

// running is a control plane without a scheduler, with its first objects made.
func running(t *testing.T, change ...func(*Config)) *Control {
	t.Helper()
	st, err := embedded.Open(t.Context(), embedded.Options{Dir: "store", FS: vfs.NewMem(), Logger: testLogger()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Store: st, Logger: testLogger(), WithoutScheduler: true, authenticator: asMaster{}}
	for _, f := range change {
		f(&cfg)
	}
	plane, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		plane.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	<-plane.Booted()
	return plane
}

// asMaster takes everybody who comes over HTTP for an administrator.
type asMaster struct{}

func (asMaster) AuthenticateRequest(*http.Request) (*authenticator.Response, bool, error) {
	return &authenticator.Response{User: systemUser}, true, nil
}

func TestInProcessClient(t *testing.T) {
	clienttest.Run(t, func(t *testing.T) clienttest.Subject {
		plane := running(t)
		return clienttest.Subject{Client: plane.Client(systemUser), Cache: plane.Cache}
	})
}

func TestRemoteClient(t *testing.T) {
	clienttest.Run(t, func(t *testing.T) clienttest.Subject {
		plane := running(t)
		web := httptest.NewUnstartedServer(plane.Handler())
		web.EnableHTTP2 = true
		web.StartTLS()
		t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
		c, err := client.Remote(&rest.Config{Host: web.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
		if err != nil {
			t.Fatal(err)
		}
		cache, err := client.NewRemoteCache(t.Context(), c, testLogger(), core.ConfigMap, core.Pod)
		if err != nil {
			t.Fatal(err)
		}
		return clienttest.Subject{Client: c, Cache: cache}
	})
}
