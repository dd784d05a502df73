package webhook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/apiserver/services"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// world holds one object of a kind.
type world map[*kinds.Kind]kinds.Object

func (w world) Peek(k *kinds.Kind, _, name string) (kinds.Object, bool) {
	o, ok := w[k]
	return o, ok && o.GetName() == name
}

func (w world) PeekList(k *kinds.Kind, _ string, _ labels.Selector) []kinds.Object {
	if o, ok := w[k]; ok {
		return []kinds.Object{o}
	}
	return nil
}
func (world) PeekOwned(*kinds.Kind, string, types.UID) []kinds.Object      { return nil }
func (world) PeekField(*kinds.Kind, string, string, string) []kinds.Object { return nil }

// named is a TLS server with a certificate for a name, and that certificate.
func named(t *testing.T, name string, h http.Handler) (*httptest.Server, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestServiceIsReachedByItsEndpoints: a webhook behind a Service is dialled at a ready endpoint, and must show a certificate for the Service's name.
func TestServiceIsReachedByItsEndpoints(t *testing.T) {
	srv, ca := named(t, "hook.ns.svc", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+" "+r.URL.Path)
	}))
	host, p, _ := net.SplitHostPort(srv.Listener.Addr().String())
	port, _ := strconv.Atoi(p)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "hook", Namespace: "ns"}, Spec: corev1.ServiceSpec{ClusterIP: "192.0.2.1", Ports: []corev1.ServicePort{{Name: "web", Port: 8443}}}}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "hook-1"}, Ports: []discoveryv1.EndpointPort{{Name: new("web"), Port: new(int32(port))}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"192.0.2.2"}, Conditions: discoveryv1.EndpointConditions{Ready: new(false)}},
			{Addresses: []string{host}},
		}}
	cfg := &admissionv1.WebhookClientConfig{CABundle: ca, Service: &admissionv1.ServiceReference{Namespace: "ns", Name: "hook", Port: new(int32(8443)), Path: new("/x")}}
	w := world{core.Service: svc, discovery.EndpointSlice: slice}
	got, err := newClient(cfg, w).post(t.Context(), []byte("{}"))
	if err != nil || string(got) != "hook.ns.svc:8443 /x" {
		t.Errorf("%q %v", got, err)
	}
	delete(w, discovery.EndpointSlice)
	w[core.Endpoints] = &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "hook"}, Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: host}}, Ports: []corev1.EndpointPort{{Name: "web", Port: int32(port)}}}}}
	if got, err := newClient(cfg, w).post(t.Context(), []byte("{}")); err != nil || string(got) != "hook.ns.svc:8443 /x" {
		t.Errorf("by Endpoints: %q %v", got, err)
	}
	delete(w, core.Endpoints)
	if got, err := services.Addresses(w, svc, 8443); err != nil || len(got) != 1 || got[0] != "192.0.2.1:8443" {
		t.Errorf("without endpoints: %v %v", got, err)
	}
	if _, err := services.Addresses(w, svc, 443); err == nil || !strings.Contains(err.Error(), `no service port 443 found for service "hook"`) {
		t.Errorf("another port: %v", err)
	}
	other := *cfg
	other.Service = &admissionv1.ServiceReference{Namespace: "ns", Name: "gone", Port: new(int32(8443))}
	if _, err := newClient(&other, w).post(t.Context(), nil); err == nil || !strings.Contains(err.Error(), `service "gone" not found`) {
		t.Errorf("no service: %v", err)
	}
	svc.Name, w[discovery.EndpointSlice] = "wrong", slice
	other.Service.Name = "wrong"
	if _, err := newClient(&other, w).post(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "certificate is valid for hook.ns.svc, not wrong.ns.svc") {
		t.Errorf("another name: %v", err)
	}
}
