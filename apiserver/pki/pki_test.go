package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustEnsure(t *testing.T, dir string, names []string, now time.Time) *PKI {
	t.Helper()
	p, err := ensure(dir, names, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSecondEnsureKeepsEverything(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	mustEnsure(t, dir, []string{"node-1", "192.0.2.7"}, time.Now())
	before := snapshot(t, dir)
	if len(before) != 8 {
		t.Fatalf("got files %v, want 8", slices.Collect(maps.Keys(before)))
	}
	start := time.Now()
	p := mustEnsure(t, dir, []string{"192.0.2.7", "NODE-1"}, time.Now())
	t.Logf("Ensure over existing files took %s", time.Since(start))
	for name, data := range snapshot(t, dir) {
		if !bytes.Equal(before[name], data) {
			t.Errorf("%s was written again", name)
		}
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", name, st.Mode().Perm())
		}
	}
	c, err := p.ServingCertificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{"node-1", "192.0.2.7"}, StandardNames...) {
		if err := c.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
}

func TestServingCertificateIsRenewedUnderTheSameAuthority(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	p, err := ensure(dir, nil, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	first, _ := p.ServingCertificate()
	now = now.Add(leafLifetime - renewBefore - time.Hour)
	if c, _ := p.ServingCertificate(); c.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) != 0 {
		t.Error("renewed too early")
	}
	now = now.Add(2 * time.Hour)
	second, err := p.ServingCertificate()
	if err != nil {
		t.Fatal(err)
	}
	if second.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) == 0 {
		t.Error("not renewed when its end was near")
	}
	if err := p.SetNames([]string{"other.example"}); err != nil {
		t.Fatal(err)
	}
	third, _ := p.ServingCertificate()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.CAPEM())
	if _, err := third.Leaf.Verify(x509.VerifyOptions{DNSName: "other.example", Roots: pool, CurrentTime: now}); err != nil {
		t.Errorf("after SetNames: %v", err)
	}
}

// A start that was cut short left a prefix of what Ensure writes, in its order. From each, the next Ensure goes on, and keeps what was there.
func TestEnsureGoesOnAfterACrashAtAnyStep(t *testing.T) {
	order := []string{caKeyFile, caCertFile, saKeyFile, servingFile, adminFile}
	whole := t.TempDir()
	mustEnsure(t, whole, nil, time.Now())
	for n := range len(order) + 1 {
		dir := t.TempDir()
		for _, name := range order[:n] {
			data, _ := os.ReadFile(filepath.Join(whole, name))
			os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		os.WriteFile(filepath.Join(dir, ".apiserver.pem.123"), []byte("half"), 0o600)
		p := mustEnsure(t, dir, nil, time.Now())
		for _, name := range order[:n] {
			a, _ := os.ReadFile(filepath.Join(whole, name))
			b, _ := os.ReadFile(filepath.Join(dir, name))
			if !bytes.Equal(a, b) {
				t.Errorf("after %d files: %s was replaced", n, name)
			}
		}
		if c, err := p.ServingCertificate(); err != nil || c.Leaf.CheckSignatureFrom(p.ca) != nil {
			t.Errorf("after %d files: serving certificate is not of the authority (%v)", n, err)
		}
	}
}

func TestBrokenFolders(t *testing.T) {
	for name, tc := range map[string]struct {
		harm func(dir string)
		want string // in the error; empty: repaired
	}{
		"authority without key":   {func(d string) { os.Remove(filepath.Join(d, caKeyFile)) }, "but its key"},
		"key of another":          {func(d string) { os.Rename(filepath.Join(d, saKeyFile), filepath.Join(d, caKeyFile)) }, "do not belong together"},
		"authority is garbage":    {func(d string) { os.WriteFile(filepath.Join(d, caCertFile), []byte("x"), 0o600) }, "no certificate in PEM form"},
		"signing key is garbage":  {func(d string) { os.WriteFile(filepath.Join(d, saKeyFile), nil, 0o600) }, "no EC private key"},
		"serving pair is garbage": {func(d string) { os.WriteFile(filepath.Join(d, servingFile), []byte("x"), 0o600) }, ""},
		"admin pair is torn":      {func(d string) { os.Truncate(filepath.Join(d, adminFile), 600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustEnsure(t, dir, nil, time.Now())
			tc.harm(dir)
			_, err := Ensure(dir, nil)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestHandshakeWithAdminCertificate(t *testing.T) {
	p := mustEnsure(t, t.TempDir(), nil, time.Now())
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.TLS.PeerCertificates[0]
		if _, err := c.Verify(x509.VerifyOptions{Roots: p.ClientCAs(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Error(err)
		}
		w.Header().Set("X-User", c.Subject.CommonName+"/"+strings.Join(c.Subject.Organization, ","))
	}))
	srv.TLS = p.ServerTLS()
	srv.StartTLS()
	defer srv.Close()
	certPEM, keyPEM := p.Admin()
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.CAPEM())
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}}}
	resp, err := c.Get("https://localhost:" + port)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("X-User"); got != "kubernetes-admin/system:masters" {
		t.Errorf("got user %q", got)
	}
}

func snapshot(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			for name, data := range snapshot(t, filepath.Join(dir, e.Name())) {
				out[filepath.Join(e.Name(), name)] = data
			}
			continue
		}
		out[e.Name()], _ = os.ReadFile(filepath.Join(dir, e.Name()))
	}
	return out
}

func TestNames(t *testing.T) {
	got := normalNames([]string{"::1", "0:0::1", "Box.Example", "", "10.0.0.1"})
	if slices.Contains(got, "") || !slices.Contains(got, "box.example") || !slices.Contains(got, "10.0.0.1") || !slices.IsSorted(got) {
		t.Errorf("got %v", got)
	}
	if n := len(got); n != len(StandardNames)+2 {
		t.Errorf("got %d names, want %d: %v", n, len(StandardNames)+2, got)
	}
}

func BenchmarkEnsureExisting(b *testing.B) {
	dir := b.TempDir()
	if _, err := Ensure(dir, nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Ensure(dir, nil); err != nil {
			b.Fatal(err)
		}
	}
}
