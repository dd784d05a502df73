package apiserver_test

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/conversion"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/customresources"
	"github.com/tenet-run/tenet/apiserver/discovery"
	"github.com/tenet-run/tenet/apiserver/openapi"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/custom"
	"github.com/tenet-run/tenet/store"
)

// newCustomServer is an API server that knows custom kinds, with discovery and OpenAPI, on a store of its own.
func newCustomServer(t testing.TB, now func() time.Time) *apiserver.Server {
	t.Helper()
	return customServerOn(t, openStore(t), now)
}

func customServerOn(t testing.TB, st store.Store, now func() time.Time) *apiserver.Server {
	t.Helper()
	live := kinds.NewSet(all.Kinds()...)
	idle := &custom.Idle{}
	converters := func() (*conversion.CRConverterFactory, error) {
		return customresources.Converters(apiserver.NewReader(st))
	}
	r, err := customresources.New(customresources.Config{Store: st, Live: live, Custom: custom.Options{Idle: idle, Converters: converters}, Now: now, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	edge := http.NewServeMux()
	edge.Handle("/openapi/", openapi.New(openapi.Live(live)))
	groups := discovery.New(live, "", nil)
	for _, path := range []string{"/api", "/api/", "/apis", "/apis/"} {
		edge.Handle(path, groups)
	}
	s := newServer(t, func(c *apiserver.Config) {
		c.Store, c.Live, c.Committed, c.Admission, c.Extra, c.Now = st, live, r.Committed(), []admission.Plugin{r}, edge, now
	})
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = r.Run(ctx, s, &user.DefaultInfo{Name: "system:apiserver"}) })
	t.Cleanup(func() { cancel(); run.Wait(); idle.Close() })
	return s
}
