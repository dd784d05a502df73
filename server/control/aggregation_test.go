package control

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tenet-run/tenet/apiserver/pki"
	"github.com/tenet-run/tenet/kinds/apiregistration"
	"github.com/tenet-run/tenet/kinds/core"
)

// extension is another API server: discovery, one resource with a watch, and an upgrade. It believes the front proxy's certificate alone.
type extension struct {
	ca      []byte
	port    int32
	broken  atomic.Bool
	watched chan struct{} // each event of a watch waits for one
}

func newExtension(t *testing.T, host string, proxy []byte) *extension {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	e := &extension{ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), watched: make(chan struct{}, 10)}
	srv := httptest.NewUnstartedServer(e)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(proxy)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	e.port = int32(n)
	return e
}

func (e *extension) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name := r.TLS.PeerCertificates[0].Subject.CommonName; name != pki.FrontProxyName {
		http.Error(w, "a certificate of "+name, http.StatusForbidden)
		return
	}
	if e.broken.Load() {
		http.Error(w, "broken", http.StatusInternalServerError)
		return
	}
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "wardle.example.com/v1",
		APIResources: []metav1.APIResource{{Name: "flunders", SingularName: "flunder", Namespaced: true, Kind: "Flunder", Verbs: metav1.Verbs{"get", "list", "watch"}}}}
	switch path := r.URL.Path; {
	case path == "/apis/wardle.example.com/v1":
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(list)
	case r.Header.Get("Upgrade") != "":
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n%s:", r.Header.Get("X-Remote-User"))
		io.CopyN(conn, buf, 5)
	case r.URL.Query().Get("watch") == "true":
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for range 2 {
			<-e.watched
			io.WriteString(w, "{\"type\":\"ADDED\"}\n")
			w.(http.Flusher).Flush()
		}
	case path == "/apis/wardle.example.com/v1/namespaces/default/flunders/a":
		w.Header().Set("X-Told", strings.Join(r.Header.Values("X-Remote-Group"), ","))
		io.WriteString(w, r.Header.Get("X-Remote-User")+" "+r.URL.RawQuery+" "+r.Header.Get("Authorization")+r.Header.Get("X-Remote-Extra-Evil"))
	default:
		http.NotFound(w, r)
	}
}

// TestAnotherServerAnswersForItsGroup: from an APIService to its requests, and back when the server is no longer well.
func TestAnotherServerAnswersForItsGroup(t *testing.T) {
	keys, err := pki.Ensure(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	plane := running(t, func(c *Config) {
		c.FrontProxy = &FrontProxy{CA: keys.FrontProxyCAPEM(), Name: pki.FrontProxyName, Certificate: keys.FrontProxyCertificate}
	})
	ctx, api := t.Context(), plane.Client(systemUser)
	e := newExtension(t, "ext.default.svc", keys.FrontProxyCAPEM())
	web := httptest.NewServer(plane.Handler())
	t.Cleanup(web.Close)
	get := func(path, accept string) (int, string, http.Header) {
		t.Helper()
		req, _ := http.NewRequest("GET", web.URL+path, nil)
		req.Header.Set("Accept", accept)
		req.Header.Set("X-Remote-User", "evil")
		req.Header.Set("X-Remote-Extra-Evil", "evil")
		resp, err := web.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body), resp.Header
	}
	condition := func(want string) {
		t.Helper()
		await(t, 20*time.Second, func() string {
			obj, ok := plane.Cache.Get(apiregistration.APIService, "", "v1.wardle.example.com")
			if !ok {
				return "no APIService"
			}
			c := apiregistration.Condition(obj.(*apiregistrationv1.APIService), apiregistrationv1.Available)
			if c == nil {
				return "no condition"
			}
			if got := string(c.Status) + " " + c.Reason + ": " + c.Message; !strings.HasPrefix(got, want) {
				return got + ", want " + want
			}
			return ""
		})
	}

	a := &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: "v1.wardle.example.com"}, Spec: apiregistrationv1.APIServiceSpec{
		Group: "wardle.example.com", Version: "v1", GroupPriorityMinimum: 17000, VersionPriority: 20, CABundle: e.ca,
		Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "ext", Port: &e.port},
	}}
	if _, err := api.Create(ctx, apiregistration.APIService, a, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	condition(`False ServiceNotFound: service/ext in "default" is not present`)
	if code, body, _ := get("/apis/wardle.example.com/v1/namespaces/default/flunders/a", ""); code != 503 || body != "service unavailable\n" {
		t.Errorf("unavailable: %d %q", code, body)
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ext"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeExternalName, ExternalName: "localhost", Ports: []corev1.ServicePort{{Port: e.port}}}}
	if _, err := api.Create(ctx, core.Service, svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	condition("True Passed: all checks passed")

	code, body, head := get("/apis/wardle.example.com/v1/namespaces/default/flunders/a?x=1", "")
	if want := "system:apiserver x=1 "; code != 200 || body != want {
		t.Errorf("get: %d %q, want %q", code, body, want)
	}
	if got := head.Get("X-Told"); !strings.Contains(got, "system:masters") {
		t.Errorf("groups %q", got)
	}

	// Discovery: its own document comes from there, the others name it where its priority says.
	if code, body, _ := get("/apis/wardle.example.com/v1", ""); code != 200 || !strings.Contains(body, "flunders") {
		t.Errorf("resources: %d %s", code, body)
	}
	if code, body, _ := get("/apis/wardle.example.com", ""); code != 200 || !strings.Contains(body, `"groupVersion":"wardle.example.com/v1"`) {
		t.Errorf("group: %d %s", code, body)
	}
	var groups metav1.APIGroupList
	_, body, _ = get("/apis", "application/json")
	if err := json.Unmarshal([]byte(body), &groups); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range groups.Groups {
		names = append(names, g.Name)
	}
	at := slices.Index(names, "wardle.example.com")
	if at < 0 || at < slices.Index(names, "policy") || at > slices.Index(names, "storage.k8s.io") {
		t.Errorf("groups %v", names)
	}
	var all apidiscoveryv2.APIGroupDiscoveryList
	_, body, _ = get("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	at = slices.IndexFunc(all.Items, func(g apidiscoveryv2.APIGroupDiscovery) bool { return g.Name == "wardle.example.com" })
	if at < 0 || len(all.Items[at].Versions) != 1 || len(all.Items[at].Versions[0].Resources) != 1 || all.Items[at].Versions[0].Freshness != apidiscoveryv2.DiscoveryFreshnessCurrent {
		t.Errorf("aggregated discovery: %s", body)
	}

	// A watch streams: the first event is here before the second is sent.
	resp, err := web.Client().Get(web.URL + "/apis/wardle.example.com/v1/flunders?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line := make([]byte, len("{\"type\":\"ADDED\"}\n"))
	for range 2 {
		e.watched <- struct{}{}
		if _, err := io.ReadFull(resp.Body, line); err != nil {
			t.Fatalf("watch: %v", err)
		}
	}

	// An upgraded connection goes through.
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET /apis/wardle.example.com/v1/namespaces/default/flunders/a/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(conn)
	status, err := in.ReadString('\n')
	if err != nil || !strings.HasPrefix(status, "HTTP/1.1 101") {
		t.Fatalf("upgrade: %q %v", status, err)
	}
	fmt.Fprint(conn, "hello") // a client speaks when it has been answered
	answer, err := io.ReadAll(in)
	if err != nil || !strings.HasSuffix(string(answer), "system:apiserver:hello") {
		t.Errorf("upgrade: %q %v", answer, err)
	}

	// A server that fails is found out when its Service changes, and forgiven by itself.
	e.broken.Store(true)
	if _, err := api.Patch(ctx, core.Service, "default", "ext", "application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`), "", metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	condition("False FailedDiscoveryCheck: failing or missing response from https://ext.default.svc:")
	e.broken.Store(false)
	condition("True Passed")

	if err := api.Delete(ctx, apiregistration.APIService, "", a.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := get("/apis/wardle.example.com/v1", ""); code != 404 {
		t.Errorf("gone: %d", code)
	}
	if h := plane.others.At("/apis/wardle.example.com/v1"); h != nil {
		t.Error("still handed on")
	}
}

// TestLocalGroupsHaveAPIServices: each group version that is served here is registered, and other servers are told whom to believe.
func TestLocalGroupsHaveAPIServices(t *testing.T) {
	plane := running(t, func(c *Config) {
		c.FrontProxy = &FrontProxy{CA: []byte("front"), Name: "proxy"}
		c.CA = []byte("users")
	})
	await(t, 10*time.Second, func() string {
		for name, group := range plane.live.Groups() {
			for _, v := range group.Kinds[0].Served {
				if v.Group != name || name == apiregistration.Group {
					continue
				}
				obj, ok := plane.Cache.Get(apiregistration.APIService, "", v.Version+"."+name)
				if !ok || !apiregistration.Available(obj.(*apiregistrationv1.APIService)) {
					return "no available APIService " + v.Version + "." + name
				}
			}
		}
		return ""
	})
	obj, ok := plane.Cache.Get(core.ConfigMap, metav1.NamespaceSystem, "extension-apiserver-authentication")
	if !ok {
		t.Fatal("no ConfigMap")
	}
	data := obj.(*corev1.ConfigMap).Data
	if data["client-ca-file"] != "users" || data["requestheader-client-ca-file"] != "front" || data["requestheader-allowed-names"] != `["proxy"]` {
		t.Errorf("%q", data)
	}
}

// await looks again and again until missing returns "".
func await(t *testing.T, limit time.Duration, missing func() string) {
	t.Helper()
	end := time.After(limit)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		text := missing()
		if text == "" {
			return
		}
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("not within %s: %s", limit, text)
		}
	}
}
