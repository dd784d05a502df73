package control

import (
	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/authn"
	"github.com/tenet-run/tenet/apiserver/connect"
)

// connectHandlers are what stands behind subresources that are more than a view.
func connectHandlers(nodes connect.NodeDialer, read admission.Reader, tokens *authn.Tokens) map[string]connect.Handler {
	h := connect.Handlers(connect.Config{Nodes: nodes, Reader: read})
	if tokens != nil {
		h["serviceaccounts/token"] = tokens.Handler()
	}
	return h
}
