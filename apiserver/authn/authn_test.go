package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/apiserver/pki"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// objects is a Reader over a map.
type objects map[string]kinds.Object

func (o objects) Peek(k *kinds.Kind, namespace, name string) (kinds.Object, bool) {
	obj, ok := o[k.Plural+"/"+namespace+"/"+name]
	return obj, ok
}

func meta(namespace, name, uid string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}
}

type world struct {
	objects
	tokens *Tokens
	now    time.Time
	key    *ecdsa.PrivateKey
	sa     *corev1.ServiceAccount
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), key: key}
	w.sa = &corev1.ServiceAccount{ObjectMeta: meta("ns", "web", "sa-1")}
	w.objects = objects{
		"serviceaccounts/ns/web": w.sa,
		"pods/ns/p":              &corev1.Pod{ObjectMeta: meta("ns", "p", "pod-1"), Spec: corev1.PodSpec{ServiceAccountName: "web", NodeName: "n"}},
		"pods/ns/other":          &corev1.Pod{ObjectMeta: meta("ns", "other", "pod-2"), Spec: corev1.PodSpec{ServiceAccountName: "default"}},
		"secrets/ns/s":           &corev1.Secret{ObjectMeta: meta("ns", "s", "secret-1")},
		"nodes//n":               &corev1.Node{ObjectMeta: meta("", "n", "node-1")},
	}
	w.tokens, err = NewTokens(TokensConfig{Key: key, Now: func() time.Time { return w.now }}, w.objects)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) request(req *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	out, err := w.tokens.Request(context.Background(), &connect.Request{Kind: core.ServiceAccount, Object: w.sa, Namespace: "ns", Name: "web", Subresource: "token"}, req)
	if err != nil {
		return nil, err
	}
	return out.(*authenticationv1.TokenRequest), nil
}

func (w *world) token(t *testing.T, req *authenticationv1.TokenRequest) string {
	t.Helper()
	out, err := w.request(req)
	if err != nil {
		t.Fatal(err)
	}
	return out.Status.Token
}

func boundTo(kind, name string) *authenticationv1.TokenRequest {
	return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: kind, APIVersion: "v1", Name: name}}}
}

func TestTokenRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		req  *authenticationv1.TokenRequest
		want string // in the error
		code int32
	}{
		"plain":        {&authenticationv1.TokenRequest{}, "", 0},
		"too short":    {&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(599))}}, `TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes`, 422},
		"too long":     {&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(1<<32 + 1))}}, "may not specify a duration larger than 2^32 seconds", 422},
		"shortest":     {&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(600))}}, "", 0},
		"other name":   {&authenticationv1.TokenRequest{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, "must match the service account name if specified", 422},
		"other uid":    {&authenticationv1.TokenRequest{ObjectMeta: metav1.ObjectMeta{UID: "x"}}, "the UID in the token request (x) does not match the UID of the service account (sa-1)", 409},
		"pod":          {boundTo("Pod", "p"), "", 0},
		"pod of other": {boundTo("Pod", "other"), `cannot bind token for serviceaccount "web" to pod running with different serviceaccount name.`, 400},
		"no such pod":  {boundTo("Pod", "x"), `pods "x" not found`, 404},
		"node":         {boundTo("Node", "n"), "", 0},
		"secret":       {boundTo("Secret", "s"), "", 0},
		"config map":   {boundTo("ConfigMap", "s"), "cannot bind token to object of type /v1, Kind=ConfigMap", 400},
		"pod reborn": {func() *authenticationv1.TokenRequest {
			r := boundTo("Pod", "p")
			r.Spec.BoundObjectRef.UID = "old"
			return r
		}(), "the UID in the bound object reference (old) does not match the UID in record. The object might have been deleted and then recreated", 409},
		"two audiences": {&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"vault", DefaultIssuer}}}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			out, err := w.request(tc.req)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || err.(apierrors.APIStatus).Status().Code != tc.code {
					t.Fatalf("got %v, want %d %q", err, tc.code, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := w.now.Add(time.Duration(*tc.req.Spec.ExpirationSeconds) * time.Second); !out.Status.ExpirationTimestamp.Time.Equal(want) {
				t.Errorf("ends %s, want %s", out.Status.ExpirationTimestamp, want)
			}
			resp, ok, err := w.tokens.AuthenticateToken(context.Background(), out.Status.Token)
			if err != nil || !ok {
				t.Fatalf("its own token: %v %v", ok, err)
			}
			if resp.User.GetName() != "system:serviceaccount:ns:web" || resp.User.GetUID() != "sa-1" {
				t.Errorf("got user %s %s", resp.User.GetName(), resp.User.GetUID())
			}
			if want := []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}; !slices.Equal(resp.User.GetGroups(), want) {
				t.Errorf("got groups %v, want %v", resp.User.GetGroups(), want)
			}
		})
	}
}

// A token ends with what it is bound to, at once, although its signature is remembered.
func TestTokenEndsWithWhatItIsBoundTo(t *testing.T) {
	for name, tc := range map[string]struct {
		req    *authenticationv1.TokenRequest
		change func(w *world)
		want   string
	}{
		"account deleted": {&authenticationv1.TokenRequest{}, func(w *world) { delete(w.objects, "serviceaccounts/ns/web") }, `serviceaccounts "web" not found`},
		"account reborn": {&authenticationv1.TokenRequest{}, func(w *world) {
			w.objects["serviceaccounts/ns/web"] = &corev1.ServiceAccount{ObjectMeta: meta("ns", "web", "sa-2")}
		}, "service account UID (sa-2) does not match claim (sa-1)"},
		"pod deleted":       {boundTo("Pod", "p"), func(w *world) { delete(w.objects, "pods/ns/p") }, "service account token has been invalidated"},
		"pod reborn":        {boundTo("Pod", "p"), func(w *world) { w.objects["pods/ns/p"] = &corev1.Pod{ObjectMeta: meta("ns", "p", "pod-9")} }, "pod UID (pod-9) does not match service account pod ref claim (pod-1)"},
		"node of pod gone":  {boundTo("Pod", "p"), func(w *world) { delete(w.objects, "nodes//n") }, ""},
		"node deleted":      {boundTo("Node", "n"), func(w *world) { delete(w.objects, "nodes//n") }, "service account token has been invalidated"},
		"secret deleted":    {boundTo("Secret", "s"), func(w *world) { delete(w.objects, "secrets/ns/s") }, "service account token has been invalidated"},
		"time is over":      {boundTo("Pod", "p"), func(w *world) { w.now = w.now.Add(62 * time.Minute) }, "service account token has expired"},
		"time is not over":  {boundTo("Pod", "p"), func(w *world) { w.now = w.now.Add(59 * time.Minute) }, ""},
		"clock behind":      {boundTo("Pod", "p"), func(w *world) { w.now = w.now.Add(-2 * time.Minute) }, "service account token is not valid yet"},
		"pod's grace, ends": {boundTo("Pod", "p"), func(w *world) { w.terminate("pods/ns/p", -2*time.Minute) }, "service account token has been invalidated"},
		"pod's grace":       {boundTo("Pod", "p"), func(w *world) { w.terminate("pods/ns/p", -30*time.Second) }, ""},
		"the same token":    {boundTo("Pod", "p"), func(*world) {}, ""},
		"for somebody else": {&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"vault"}}}, nil, fmt.Sprintf("token audiences [%q] is invalid for the target audiences [%q]", "vault", DefaultIssuer)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			token := w.token(t, tc.req)
			if tc.change != nil {
				if _, ok, err := w.tokens.AuthenticateToken(context.Background(), token); !ok {
					t.Fatalf("before the change: %v", err)
				}
				tc.change(w)
			}
			_, ok, err := w.tokens.AuthenticateToken(context.Background(), token)
			if tc.want == "" {
				if !ok {
					t.Errorf("got %v, want it to hold", err)
				}
			} else if ok || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v %v, want %q", ok, err, tc.want)
			}
		})
	}
}

func (w *world) terminate(key string, at time.Duration) {
	obj := w.objects[key].DeepCopyObject().(kinds.Object)
	obj.SetDeletionTimestamp(&metav1.Time{Time: w.now.Add(at)})
	w.objects[key] = obj
}

func TestForgedTokens(t *testing.T) {
	w := newWorld(t)
	good := w.token(t, &authenticationv1.TokenRequest{})
	parts := strings.Split(good, ".")
	stranger, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	forged, _ := NewTokens(TokensConfig{Key: stranger, Now: func() time.Time { return w.now }}, w.objects)
	other := &world{tokens: forged, sa: w.sa}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	elevated := base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(string(payload), `"web"`, `"admin"`)))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	for name, token := range map[string]string{
		"another key":        other.token(t, &authenticationv1.TokenRequest{}),
		"changed payload":    parts[0] + "." + elevated + "." + parts[2],
		"no algorithm":       none + "." + parts[1] + ".",
		"no signature":       parts[0] + "." + parts[1] + ".",
		"other issuer":       parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://else"}`)) + "." + parts[2],
		"not a token":        "hello",
		"JSON serialisation": `{"payload":"` + parts[1] + `","a.b":"c.d"}`,
		"empty parts":        "..",
	} {
		if _, ok, _ := w.tokens.AuthenticateToken(context.Background(), token); ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The projected token that every pod gets lives a year, but says that it was to be renewed.
func TestProjectedTokenIsExtended(t *testing.T) {
	w := newWorld(t)
	req := boundTo("Pod", "p")
	req.Spec.ExpirationSeconds = new(int64(ProjectedExpiration))
	token := w.token(t, req)
	w.now = w.now.Add(300 * 24 * time.Hour)
	resp, ok, err := w.tokens.AuthenticateToken(context.Background(), token)
	if !ok {
		t.Fatal(err)
	}
	extra := resp.User.GetExtra()
	for key, want := range map[string]string{
		"authentication.kubernetes.io/pod-name": "p", "authentication.kubernetes.io/pod-uid": "pod-1",
		"authentication.kubernetes.io/node-name": "n", "authentication.kubernetes.io/node-uid": "node-1",
	} {
		if !slices.Equal(extra[key], []string{want}) {
			t.Errorf("%s is %v, want %s", key, extra[key], want)
		}
	}
	var payload struct {
		Kubernetes struct {
			WarnAfter int64 `json:"warnafter"`
		} `json:"kubernetes.io"`
		Iss, Sub string
		Aud      []string
	}
	raw, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err := json.Unmarshal(raw, &payload); err != nil {
		t.Fatal(err)
	}
	if payload.Iss != DefaultIssuer || payload.Sub != "system:serviceaccount:ns:web" || !slices.Equal(payload.Aud, []string{DefaultIssuer}) || payload.Kubernetes.WarnAfter == 0 {
		t.Errorf("got %s", raw)
	}
	req = boundTo("Pod", "p")
	req.Spec.ExpirationSeconds, req.Spec.Audiences = new(int64(ProjectedExpiration)), []string{"vault"}
	token = w.token(t, req)
	w.now = w.now.Add(2 * time.Hour)
	ctx := authenticator.WithAudiences(context.Background(), authenticator.Audiences{"vault"})
	if _, ok, _ := w.tokens.AuthenticateToken(ctx, token); ok {
		t.Error("a token for others was extended")
	}
}

// What others do with our documents: find the key set, and check a token with it.
func TestPublicDocumentsVerifyTokens(t *testing.T) {
	w := newWorld(t)
	handlers, err := w.tokens.Handlers()
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string, into any) string {
		rec := httptest.NewRecorder()
		handlers[path].ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
		return rec.Header().Get("Content-Type")
	}
	var config map[string]any
	if ct := get(ConfigPath, &config); ct != "application/json" {
		t.Errorf("got type %s", ct)
	}
	if config["issuer"] != DefaultIssuer || config["jwks_uri"] != DefaultIssuer+JWKSPath || fmt.Sprint(config["id_token_signing_alg_values_supported"]) != "[ES256]" {
		t.Errorf("got %v", config)
	}
	var keys jose.JSONWebKeySet
	if ct := get(JWKSPath, &keys); ct != "application/jwk-set+json" {
		t.Errorf("got type %s", ct)
	}
	tok, err := jwt.ParseSigned(w.token(t, &authenticationv1.TokenRequest{}), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	found := keys.Key(tok.Headers[0].KeyID)
	if len(found) != 1 || !found[0].IsPublic() {
		t.Fatalf("got keys %v", found)
	}
	var c jwt.Claims
	if err := tok.Claims(found[0], &c); err != nil || c.Subject != "system:serviceaccount:ns:web" {
		t.Errorf("got %v %v", c, err)
	}
}

// Over real TLS: who a request is made by.
func TestRequests(t *testing.T) {
	p, err := pki.Ensure(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := pki.Ensure(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.now = time.Now()
	a := New(Config{ClientCAs: p.ClientCAs(), Tokens: w.tokens})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		resp, ok, err := a.AuthenticateRequest(r)
		if err != nil || !ok {
			rw.WriteHeader(401)
			return
		}
		if r.Header.Get("Authorization") != "" && resp.User.GetName() != "system:anonymous" {
			t.Error("the credentials were left in the request")
		}
		fmt.Fprintf(rw, "%s %s %s", resp.User.GetName(), strings.Join(resp.User.GetGroups(), ","), r.Header.Get("Sec-WebSocket-Protocol"))
	}))
	srv.TLS = p.ServerTLS()
	srv.StartTLS()
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.CAPEM())
	// By name: httptest answers by address with a certificate of its own.
	url := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)

	cert := func(p *pki.PKI, cn string, groups ...string) *tls.Certificate {
		c, k, err := p.IssueClient(cn, groups, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(c, k)
		if err != nil {
			t.Fatal(err)
		}
		return &pair
	}
	expired := func() *tls.Certificate {
		c, k, err := p.IssueClient("late", nil, -time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		pair, _ := tls.X509KeyPair(c, k)
		return &pair
	}()
	serving, err := p.ServingCertificate()
	if err != nil {
		t.Fatal(err)
	}
	good := w.token(t, &authenticationv1.TokenRequest{})
	ws := "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(good))
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	for name, tc := range map[string]struct {
		cert   *tls.Certificate
		header http.Header
		want   string
	}{
		"nothing":                {nil, nil, "system:anonymous system:unauthenticated "},
		"admin":                  {cert(p, "kubernetes-admin", "system:masters"), nil, "kubernetes-admin system:masters,system:authenticated "},
		"certificate of another": {cert(stranger, "kubernetes-admin", "system:masters"), nil, "401"},
		"certificate is over":    {expired, nil, "401"},
		"a serving certificate":  {serving, nil, "401"},
		"nobody's certificate":   {cert(p, ""), nil, "401"},
		"token":                  {nil, bearer(good), "system:serviceaccount:ns:web system:serviceaccounts,system:serviceaccounts:ns,system:authenticated "},
		"bad token":              {nil, bearer("nonsense"), "401"},
		"empty token":            {nil, http.Header{"Authorization": {"Bearer "}}, "system:anonymous system:unauthenticated "},
		"password":               {nil, http.Header{"Authorization": {"Basic YTpi"}}, "system:anonymous system:unauthenticated "},
		"bad cert, good token":   {cert(stranger, "x"), bearer(good), "system:serviceaccount:ns:web system:serviceaccounts,system:serviceaccounts:ns,system:authenticated "},
		"good cert, bad token":   {cert(p, "alice"), bearer("nonsense"), "alice system:authenticated "},
		"websocket":              {nil, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Protocol": {ws + ", v5.channel.k8s.io"}}, "system:serviceaccount:ns:web system:serviceaccounts,system:serviceaccounts:ns,system:authenticated v5.channel.k8s.io"},
		"websocket, token alone": {nil, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Protocol": {ws}}, "401"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &tls.Config{RootCAs: pool}
			if tc.cert != nil {
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tc.cert, nil }
			}
			tr := &http.Transport{TLSClientConfig: cfg}
			defer tr.CloseIdleConnections()
			for range 2 { // the second time from the cache
				req, _ := http.NewRequest("GET", url, nil)
				for k, v := range tc.header {
					req.Header[k] = v
				}
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				var body [512]byte
				n, _ := resp.Body.Read(body[:])
				resp.Body.Close()
				got := string(body[:n])
				if resp.StatusCode == 401 {
					got = "401"
				}
				if got != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			}
		})
	}
}

func TestCacheIsBoundedAndEnds(t *testing.T) {
	c := newCache[int, int](10)
	now := time.Now()
	for i := range 100 {
		c.put(i, i, now.Add(time.Minute), now)
	}
	if len(c.entries) > 10 {
		t.Errorf("holds %d, want at most 10", len(c.entries))
	}
	if v, ok := c.get(99, now); !ok || v != 99 {
		t.Error("forgot the newest")
	}
	if _, ok := c.get(99, now.Add(time.Minute)); ok {
		t.Error("gave what has ended")
	}
}

func BenchmarkToken(b *testing.B) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	sa := &corev1.ServiceAccount{ObjectMeta: meta("ns", "web", "sa-1")}
	tokens, _ := NewTokens(TokensConfig{Key: key}, objects{"serviceaccounts/ns/web": sa})
	out, err := tokens.Request(context.Background(), &connect.Request{Object: sa}, &authenticationv1.TokenRequest{})
	if err != nil {
		b.Fatal(err)
	}
	token := out.(*authenticationv1.TokenRequest).Status.Token
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := tokens.AuthenticateToken(context.Background(), token); !ok {
			b.Fatal(err)
		}
	}
}
