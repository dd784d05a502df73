package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// DefaultIssuer is the issuer of tokens, and their only audience, when nothing else is said: Kubernetes' default.
const DefaultIssuer = "https://kubernetes.default.svc.cluster.local"

// Reader reads the newest state of one object. An admission.Reader is one.
type Reader interface {
	Peek(k *kinds.Kind, namespace, name string) (kinds.Object, bool)
}

// TokensConfig is what Tokens are made of. Key is required.
type TokensConfig struct {
	Issuer string // DefaultIssuer when empty
	// Audiences that the API server answers to; the issuer alone when empty.
	Audiences []string
	// JWKSURI is where the discovery document says that the keys are; <Issuer>/openid/v1/jwks when empty.
	JWKSURI string
	Key     *ecdsa.PrivateKey
	// Now is time.Now when nil.
	Now func() time.Time
}

// Tokens issues and checks bound service account tokens (KEP-1205): JWTs signed with ES256.
type Tokens struct {
	cfg    TokensConfig
	reader Reader
	keyID  string
	signer jose.Signer
	parsed *cache[[32]byte, *claims]
}

var _ authenticator.Token = (*Tokens)(nil)

const tokenCacheSize = 4096

// NewTokens makes Tokens. reader may be nil until [Tokens.SetReader] is called, before the first request: the API server, which is the reader, wants the
// authenticator first.
func NewTokens(cfg TokensConfig, r Reader) (*Tokens, error) {
	if cfg.Key == nil {
		return nil, errors.New("authn: service account tokens need a key")
	}
	if cfg.Issuer == "" {
		cfg.Issuer = DefaultIssuer
	}
	if len(cfg.Audiences) == 0 {
		cfg.Audiences = []string{cfg.Issuer}
	}
	if cfg.JWKSURI == "" {
		cfg.JWKSURI = strings.TrimSuffix(cfg.Issuer, "/") + JWKSPath
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t := &Tokens{cfg: cfg, reader: r, parsed: newCache[[32]byte, *claims](tokenCacheSize)}
	var err error
	if t.keyID, err = keyID(&cfg.Key.PublicKey); err != nil {
		return nil, err
	}
	t.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: cfg.Key, KeyID: t.keyID, Algorithm: string(jose.ES256)}}, nil)
	if err != nil {
		return nil, fmt.Errorf("authn: make signer: %w", err)
	}
	return t, nil
}

// SetReader gives the reader that tokens are checked against. Not to be called once requests are served.
func (t *Tokens) SetReader(r Reader) { t.reader = r }

// keyID is the fingerprint by which tokens name their key, as in Kubernetes: base64url(sha256(DER of the public key)).
func keyID(pub *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("authn: encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// claims are what a token says, in the names that Kubernetes uses.
type claims struct {
	jwt.Claims
	Kubernetes bound `json:"kubernetes.io"`
}

type bound struct {
	Namespace string           `json:"namespace,omitempty"`
	Account   ref              `json:"serviceaccount,omitzero"`
	Pod       *ref             `json:"pod,omitempty"`
	Secret    *ref             `json:"secret,omitempty"`
	Node      *ref             `json:"node,omitempty"`
	WarnAfter *jwt.NumericDate `json:"warnafter,omitempty"`
}

type ref struct {
	Name string    `json:"name,omitempty"`
	UID  types.UID `json:"uid,omitempty"`
}

func (t *Tokens) sign(c *claims) (string, error) {
	c.Issuer = t.cfg.Issuer
	token, err := jwt.Signed(t.signer).Claims(struct {
		jwt.Claims
		Audience   []string `json:"aud,omitempty"` // always a list, as Kubernetes writes it; jwt.Audience makes a string of a single one
		Kubernetes bound    `json:"kubernetes.io"`
	}{c.Claims, c.Audience, c.Kubernetes}).Serialize()
	if err != nil {
		return "", fmt.Errorf("failed to generate token: %w", err)
	}
	return token, nil
}

// AuthenticateToken implements authenticator.Token. The audiences wanted are those in ctx, or the API server's.
func (t *Tokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	now := t.cfg.Now()
	id := sha256.Sum256([]byte(token))
	c, ok := t.parsed.get(id, now)
	if !ok {
		var err error
		if c, err = t.parse(token); c == nil || err != nil {
			return nil, false, err
		}
		if c.Expiry != nil {
			t.parsed.put(id, c, c.Expiry.Time(), now)
		}
	}
	if err := c.check(now); err != nil {
		return nil, false, err
	}
	wanted, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		wanted = t.cfg.Audiences
	}
	auds := authenticator.Audiences(c.Audience).Intersect(wanted)
	if len(auds) == 0 {
		return nil, false, fmt.Errorf("token audiences %q is invalid for the target audiences %q", c.Audience, wanted)
	}
	info, err := t.boundTo(&c.Kubernetes, now)
	if err != nil {
		return nil, false, err
	}
	if c.ID != "" {
		info.CredentialID = "JTI=" + c.ID
	}
	u := info.UserInfo()
	return &authenticator.Response{User: withAuthenticated{u, authenticated(u.GetGroups())}, Audiences: auds}, true, nil
}

// parse checks issuer and signature. A token that is none of ours gives nil and no error.
func (t *Tokens) parse(token string) (*claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, nil
	}
	var unverified struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &unverified) != nil || unverified.Issuer != t.cfg.Issuer {
		return nil, nil
	}
	tok, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, nil
	}
	if kid := tok.Headers[0].KeyID; kid != "" && kid != t.keyID {
		return nil, errors.New("invalid signature, no keys found")
	}
	c := &claims{}
	if err := tok.Claims(&t.cfg.Key.PublicKey, c); err != nil {
		return nil, err
	}
	if c.Issuer != t.cfg.Issuer {
		return nil, fmt.Errorf("token issuer %q is invalid", c.Issuer)
	}
	return c, nil
}

func (c *claims) check(now time.Time) error {
	switch err := c.Claims.Validate(jwt.Expected{Time: now}); {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrExpired):
		return errors.New("service account token has expired")
	case errors.Is(err, jwt.ErrNotValidYet):
		return errors.New("service account token is not valid yet")
	case errors.Is(err, jwt.ErrIssuedInTheFuture):
		return errors.New("service account token is issued in the future")
	default:
		return errors.New("service account token claims could not be validated due to unexpected validation error")
	}
}

var errInvalidated = errors.New("service account token has been invalidated")

// boundTo checks that everything the token is bound to is there, and is what it was.
func (t *Tokens) boundTo(b *bound, now time.Time) (*serviceaccount.ServiceAccountInfo, error) {
	gone := func(obj kinds.Object) bool {
		at := obj.GetDeletionTimestamp()
		return at != nil && at.Time.Before(now.Add(-jwt.DefaultLeeway))
	}
	sa, ok := t.reader.Peek(core.ServiceAccount, b.Namespace, b.Account.Name)
	if !ok {
		return nil, fmt.Errorf("serviceaccounts %q not found", b.Account.Name)
	}
	if sa.GetUID() != b.Account.UID {
		return nil, fmt.Errorf("service account UID (%s) does not match claim (%s)", sa.GetUID(), b.Account.UID)
	}
	if gone(sa) {
		return nil, fmt.Errorf("service account %s/%s has been deleted", b.Namespace, b.Account.Name)
	}
	info := &serviceaccount.ServiceAccountInfo{Namespace: b.Namespace, Name: b.Account.Name, UID: string(b.Account.UID)}
	check := func(k *kinds.Kind, what, namespace string, r *ref) error {
		obj, ok := t.reader.Peek(k, namespace, r.Name)
		if !ok || gone(obj) {
			return errInvalidated
		}
		if obj.GetUID() != r.UID {
			return fmt.Errorf("%s UID (%s) does not match service account %s ref claim (%s)", what, obj.GetUID(), strings.ToLower(what), r.UID)
		}
		return nil
	}
	if b.Secret != nil {
		if err := check(core.Secret, "secret", b.Namespace, b.Secret); err != nil {
			return nil, err
		}
	}
	if b.Pod != nil {
		if err := check(core.Pod, "pod", b.Namespace, b.Pod); err != nil {
			return nil, err
		}
		info.PodName, info.PodUID = b.Pod.Name, string(b.Pod.UID)
	}
	if b.Node != nil {
		if b.Pod == nil {
			if err := check(core.Node, "node", metav1.NamespaceNone, b.Node); err != nil {
				return nil, err
			}
		}
		info.NodeName, info.NodeUID = b.Node.Name, string(b.Node.UID)
	}
	return info, nil
}

// isOurs reports that all audiences are those of the API server.
func (t *Tokens) isOurs(audiences []string) bool {
	return !slices.ContainsFunc(audiences, func(a string) bool { return !slices.Contains(t.cfg.Audiences, a) })
}
