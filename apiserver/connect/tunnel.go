package connect

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	portforwardconst "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// tunnel unwraps SPDY from a WebSocket (KEP-4006): the client's frames go to the node as they are.
func tunnel(w http.ResponseWriter, r *http.Request, loc *url.URL, b *backend, pod string) {
	protocol := ""
	for _, p := range websocket.Subprotocols(r) {
		if inner, ok := strings.CutPrefix(p, portforwardconst.WebsocketsSPDYTunnelingPrefix); ok && strings.HasSuffix(p, portforwardconst.KubernetesSuffix) {
			protocol = inner
			break
		}
	}
	if protocol == "" {
		writeError(w, apierrors.NewBadRequest("unable to upgrade: no tunneling spdy protocols provided"))
		return
	}
	// The node first: what it refuses is still an HTTP answer to the client.
	near, err := b.DialContext(r.Context(), "tcp", loc.Host)
	if err != nil {
		writeError(w, fmt.Errorf("error dialing backend: %w", err))
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, loc.String(), nil)
	if err != nil {
		writeError(w, err)
		return
	}
	req.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	req.Header.Set(httpstream.HeaderUpgrade, spdy.HeaderSpdy31)
	req.Header.Set(httpstream.HeaderProtocolVersion, protocol)
	if err := req.Write(near); err != nil {
		writeError(w, fmt.Errorf("forward ports of pod %s: %w", pod, err))
		return
	}
	from := bufio.NewReader(near)
	resp, err := http.ReadResponse(from, req)
	if err != nil {
		writeError(w, fmt.Errorf("forward ports of pod %s: %w", pod, err))
		return
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorText))
		resp.Body.Close()
		writeError(w, apierrors.NewGenericServerResponse(resp.StatusCode, "", schema.GroupResource{Resource: "pods/portforward"}, pod, string(text), 0, false))
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{portforwardconst.WebsocketsSPDYTunnelingPrefix + protocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return // the client has been told
	}
	far := portforward.NewTunnelingConnection("pod "+pod, ws)
	defer far.Close()
	done := make(chan struct{}, 2)
	go func() { io.Copy(near, far); done <- struct{}{} }()
	go func() { io.Copy(far, from); done <- struct{}{} }()
	select { // when one side ends, so does the other
	case <-done:
	case <-r.Context().Done():
	}
}
