package connect

import (
	"fmt"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/proxy"
	streamproxy "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// Clients come with WebSockets (newer) or SPDY (older); nodes speak SPDY. A WebSocket that carries streams is translated stream by stream (KEP-4006), one that
// carries SPDY frames is unwrapped; all else is passed on as it is.

func (h *handlers) exec(w http.ResponseWriter, r *http.Request, q *Request) {
	h.stream(w, r, q, "exec")
}

func (h *handlers) attach(w http.ResponseWriter, r *http.Request, q *Request) {
	h.stream(w, r, q, "attach")
}

func (h *handlers) stream(w http.ResponseWriter, r *http.Request, q *Request, what string) {
	pod, ok := podOf(w, q)
	if !ok {
		return
	}
	container, err := chooseContainer(pod, q.Options.Get("container"))
	if err == nil {
		err = hasNode(pod)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	s, query := streamQuery(q.Options)
	if what == "attach" {
		query.Del("command")
	}
	loc := &url.URL{Scheme: "http", Host: pod.Spec.NodeName, Path: fmt.Sprintf("/%s/%s/%s/%s", what, pod.Namespace, pod.Name, container), RawQuery: query.Encode()}
	b := h.toNode(r.Context(), pod.Spec.NodeName)
	defer b.end()
	if wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) {
		streamproxy.NewStreamTranslatorHandler(loc, b.Transport, 0, streamproxy.Options{Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr, Tty: s.tty}).ServeHTTP(w, r)
		return
	}
	proxy.NewUpgradeAwareHandler(loc, b.Transport, false, true, responder{}).ServeHTTP(w, r)
}

func (h *handlers) portForward(w http.ResponseWriter, r *http.Request, q *Request) {
	pod, ok := podOf(w, q)
	if !ok {
		return
	}
	query, err := portQuery(q.Options)
	if err == nil {
		err = hasNode(pod)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	loc := &url.URL{Scheme: "http", Host: pod.Spec.NodeName, Path: fmt.Sprintf("/portForward/%s/%s", pod.Namespace, pod.Name), RawQuery: query.Encode()}
	b := h.toNode(r.Context(), pod.Spec.NodeName)
	defer b.end()
	var handler http.Handler = proxy.NewUpgradeAwareHandler(loc, b.Transport, false, true, responder{})
	if wsstream.IsWebSocketRequestWithTunnelingProtocol(r) {
		handler = streamproxy.NewTunnelingHandler(handler)
	}
	handler.ServeHTTP(w, r)
}

func hasNode(pod *corev1.Pod) error {
	if pod.Spec.NodeName == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	return nil
}
