// Package authn says who asks: by client certificate, or by bearer token of a service account. It is the first step of the first room, declare.
//
// A request without credentials is made by system:anonymous, and the authorizer decides what that user may see (health and version); a request with
// credentials that do not hold is answered 401, never taken for an anonymous one.
//
// What is expensive, checking signatures, is remembered (bounded in number and time). What may change is not: whether the account, the pod, the secret or the
// node that a token is bound to still exists is read from the store at every request, so a token ends with the write that ends what it is bound to.
package authn

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Config is what an Authenticator is made of.
type Config struct {
	// ClientCAs is the pool against which client certificates are checked. Nil: no client certificates.
	ClientCAs *x509.CertPool
	// Tokens checks bearer tokens. Nil: none is good.
	Tokens *Tokens
	// NoAnonymous answers 401 to requests without credentials.
	NoAnonymous bool
	// Now is time.Now when nil.
	Now func() time.Time
}

// Authenticator checks the credentials of HTTP requests.
type Authenticator struct {
	cfg   Config
	certs *cache[[32]byte, *user.DefaultInfo]
}

var _ authenticator.Request = (*Authenticator)(nil)

// New makes an Authenticator.
func New(cfg Config) *Authenticator {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Authenticator{cfg: cfg, certs: newCache[[32]byte, *user.DefaultInfo](certCacheSize)}
}

const (
	certCacheSize = 1024
	// certCacheTTL bounds how long a certificate is taken for good without checking it again.
	certCacheTTL = 5 * time.Minute
)

var (
	errInvalidToken = errors.New("invalid bearer token")
	anonymous       = &authenticator.Response{User: &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}}
)

// AuthenticateRequest implements authenticator.Request. On success it takes the credentials out of the request, so that they are never passed on.
func (a *Authenticator) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	resp, ok, certErr := a.byCertificate(r)
	if ok {
		r.Header.Del("Authorization")
		return resp, true, nil
	}
	token, err := bearerToken(r)
	if err != nil {
		return nil, false, err
	}
	if token != "" {
		if a.cfg.Tokens == nil {
			return nil, false, errInvalidToken
		}
		resp, ok, err := a.cfg.Tokens.AuthenticateToken(r.Context(), token)
		if err != nil || !ok {
			if err == nil {
				err = errInvalidToken
			}
			return nil, false, errors.Join(certErr, err)
		}
		r.Header.Del("Authorization")
		return resp, true, nil
	}
	if certErr != nil {
		return nil, false, certErr
	}
	if a.cfg.NoAnonymous {
		return nil, false, nil
	}
	return anonymous, true, nil
}

func (a *Authenticator) byCertificate(r *http.Request) (*authenticator.Response, bool, error) {
	if a.cfg.ClientCAs == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, false, nil
	}
	leaf := r.TLS.PeerCertificates[0]
	now := a.cfg.Now()
	id := sha256.Sum256(leaf.Raw)
	info, ok := a.certs.get(id, now)
	if !ok {
		var err error
		if info, err = a.verify(leaf, r.TLS.PeerCertificates[1:], id, now); err != nil {
			return nil, false, err
		}
		until := now.Add(certCacheTTL)
		if leaf.NotAfter.Before(until) {
			until = leaf.NotAfter
		}
		a.certs.put(id, info, until, now)
	}
	return &authenticator.Response{User: info}, true, nil
}

func (a *Authenticator) verify(leaf *x509.Certificate, rest []*x509.Certificate, id [32]byte, now time.Time) (*user.DefaultInfo, error) {
	opts := x509.VerifyOptions{Roots: a.cfg.ClientCAs, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if len(rest) > 0 {
		opts.Intermediates = x509.NewCertPool()
		for _, c := range rest {
			opts.Intermediates.AddCert(c)
		}
	}
	if _, err := leaf.Verify(opts); err != nil {
		return nil, fmt.Errorf("verifying certificate SN=%s, SKID=%X failed: %w", leaf.SerialNumber, leaf.SubjectKeyId, err)
	}
	if leaf.Subject.CommonName == "" {
		return nil, errors.New("client certificate without a common name names no user")
	}
	return &user.DefaultInfo{
		Name:   leaf.Subject.CommonName,
		Groups: authenticated(leaf.Subject.Organization),
		Extra:  map[string][]string{user.CredentialIDKey: {"X509SHA256=" + hex.EncodeToString(id[:])}},
	}, nil
}

// ComponentsGroup is the group of Tenet's own parts. It is given in process; no certificate and no token makes anybody a member.
const ComponentsGroup = "tenet.run:components"

func authenticated(groups []string) []string {
	groups = slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return g == ComponentsGroup })
	if !slices.Contains(groups, user.AllAuthenticated) {
		groups = append(groups, user.AllAuthenticated)
	}
	return groups
}

// wsTokenPrefix marks the subprotocol in which browsers, which cannot set headers on a WebSocket, send a token.
const wsTokenPrefix = "base64url.bearer.authorization.k8s.io."

func bearerToken(r *http.Request) (string, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(strings.TrimSpace(h), " ")
		if !strings.EqualFold(scheme, "bearer") {
			return "", nil
		}
		token, _, _ = strings.Cut(strings.TrimSpace(token), " ")
		return token, nil
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return "", nil
	}
	const header = "Sec-Websocket-Protocol"
	var token string
	var others []string
	for _, line := range r.Header[header] {
		for p := range strings.SplitSeq(line, ",") {
			p = strings.TrimSpace(p)
			encoded, ok := strings.CutPrefix(p, wsTokenPrefix)
			if !ok {
				others = append(others, p)
				continue
			}
			if token != "" {
				return "", errors.New("multiple base64.bearer.authorization tokens specified")
			}
			raw, err := base64.RawURLEncoding.DecodeString(encoded)
			if err != nil || !utf8.Valid(raw) || len(raw) == 0 {
				return "", errors.New("invalid base64.bearer.authorization token encoding")
			}
			token = string(raw)
		}
	}
	if token == "" {
		return "", nil
	}
	if len(others) == 0 {
		return "", errors.New("missing additional subprotocol")
	}
	r.Header.Set(header, strings.Join(others, ","))
	return token, nil
}
