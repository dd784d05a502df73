package connect

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/apiserver/admission"
)

// Config is what the handlers are made of.
type Config struct {
	// Nodes reaches node agents. Nil: there are none, and requests to them fail.
	Nodes NodeDialer
	// Reader finds the endpoints of a Service.
	Reader admission.Reader
	// Dial reaches pods and Services for pods/proxy and services/proxy. A net.Dialer when nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

type handlers struct{ cfg Config }

// Handlers are the handlers that take connections over, by plural and subresource: pods/log, pods/exec, pods/attach, pods/portforward, pods/proxy, nodes/proxy,
// services/proxy. The map is the caller's.
func Handlers(cfg Config) map[string]Handler {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	h := &handlers{cfg}
	return map[string]Handler{
		"pods/log":         {HTTP: h.log},
		"pods/exec":        {HTTP: h.exec},
		"pods/attach":      {HTTP: h.attach},
		"pods/portforward": {HTTP: h.portForward},
		"pods/proxy":       {HTTP: h.podProxy},
		"nodes/proxy":      {HTTP: h.nodeProxy},
		"services/proxy":   {HTTP: h.serviceProxy},
	}
}

// writeError answers with a metav1.Status.
func writeError(w http.ResponseWriter, err error) {
	var api apierrors.APIStatus
	if !errors.As(err, &api) {
		api = apierrors.NewInternalError(err)
	}
	s := api.Status()
	s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	body, err := json.Marshal(s)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(s.Code))
	w.Write(append(body, '\n'))
}

// responder answers for the upgrade-aware proxy.
type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) { writeError(w, err) }
