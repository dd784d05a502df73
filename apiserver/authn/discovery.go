package authn

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// Paths of the documents by which others check our tokens (OpenID Connect Discovery 1.0, RFC 7517).
const (
	JWKSPath   = "/openid/v1/jwks"
	ConfigPath = "/.well-known/openid-configuration"
)

// Handlers are the public documents about the tokens, by path. They are made once.
func (t *Tokens) Handlers() (map[string]http.Handler, error) {
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{
		Key: &t.cfg.Key.PublicKey, KeyID: t.keyID, Algorithm: string(jose.ES256), Use: "sig",
	}}})
	if err != nil {
		return nil, fmt.Errorf("authn: encode key set: %w", err)
	}
	config, err := json.Marshal(struct {
		Issuer        string   `json:"issuer"`
		JWKSURI       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		SigningAlgs   []string `json:"id_token_signing_alg_values_supported"`
	}{t.cfg.Issuer, t.cfg.JWKSURI, []string{"id_token"}, []string{"public"}, []string{string(jose.ES256)}})
	if err != nil {
		return nil, fmt.Errorf("authn: encode discovery document: %w", err)
	}
	return map[string]http.Handler{
		JWKSPath:   document("application/jwk-set+json", keys),
		ConfigPath: document("application/json", config),
	}, nil
}

func document(contentType string, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Write(body)
	})
}
