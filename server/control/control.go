// Package control is the control plane: store, API server, controllers and scheduler, composed in visible order. It listens nowhere and starts no container:
// package server adds the listener and the node, and tests run it as it is, also in a testing/synctest bubble.
package control

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/conversion"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/admission/policy"
	"github.com/tenet-run/tenet/apiserver/admission/webhook"
	"github.com/tenet-run/tenet/apiserver/aggregation"
	"github.com/tenet-run/tenet/apiserver/authn"
	"github.com/tenet-run/tenet/apiserver/authz"
	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/apiserver/customresources"
	"github.com/tenet-run/tenet/apiserver/services"
	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	allcontrollers "github.com/tenet-run/tenet/controllers/all"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/custom"
	"github.com/tenet-run/tenet/kinds/openapi"
	"github.com/tenet-run/tenet/scheduler"
	"github.com/tenet-run/tenet/store"
)

// Config is what a control plane is made of. Store is required.
type Config struct {
	Store  store.Store
	Logger *slog.Logger

	// CA is the certificate (PEM) that pods get in kube-root-ca.crt; ClientCAs checks client certificates; TokenKey signs service account tokens.
	// Without TokenKey there are no tokens.
	CA        []byte
	ClientCAs *x509.CertPool
	TokenKey  *ecdsa.PrivateKey
	// TokenIssuer and TokenAudiences are what tokens name; empty: the cluster's own.
	TokenIssuer    string
	TokenAudiences []string

	// FrontProxy is how this server shows itself to other API servers that it passes requests on to. Nil: it does not.
	FrontProxy *FrontProxy

	// Nodes reaches node agents, for logs, exec and their like. Nil: there are none.
	Nodes connect.NodeDialer

	// ServiceCIDR is where cluster addresses come from, ServiceIP that of default/kubernetes, Port where the API server listens.
	ServiceCIDR netip.Prefix
	ServiceIP   netip.Addr
	Port        int
	// PodCIDR is divided among nodes.
	PodCIDR netip.Prefix

	// WithoutControllers and WithoutScheduler leave these out.
	WithoutControllers, WithoutScheduler bool
	// WithoutAdmission names admission plugins that do not run.
	WithoutAdmission []string

	authenticator authenticator.Request // instead of certificates and tokens, for tests of this package
}

// FrontProxy is the identity by which other API servers believe who a request is from.
type FrontProxy struct {
	// CA (PEM) is what they check Certificate with; Name its common name.
	CA          []byte
	Name        string
	Certificate func() (*tls.Certificate, error)
}

// Control is a control plane.
type Control struct {
	Server *apiserver.Server
	Cache  client.Cache

	cfg      Config
	recorder *client.EventRecorder
	edge     *edge
	live     *kinds.Set
	custom   *customresources.Registry
	others   *aggregation.Registry
	idle     custom.Idle
	booted   chan struct{}
}

var systemUser = &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup, authz.ComponentsGroup}}

func (c *Config) complete() error {
	if c.Store == nil {
		return errors.New("control: no store")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if !c.ServiceCIDR.IsValid() {
		c.ServiceCIDR = netip.MustParsePrefix("10.43.0.0/16")
	}
	if !c.ServiceIP.IsValid() {
		c.ServiceIP = c.ServiceCIDR.Masked().Addr().Next()
	}
	if !c.PodCIDR.IsValid() {
		c.PodCIDR = netip.MustParsePrefix("10.42.0.0/16")
	}
	if c.Port == 0 {
		c.Port = 6443
	}
	return nil
}

// admission leaves out the plugins that are not wanted.
func (c *Config) admission(all []admission.Plugin) []admission.Plugin {
	return slices.DeleteFunc(all, func(p admission.Plugin) bool { return slices.Contains(c.WithoutAdmission, p.Name()) })
}

// New builds the control plane. Nothing runs before Run, but requests are served: until the first objects are made, /readyz says no.
func New(cfg Config) (*Control, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	c := &Control{cfg: cfg, booted: make(chan struct{})}
	read := apiserver.NewReader(cfg.Store)

	var tokens *authn.Tokens
	if cfg.TokenKey != nil {
		var err error
		if tokens, err = authn.NewTokens(authn.TokensConfig{Key: cfg.TokenKey, Issuer: cfg.TokenIssuer, Audiences: cfg.TokenAudiences}, read); err != nil {
			return nil, err
		}
	}
	addresses, err := services.New(services.Config{CIDR: cfg.ServiceCIDR, Reader: read})
	if err != nil {
		return nil, err
	}
	c.live = kinds.NewSet(all.Kinds()...)
	others := aggregation.Config{Reader: read, Live: c.live, Logger: cfg.Logger}
	if cfg.FrontProxy != nil {
		others.Certificate = cfg.FrontProxy.Certificate
	}
	c.others = aggregation.New(others)
	if c.edge, err = newEdge(c, c.live, c.others, tokens); err != nil {
		return nil, err
	}
	definitions := customresources.Config{Store: cfg.Store, Live: c.live, Logger: cfg.Logger, Custom: custom.Options{
		Idle: &c.idle, Converters: sync.OnceValues(func() (*conversion.CRConverterFactory, error) { return customresources.Converters(read) }),
	}}
	if c.custom, err = customresources.New(definitions); err != nil {
		return nil, err
	}
	gate := authz.New(cfg.Store, read)
	handlers := connectHandlers(cfg.Nodes, read, tokens, gate)
	hooks := webhook.Config{Reader: read, Changed: cfg.Store.Changed, Authorizer: gate, Log: cfg.Logger.Warn}
	policies := policy.Config{
		Reader: read, Changed: cfg.Store.Changed, Authorizer: gate,
		Kind: func(gvk schema.GroupVersionKind) (*kinds.Kind, *kinds.Served) { return c.Server.Kind(gvk) },
	}
	if cfg.authenticator == nil {
		cfg.authenticator = authn.New(authn.Config{ClientCAs: cfg.ClientCAs, Tokens: tokens})
	}
	committed := c.custom.Committed()
	maps.Copy(committed, c.others.Committed())
	c.Server, err = apiserver.New(apiserver.Config{
		Store: cfg.Store, Live: c.live, Committed: committed, Logger: cfg.Logger, Remote: c.others.At,
		Authenticator: cfg.authenticator,
		Authorizer:    gate,
		Admission: cfg.admission([]admission.Plugin{
			admission.NamespaceLifecycle(read),
			admission.LimitRanger(read),
			admission.ServiceAccount(read, cfg.Store.Watch),
			gate.NodeRestriction(),
			admission.Priority(read),
			admission.DefaultTolerationSeconds(),
			admission.TaintNodesByCondition(),
			admission.PodSecurity(read),
			admission.DefaultClasses(read),
			admission.StorageObjectInUseProtection(),
			admission.PersistentVolumeClaimResize(read),
			admission.RuntimeClass(read),
			admission.Certificates(gate),
			policy.Mutating(policies, openapi.TypeConverter()),
			webhook.Mutating(hooks),
			policy.Rights(policies),
			policy.Validating(policies),
			webhook.Validating(hooks),
			addresses,
			gate.Escalation(),
			c.custom,
			admission.ResourceQuota(read, time.Now),
		}),
		Connect: handlers,
		Extra:   c.edge,
		Observe: c.edge.metrics.Observe,
		Types:   openapi.TypeConverter(),
	})
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	c.Cache = client.InProcessCache(c.Server)
	c.recorder = client.NewRecorder(c.Client(systemUser), core.Event, "tenet", "", cfg.Logger)
	return c, nil
}

// Client is the API as a user, in process.
func (c *Control) Client(who user.Info) client.Client { return client.InProcess(c.Server, who) }

// Component is the API as one of Tenet's own parts.
func (c *Control) Component(name string, groups ...string) client.Client {
	return c.Client(&user.DefaultInfo{Name: name, Groups: append(groups, authz.ComponentsGroup, user.AllAuthenticated)})
}

// Agent is the API as the agent of a node, with the rights that any node agent has.
func (c *Control) Agent(node string) client.Client {
	return c.Client(&user.DefaultInfo{Name: "system:node:" + node, Groups: []string{user.NodesGroup, user.AllAuthenticated}})
}

// Recorder records events in the name of a component.
func (c *Control) Recorder(component string) *client.EventRecorder { return c.recorder.For(component) }

// ControllerList is all controllers as they are wired by default, for printing what they read and own.
func ControllerList() []controllers.Controller {
	return allcontrollers.Controllers(allcontrollers.Options{RootCA: []byte("printed"), Kinds: kinds.NewSet(all.Kinds()...), PodCIDR: netip.MustParsePrefix("10.42.0.0/16")})
}

// Controllers are those that Run runs.
func (c *Control) Controllers() []controllers.Controller {
	return allcontrollers.Controllers(allcontrollers.Options{RootCA: c.cfg.CA, Kinds: c.live, PodCIDR: c.cfg.PodCIDR})
}

// Port is where the API server listens.
func (c *Control) Port() int { return c.cfg.Port }

// Handler serves HTTP.
func (c *Control) Handler() http.Handler { return c.edge.metrics.Inflight(c.Server, longRunning) }

// longRunning tells watches and connections from requests that end soon.
func longRunning(r *http.Request) bool {
	if r.Header.Get("Upgrade") != "" {
		return true
	}
	q := r.URL.Query()
	return q.Get("watch") == "true" || q.Get("watch") == "1" || q.Get("follow") == "true"
}

// Booted is closed when the first objects are there.
func (c *Control) Booted() <-chan struct{} { return c.booted }

// Run makes the first objects and runs controllers and scheduler until ctx ends, and returns when all of it has stopped.
func (c *Control) Run(ctx context.Context) error {
	if err := c.bootstrap(ctx); err != nil {
		return fmt.Errorf("control: first objects: %w", err)
	}
	changed := c.live.Changes()
	if err := c.register(ctx, true); err != nil {
		return fmt.Errorf("control: APIServices of local groups: %w", err)
	}
	close(c.booted)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	part := func(name string, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("definitions", func(ctx context.Context) error { return c.custom.Run(ctx, c.Server, systemUser) })
	part("aggregation", func(ctx context.Context) error { return c.others.Run(ctx, c.Server, systemUser) })
	part("APIServices", func(ctx context.Context) error { return c.registerGroups(ctx, changed) })
	part("events", func(ctx context.Context) error { c.recorder.Run(ctx); return nil })
	if !c.cfg.WithoutControllers {
		part("controllers", func(ctx context.Context) error {
			return controllers.Run(ctx, controllers.Deps{
				Client: c.Component(user.KubeControllerManager), Cache: c.Cache, Logger: c.cfg.Logger,
				Recorders: func(component string) client.Recorder { return c.Recorder(component) },
			}, c.Controllers()...)
		})
	}
	if !c.cfg.WithoutScheduler {
		part("scheduler", scheduler.New(scheduler.Config{
			Client: c.Component(user.KubeScheduler), Cache: c.Cache, Recorder: c.Recorder("default-scheduler"), Logger: c.cfg.Logger,
		}).Run)
	}
	<-ctx.Done()
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close ends requests under way. The store is the caller's to close.
func (c *Control) Close() {
	c.Server.Close()
	c.idle.Close()
}

// Kinds is what is served now, custom kinds included.
func (c *Control) Kinds() *kinds.Set { return c.live }
