package connect

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/proxy"

	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/discovery"
)

// agentPort is the port under which Kubernetes knows a node's agent.
const agentPort = "10250"

// podProxy passes a request to a port of a pod. The name in the URL is "pod", "pod:port" or "scheme:pod:port".
func (h *handlers) podProxy(w http.ResponseWriter, r *http.Request, q *Request) {
	pod, ok := podOf(w, q)
	if !ok {
		return
	}
	scheme, _, port, valid := utilnet.SplitSchemeNamePort(q.Name)
	if !valid {
		writeError(w, apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", q.Name)))
		return
	}
	if port == "" {
		port = firstPort(pod)
	}
	addr, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil || !addr.IsGlobalUnicast() {
		writeError(w, apierrors.NewBadRequest("address not allowed"))
		return
	}
	h.forward(w, r, q, scheme, addr.String(), port)
}

func firstPort(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if len(c.Ports) > 0 {
			return strconv.Itoa(int(c.Ports[0].ContainerPort))
		}
	}
	return ""
}

// nodeProxy passes a request to a node's agent, or to another port of the node.
func (h *handlers) nodeProxy(w http.ResponseWriter, r *http.Request, q *Request) {
	node, ok := q.Object.(*corev1.Node)
	if !ok {
		writeError(w, fmt.Errorf("proxy of a %T", q.Object))
		return
	}
	scheme, name, port, valid := utilnet.SplitSchemeNamePort(q.Name)
	if !valid {
		writeError(w, apierrors.NewBadRequest(fmt.Sprintf("invalid node request %q", q.Name)))
		return
	}
	if port == "" || port == agentPort || port == strconv.Itoa(int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)) {
		b := h.toNode(r.Context(), name)
		defer b.end()
		pass(w, r, &url.URL{Scheme: "http", Host: name, Path: pathOf(r, q)}, b)
		return
	}
	for _, a := range node.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP && addr.IsGlobalUnicast() {
			h.forward(w, r, q, scheme, addr.String(), port)
			return
		}
	}
	writeError(w, apierrors.NewBadRequest("address not allowed"))
}

// serviceProxy passes a request to one of a Service's endpoints. The port in the name is one of the Service's, by name or number.
func (h *handlers) serviceProxy(w http.ResponseWriter, r *http.Request, q *Request) {
	svc, ok := q.Object.(*corev1.Service)
	if !ok {
		writeError(w, fmt.Errorf("proxy of a %T", q.Object))
		return
	}
	scheme, name, port, valid := utilnet.SplitSchemeNamePort(q.Name)
	if !valid {
		writeError(w, apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", q.Name)))
		return
	}
	portName := port
	if n, err := strconv.ParseInt(port, 10, 32); err == nil && port != "" {
		found := false
		for _, p := range svc.Spec.Ports {
			if int64(p.Port) == n {
				portName, found = p.Name, true
				break
			}
		}
		if !found {
			writeError(w, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", n, name)))
			return
		}
	}
	targets := h.endpoints(svc, portName)
	if len(targets) == 0 {
		writeError(w, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name)))
		return
	}
	target := targets[rand.IntN(len(targets))]
	h.forward(w, r, q, scheme, target[0], target[1])
}

// endpoints are address and port of what is ready behind a port of a Service. With an empty name, the first port counts.
func (h *handlers) endpoints(svc *corev1.Service, port string) (out [][2]string) {
	if h.cfg.Reader == nil {
		return nil
	}
	sel := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: svc.Name})
	for _, obj := range h.cfg.Reader.PeekList(discovery.EndpointSlice, svc.Namespace, sel) {
		slice := obj.(*discoveryv1.EndpointSlice)
		for _, p := range slice.Ports {
			if p.Port == nil || port != "" && (p.Name == nil || *p.Name != port) {
				continue
			}
			for _, e := range slice.Endpoints {
				if len(e.Addresses) > 0 && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
					out = append(out, [2]string{e.Addresses[0], strconv.Itoa(int(*p.Port))})
				}
			}
			break
		}
	}
	if len(out) > 0 {
		return out
	}
	obj, ok := h.cfg.Reader.Peek(core.Endpoints, svc.Namespace, svc.Name)
	if !ok {
		return nil
	}
	for _, s := range obj.(*corev1.Endpoints).Subsets {
		for _, p := range s.Ports {
			if port != "" && p.Name != port {
				continue
			}
			for _, a := range s.Addresses {
				out = append(out, [2]string{a.IP, strconv.Itoa(int(p.Port))})
			}
			break
		}
	}
	return out
}

func (h *handlers) forward(w http.ResponseWriter, r *http.Request, q *Request, scheme, address, port string) {
	if scheme == "" {
		scheme = "http"
	}
	host := address
	if port != "" {
		host = net.JoinHostPort(address, port)
	} else if strings.Contains(address, ":") {
		host = "[" + address + "]"
	}
	b := newBackend(r.Context(), func(ctx context.Context, network, address string) (net.Conn, error) {
		return h.cfg.Dial(ctx, network, address)
	})
	defer b.end()
	// What a pod serves is signed by whomever it likes; Kubernetes does not check it either.
	b.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	pass(w, r, &url.URL{Scheme: scheme, Host: host, Path: pathOf(r, q)}, b)
}

func pass(w http.ResponseWriter, r *http.Request, loc *url.URL, b *backend) {
	h := proxy.NewUpgradeAwareHandler(loc, b.Transport, true, false, responder{})
	h.ServeHTTP(w, r)
}

// pathOf is the path for the backend: empty only when nothing, not even a slash, follows "proxy".
func pathOf(r *http.Request, q *Request) string {
	path := strings.TrimPrefix(q.Path, "/")
	if path == "" {
		if strings.HasSuffix(r.URL.Path, "/") {
			return "/"
		}
		return ""
	}
	if strings.HasSuffix(r.URL.Path, "/") && !strings.HasSuffix(path, "/") {
		path += "/"
	}
	return "/" + path
}
