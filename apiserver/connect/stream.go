package connect

import (
	"fmt"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// Clients come with WebSockets (newer) or SPDY (older); nodes speak SPDY. A WebSocket that carries streams is translated stream by stream, one that carries
// SPDY frames is unwrapped; all else is passed on as it is.

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
		translate(w, r, loc, b, s)
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
	if wsstream.IsWebSocketRequestWithTunnelingProtocol(r) {
		tunnel(w, r, loc, b, pod.Name)
		return
	}
	proxy.NewUpgradeAwareHandler(loc, b.Transport, false, true, responder{}).ServeHTTP(w, r)
}

func hasNode(pod *corev1.Pod) error {
	if pod.Spec.NodeName == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	return nil
}
