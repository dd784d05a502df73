package aggregation

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/transport"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiregistration"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// API is what the loop reads and writes through: *apiserver.Server.
type API interface {
	GetObject(ctx context.Context, who user.Info, k *kinds.Kind, namespace, name string) (kinds.Object, error)
	UpdateObject(ctx context.Context, who user.Info, k *kinds.Kind, obj kinds.Object, subresource string, opts metav1.UpdateOptions) (kinds.Object, error)
	FollowObjects(ctx context.Context, k *kinds.Kind, namespace string, selector labels.Selector, fields map[string]string,
		handle func(old, obj kinds.Object), synced func()) error
}

// Pauses between looks at a server that is not available.
const (
	firstPause = time.Second
	longPause  = 30 * time.Second
)

// checkTimeout bounds one look.
const checkTimeout = 5 * time.Second

// Run keeps the condition Available of the APIServices that name a Service, until ctx ends. who must be allowed everything.
func (r *Registry) Run(ctx context.Context, api API, who user.Info) error {
	var work sync.WaitGroup
	defer work.Wait()
	looked := map[*backend]bool{}
	for {
		now := map[*backend]bool{}
		if t := r.table.Load(); t != nil {
			for _, m := range t.remotes {
				now[m.backend] = true
				if !looked[m.backend] {
					work.Go(func() { r.lookAfter(ctx, api, who, m) })
				}
			}
		}
		looked = now
		select {
		case <-r.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lookAfter keeps the condition of one APIService as long as its spec stays.
func (r *Registry) lookAfter(ctx context.Context, api API, who user.Info, m *remote) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-m.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	b := m.backend
	var followers sync.WaitGroup
	defer followers.Wait()
	defer cancel()
	follow := func(k *kinds.Kind, sel labels.Selector, fields map[string]string) {
		followers.Go(func() {
			for ctx.Err() == nil { // again when the follower was outrun
				api.FollowObjects(ctx, k, b.service.Namespace, sel, fields, func(_, _ kinds.Object) { b.doubt() }, b.doubt)
			}
		})
	}
	follow(core.Service, nil, map[string]string{"metadata.name": b.service.Name})
	follow(core.Endpoints, nil, map[string]string{"metadata.name": b.service.Name})
	follow(discovery.EndpointSlice, labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: b.service.Name}), nil)
	pause := firstPause
	for {
		c := r.check(ctx, m)
		if ctx.Err() != nil {
			return
		}
		err := r.write(ctx, api, who, m, c)
		if err != nil && ctx.Err() == nil {
			r.cfg.Logger.Warn("the availability of an APIService could not be written", "apiservice", m.object.Name, "error", err)
		}
		var again <-chan time.Time
		if err != nil || c.Status != apiregistrationv1.ConditionTrue && c.Reason == "FailedDiscoveryCheck" {
			t := time.NewTimer(pause)
			defer t.Stop()
			again = t.C
			pause = min(2*pause, longPause)
		} else {
			pause = firstPause
		}
		select {
		case <-b.poke:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// check looks at one server.
func (r *Registry) check(ctx context.Context, m *remote) apiregistrationv1.APIServiceCondition {
	b := m.backend
	no := func(reason, format string, args ...any) apiregistrationv1.APIServiceCondition {
		return apiregistrationv1.APIServiceCondition{
			Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionFalse, LastTransitionTime: metav1.NewTime(r.cfg.Now()),
			Reason: reason, Message: fmt.Sprintf(format, args...),
		}
	}
	name, namespace := b.service.Name, b.service.Namespace
	obj, ok := r.cfg.Reader.Peek(core.Service, namespace, name)
	if !ok {
		return no("ServiceNotFound", "service/%s in %q is not present", name, namespace)
	}
	if svc := obj.(*corev1.Service); svc.Spec.Type == corev1.ServiceTypeClusterIP {
		i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == b.port })
		if i < 0 {
			return no("ServicePortError", "service/%s in %q is not listening on port %d", name, namespace, b.port)
		}
		list := r.cfg.Reader.PeekList(discovery.EndpointSlice, namespace, labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name}))
		_, old := r.cfg.Reader.Peek(core.Endpoints, namespace, name)
		if len(list) == 0 && !old {
			return no("EndpointsNotFound", "cannot find endpointslices for service/%s in %q", name, namespace)
		}
		if len(list) > 0 && !slices.ContainsFunc(list, func(o kinds.Object) bool { return ready(o.(*discoveryv1.EndpointSlice), svc.Spec.Ports[i].Name) }) {
			return no("MissingEndpoints", "endpointslices for service/%s in %q have no addresses with port name %q", name, namespace, svc.Spec.Ports[i].Name)
		}
	}
	if err := b.discover(ctx, m); err != nil {
		b.transport.CloseIdleConnections()
		return no("FailedDiscoveryCheck", "%s", err)
	}
	return apiregistrationv1.APIServiceCondition{
		Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue, LastTransitionTime: metav1.NewTime(r.cfg.Now()),
		Reason: "Passed", Message: "all checks passed",
	}
}

func ready(s *discoveryv1.EndpointSlice, port string) bool {
	return slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }) &&
		slices.ContainsFunc(s.Ports, func(p discoveryv1.EndpointPort) bool { return p.Name != nil && *p.Name == port && p.Port != nil })
}

// discover asks for what every server must answer.
func (b *backend) discover(ctx context.Context, m *remote) error {
	if b.err != nil {
		return b.err
	}
	path := "/apis/" + m.gv.Group + "/" + m.gv.Version
	if m.gv.Group == "" {
		path = "/api/" + m.gv.Version
	}
	at := b.location(path, "")
	code, err := b.get(ctx, at.Path, nil, func(*http.Response) error { return nil })
	if err != nil {
		return fmt.Errorf("failing or missing response from %v: %w", at, err)
	}
	if code < 200 || code >= 300 {
		return fmt.Errorf("failing or missing response from %v: bad status from %v: %d", at, at, code)
	}
	return nil
}

// get asks the backend for something in this server's own name.
func (b *backend) get(ctx context.Context, path string, header http.Header, read func(*http.Response) error) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.location(path, "").String(), nil)
	if err != nil {
		return 0, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	transport.SetAuthProxyHeaders(req, "system:kube-aggregator", "", []string{user.SystemPrivilegedGroup}, nil)
	resp, err := b.transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, read(resp)
}

// write sets the condition, unless it is so already.
func (r *Registry) write(ctx context.Context, api API, who user.Info, m *remote, c apiregistrationv1.APIServiceCondition) error {
	for {
		obj, err := api.GetObject(ctx, who, apiregistration.APIService, "", m.object.Name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if obj.GetUID() != m.object.UID {
			return nil
		}
		a := obj.DeepCopyObject().(*apiregistrationv1.APIService)
		if !apiregistration.SetCondition(a, c) {
			return nil
		}
		_, err = api.UpdateObject(ctx, who, apiregistration.APIService, a, "status", metav1.UpdateOptions{})
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}
