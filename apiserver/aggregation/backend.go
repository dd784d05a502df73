package aggregation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tenet-run/tenet/apiserver/services"
	"github.com/tenet-run/tenet/kinds/core"
)

// backend is how the server of an APIService is reached. It lives as long as the spec stays as it is.
type backend struct {
	registry  *Registry
	service   apiregistrationv1.ServiceReference
	port      int32
	transport *http.Transport
	err       error         // why there is no transport
	poke      chan struct{} // to the look at availability, with room for one
	done      chan struct{} // closed when the spec is another one
	documents documents
}

func newBackend(r *Registry, a *apiregistrationv1.APIService) *backend {
	b := &backend{registry: r, service: *a.Spec.Service, port: 443, poke: make(chan struct{}, 1), done: make(chan struct{})}
	if p := a.Spec.Service.Port; p != nil {
		b.port = *p
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: b.host(), InsecureSkipVerify: a.Spec.InsecureSkipTLSVerify}
	if len(a.Spec.CABundle) > 0 {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(a.Spec.CABundle) {
			b.err = errors.New("unable to load root certificates: unable to parse bytes as PEM block")
		}
	}
	if r.cfg.Certificate != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return r.cfg.Certificate() }
	}
	b.transport = &http.Transport{
		TLSClientConfig: cfg, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 25, ForceAttemptHTTP2: true,
		DisableCompression: true, // what the client accepts is for the client to say
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return services.Dial(ctx, r.cfg.Reader, network, b.service.Namespace, b.service.Name, b.port)
		},
	}
	return b
}

func (b *backend) host() string { return b.service.Name + "." + b.service.Namespace + ".svc" }

// location is where a path is at the backend.
func (b *backend) location(path, query string) *url.URL {
	return &url.URL{Scheme: "https", Host: net.JoinHostPort(b.host(), strconv.Itoa(int(b.port))), Path: path, RawQuery: query}
}

// resolve finds out whether there is anything to connect to.
func (b *backend) resolve() error {
	obj, ok := b.registry.cfg.Reader.Peek(core.Service, b.service.Namespace, b.service.Name)
	if !ok {
		return apierrors.NewNotFound(corev1.Resource("service"), b.service.Name)
	}
	_, err := services.Addresses(b.registry.cfg.Reader, obj.(*corev1.Service), b.port)
	return err
}

// doubt has the availability looked at.
func (b *backend) doubt() {
	select {
	case b.poke <- struct{}{}:
	default:
	}
}

func (b *backend) close() {
	close(b.done)
	b.transport.CloseIdleConnections()
}
