package customresources

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/conversion"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/rest"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// patienceForWebhooks bounds one call of a conversion webhook. Readers of the object wait meanwhile.
const patienceForWebhooks = 30 * time.Second

// Converters makes what calls conversion webhooks: upstream's client, which finds the addresses of Services in the store.
func Converters(read admission.Reader) (*conversion.CRConverterFactory, error) {
	f, err := conversion.NewCRConverterFactory(resolver{read}, func(webhook.AuthenticationInfoResolver) webhook.AuthenticationInfoResolver {
		return &webhook.AuthenticationInfoResolverDelegator{
			ClientConfigForFunc: func(string) (*rest.Config, error) { return &rest.Config{Timeout: patienceForWebhooks}, nil },
			ClientConfigForServiceFunc: func(string, string, int) (*rest.Config, error) {
				return &rest.Config{Timeout: patienceForWebhooks}, nil
			},
		}
	})
	if err != nil {
		return nil, fmt.Errorf("customresources: %w", err)
	}
	return f, nil
}

// resolver says where a Service is reached from this process: at a ready endpoint, as nothing may carry traffic to its own address here; without one at that.
type resolver struct{ read admission.Reader }

// ResolveEndpoint implements webhook.ServiceResolver.
func (r resolver) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	obj, ok := r.read.Peek(core.Service, namespace, name)
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "services"}, name)
	}
	svc := obj.(*corev1.Service)
	at := func(host string, port int32) (*url.URL, error) {
		return &url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(int(port)))}, nil
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return at(svc.Spec.ExternalName, port)
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
	if i < 0 {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", port, name))
	}
	type place struct {
		host string
		port int32
	}
	var ready []place
	for _, o := range r.read.PeekList(discovery.EndpointSlice, namespace, labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name})) {
		s := o.(*discoveryv1.EndpointSlice)
		for _, p := range s.Ports {
			if p.Port == nil || p.Name == nil && svc.Spec.Ports[i].Name != "" || p.Name != nil && *p.Name != svc.Spec.Ports[i].Name {
				continue
			}
			for _, e := range s.Endpoints {
				if len(e.Addresses) > 0 && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
					ready = append(ready, place{e.Addresses[0], *p.Port})
				}
			}
		}
	}
	if len(ready) > 0 {
		p := ready[rand.IntN(len(ready))]
		return at(p.host, p.port)
	}
	if svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
	}
	return at(svc.Spec.ClusterIP, port)
}
