package control

import (
	"maps"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/authn"
	"github.com/tenet-run/tenet/apiserver/authz"
	"github.com/tenet-run/tenet/apiserver/connect"
)

// connectHandlers are what stands behind subresources that are more than a view.
// They also answer the kinds that are questions.
func connectHandlers(nodes connect.NodeDialer, read admission.Reader, tokens *authn.Tokens, gate *authz.Authorizer) map[string]connect.Handler {
	h := connect.Handlers(connect.Config{Nodes: nodes, Reader: read})
	maps.Copy(h, gate.Reviews())
	maps.Copy(h, authn.Reviews(tokens, nil))
	if tokens != nil {
		h["serviceaccounts/token"] = tokens.Handler()
	}
	return h
}
