package authn_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/authn"
	"github.com/tenet-run/tenet/apiserver/authz"
	"github.com/tenet-run/tenet/apiserver/authz/policy"
	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/apiserver/discovery"
	"github.com/tenet-run/tenet/apiserver/health"
	"github.com/tenet-run/tenet/apiserver/metrics"
	"github.com/tenet-run/tenet/apiserver/openapi"
	"github.com/tenet-run/tenet/apiserver/pki"
	"github.com/tenet-run/tenet/apiserver/services"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/store/embedded"
)

// nodes is a node agent that has one log line.
type nodes struct{ addr string }

func (n nodes) DialNode(ctx context.Context, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", n.addr)
}

type world struct {
	pki        *pki.PKI
	url        string
	kubeconfig string
	admin      kubernetes.Interface
	adminConf  *rest.Config
}

// start puts all the edges of the API server around its core, as the server does, and listens with TLS.
func start(t *testing.T) *world {
	t.Helper()
	st, err := embedded.Open(t.Context(), embedded.Options{Dir: "/store", FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	keys, err := pki.Ensure(t.TempDir(), []string{"node-1"})
	if err != nil {
		t.Fatal(err)
	}
	read := apiserver.NewReader(st)
	tokens, err := authn.NewTokens(authn.TokensConfig{Key: keys.ServiceAccountKey()}, read)
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := services.New(services.Config{CIDR: netip.MustParsePrefix("10.43.0.0/16"), Reader: read})
	if err != nil {
		t.Fatal(err)
	}
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "a line of %s\n", r.URL.Path) }))
	t.Cleanup(agent.Close)
	handlers := connect.Handlers(connect.Config{Nodes: nodes{agent.Listener.Addr().String()}, Reader: read})
	handlers["serviceaccounts/token"] = tokens.Handler()

	info := version.Info{Major: "1", Minor: "37", GitVersion: "v1.37.2+tenet"}
	counts := metrics.New(kinds.NewSet(all.Kinds()...), st, info)
	mux := http.NewServeMux()
	docs, err := tokens.Handlers()
	if err != nil {
		t.Fatal(err)
	}
	for path, h := range docs {
		mux.Handle(path, h)
	}
	versions, err := health.Version(info)
	if err != nil {
		t.Fatal(err)
	}
	groups := discovery.New(kinds.NewSet(all.Kinds()...), "", nil)
	for _, path := range []string{"/api", "/api/", "/apis", "/apis/"} {
		mux.Handle(path, groups)
	}
	mux.Handle("/openapi/", openapi.New(openapi.BuiltIn()))
	mux.Handle("/version", versions)
	mux.Handle("/metrics", counts)
	ready := health.New("/readyz", nil)
	mux.Handle("/readyz", ready)
	mux.Handle("/readyz/", ready)

	srv, err := apiserver.New(apiserver.Config{
		Store: st, Kinds: all.Kinds(), Connect: handlers, Extra: mux, Observe: counts.Observe,
		Authenticator: authn.New(authn.Config{ClientCAs: keys.ClientCAs(), Tokens: tokens}),
		Authorizer:    authz.New(st, read),
		Admission: []admission.Plugin{
			admission.NamespaceLifecycle(read), admission.ServiceAccount(read, st.Watch), admission.Priority(read),
			admission.DefaultTolerationSeconds(), admission.TaintNodesByCondition(), addresses,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	granted, err := policy.Load()
	if err != nil {
		t.Fatal(err)
	}
	granted.Roles, granted.RoleBindings = nil, nil // their namespaces are not there
	var grants []apiserver.NewObject
	for _, c := range granted.Reconcile(srv.Peek) {
		grants = append(grants, apiserver.NewObject{Kind: c.Kind, Object: c.Object})
	}
	if err := srv.CreateObjects(t.Context(), &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}}, grants); err != nil {
		t.Fatal(err)
	}
	l := httptest.NewUnstartedServer(srv)
	l.TLS = keys.ServerTLS()
	l.EnableHTTP2 = true
	l.StartTLS()
	t.Cleanup(l.Close)
	t.Cleanup(func() { srv.Close() })

	w := &world{pki: keys, url: strings.Replace(l.URL, "127.0.0.1", "localhost", 1), kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	if err := keys.WriteKubeconfig(w.kubeconfig, w.url, "tenet"); err != nil {
		t.Fatal(err)
	}
	if w.adminConf, err = clientcmd.BuildConfigFromFlags("", w.kubeconfig); err != nil {
		t.Fatal(err)
	}
	w.admin = kubernetes.NewForConfigOrDie(w.adminConf)
	for _, ns := range []string{"default", "dev"} {
		if _, err := w.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.admin.CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) as(token string) kubernetes.Interface {
	return kubernetes.NewForConfigOrDie(&rest.Config{Host: w.url, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: w.pki.CAPEM()}})
}

func (w *world) get(t *testing.T, c kubernetes.Interface, path string) (string, error) {
	t.Helper()
	raw, err := c.Discovery().RESTClient().Get().AbsPath(path).DoRaw(t.Context())
	return string(raw), err
}

// raw gets a path as it is, for answers that client-go shortens.
func (w *world) raw(t *testing.T, token, path string) (int, metav1.Status) {
	t.Helper()
	tr, err := rest.TransportFor(&rest.Config{Host: w.url, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: w.pki.CAPEM()}})
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest("GET", w.url+path, nil)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var s metav1.Status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, s
}

func newPod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
}

func TestTokensOfPodsOverTheWire(t *testing.T) {
	w := start(t)
	ctx := t.Context()
	p, err := w.admin.CoreV1().Pods("dev").Create(ctx, newPod("p"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Spec.ServiceAccountName != "default" || len(p.Spec.Volumes) != 1 || *p.Spec.Priority != 0 || len(p.Spec.Tolerations) != 2 {
		t.Errorf("admission made %+v", p.Spec)
	}
	req, err := w.admin.CoreV1().ServiceAccounts("dev").CreateToken(ctx, "default", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(3607)), BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: "p", UID: p.UID},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	inPod := w.as(req.Status.Token)
	_, err = inPod.CoreV1().Pods("dev").List(ctx, metav1.ListOptions{})
	if want := `pods is forbidden: User "system:serviceaccount:dev:default" cannot list resource "pods" in API group "" in the namespace "dev"`; !apierrors.IsForbidden(err) || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	for path, allowed := range map[string]bool{"/version": true, "/api": true, "/openid/v1/jwks": true, "/metrics": false, "/readyz": true} {
		if _, err := w.get(t, inPod, path); (err == nil) != allowed {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := w.admin.CoreV1().Pods("dev").Delete(ctx, "p", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.get(t, inPod, "/api"); !apierrors.IsUnauthorized(err) {
		t.Errorf("after the pod is gone: %v", err)
	}
	nobody := w.as("")
	if _, err := w.get(t, nobody, "/readyz"); err != nil {
		t.Error(err)
	}
	if code, status := w.raw(t, "", "/api"); code != 403 || status.Message != `forbidden: User "system:anonymous" cannot get path "/api"` || status.Reason != metav1.StatusReasonForbidden {
		t.Errorf("anonymous: %d %+v", code, status)
	}
	if code, status := w.raw(t, "nonsense", "/api/v1/pods"); code != 401 || status.Message != "Unauthorized" || status.Reason != metav1.StatusReasonUnauthorized || status.Code != 401 {
		t.Errorf("bad token: %d %+v", code, status)
	}
}

func TestAdmissionOverTheWire(t *testing.T) {
	w := start(t)
	ctx := t.Context()
	_, err := w.admin.CoreV1().Pods("none").Create(ctx, newPod("p"), metav1.CreateOptions{})
	if !apierrors.IsNotFound(err) || err.Error() != `namespaces "none" not found` {
		t.Errorf("missing namespace: %v", err)
	}
	if err := w.admin.CoreV1().Namespaces().Delete(ctx, "default", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) || err.Error() != `namespaces "default" is forbidden: this namespace may not be deleted` {
		t.Errorf("immortal namespace: %v", err)
	}
	n, err := w.admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{})
	if err != nil || len(n.Spec.Taints) != 1 {
		t.Errorf("node: %v %v", n.Spec.Taints, err)
	}
	if _, err := w.admin.CoreV1().Pods("dev").Create(ctx, newPod("p"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	raw, err := w.admin.CoreV1().Pods("dev").GetLogs("p", &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil || string(raw) != "a line of /containerLogs/dev/p/c\n" {
		t.Errorf("log: %q %v", raw, err)
	}
	raw, err = w.admin.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/n1:10250/proxy/healthz").DoRaw(ctx)
	if err != nil || string(raw) != "a line of /healthz\n" {
		t.Errorf("node proxy: %q %v", raw, err)
	}
	text, err := w.get(t, w.admin, "/metrics")
	if err != nil || !strings.Contains(text, `apiserver_storage_objects{resource="pods"} 1`) || !strings.Contains(text, `code="201",component="apiserver",dry_run="",group="",resource="pods"`) {
		t.Errorf("metrics: %v", err)
	}
}

func TestServicesOverTheWire(t *testing.T) {
	w := start(t)
	ctx := t.Context()
	conf := rest.CopyConfig(w.adminConf)
	conf.QPS = -1
	c := kubernetes.NewForConfigOrDie(conf).CoreV1().Services("dev")
	service := func(name, ip string, port int32) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, ClusterIP: ip, Selector: map[string]string{"a": "b"}, Ports: []corev1.ServicePort{{Port: 80, NodePort: port}}}}
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 10 {
				if _, err := c.Create(ctx, service(fmt.Sprintf("s-%d-%d", g, i), "", 0), metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	// All of these want the same address and port; one gets them.
	var mu sync.Mutex
	won, lost := 0, 0
	for i := range 8 {
		wg.Go(func() {
			_, err := c.Create(ctx, service(fmt.Sprint("same-", i), "10.43.0.99", 30001), metav1.CreateOptions{})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case apierrors.IsInvalid(err) && strings.Contains(err.Error(), "failed to allocate IP 10.43.0.99: provided IP is already allocated"):
				lost++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 || lost != 7 {
		t.Errorf("%d got the address, %d did not", won, lost)
	}
	l, err := c.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[any]string{}
	for _, s := range l.Items {
		for _, what := range []any{s.Spec.ClusterIP, s.Spec.Ports[0].NodePort} {
			if seen[what] != "" {
				t.Errorf("%v is held by %s and %s", what, seen[what], s.Name)
			}
			seen[what] = s.Name
		}
	}
	if len(l.Items) != 81 {
		t.Errorf("%d services", len(l.Items))
	}
	// What is deleted is free at once; what failed holds nothing.
	if err := c.Delete(ctx, seen["10.43.0.99"], metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	bad := service("bad", "10.43.0.99", 30001)
	bad.Spec.Ports[0].Protocol = "XYZ"
	if _, err := c.Create(ctx, bad, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("bad: %v", err)
	}
	if _, err := c.Create(ctx, service("dry", "10.43.0.99", 30001), metav1.CreateOptions{DryRun: []string{"All"}}); err != nil {
		t.Error(err)
	}
	got, err := c.Create(ctx, service("again", "10.43.0.99", 30001), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got.Spec.Type = corev1.ServiceTypeClusterIP
	got.Spec.Ports[0].NodePort = 0
	if got, err = c.Update(ctx, got, metav1.UpdateOptions{}); err != nil || got.Spec.ClusterIP != "10.43.0.99" || got.Spec.Ports[0].NodePort != 0 {
		t.Fatalf("%v %v", got.Spec, err)
	}
	if _, err := c.Create(ctx, service("port", "", 30001), metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
}

// Stock kubectl, by the kubeconfig that we write.
func TestKubectl(t *testing.T) {
	bin, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("no kubectl on PATH")
	}
	w := start(t)
	home := t.TempDir()
	user := filepath.Join(home, "config")
	if current, err := w.pki.MergeKubeconfig(user, "tenet", w.url); err != nil || !current {
		t.Fatal(current, err)
	}
	run := func(want string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+user, "HOME="+home)
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.HasPrefix(want, "!") || !strings.Contains(string(out), strings.TrimPrefix(want, "!")) {
			t.Errorf("kubectl %s: %v\n%s\nwant %q", strings.Join(args, " "), err, out, want)
		}
	}
	run("v1.37.2+tenet", "version")
	run("deployments", "api-resources")
	run("apps/v1", "api-versions")
	run("ok", "get", "--raw", "/readyz")
	run("KIND:       Pod", "explain", "pod.spec")
	run("pod/p created", "run", "p", "-n", "dev", "--image=x", `--overrides={"spec":{"nodeName":"n1"}}`)
	run("a line of /containerLogs/dev/p/p", "logs", "-n", "dev", "p")
	run("service/web created", "create", "service", "clusterip", "web", "-n", "dev", "--tcp=80")
	run("ey", "create", "token", "default", "-n", "dev")
	run(`!serviceaccounts "none" not found`, "create", "token", "none", "-n", "dev")
}
