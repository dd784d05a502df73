// Package pki keeps the keys and certificates of one Tenet server: its own certificate authority, the certificate it serves with, the
// administrator's client certificate and the key that signs service account tokens.
//
// Everything is ECDSA P-256 and rests in one folder, files 0600, made at the first start. Each file is replaced in one step (temporary
// file, fsync, rename, fsync of the folder), and the order of writing is such that a crash at any point leaves a folder from which the
// next Ensure goes on: the authority's key before its certificate, and both before anything that they sign.
//
// The authority is never replaced by itself: clients that trust it stay connected when the serving certificate changes. A folder that has
// the authority's certificate but not its key is refused, because silently making another would lock every client out.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Names of the files in the folder.
const (
	caKeyFile   = "ca.key"
	caCertFile  = "ca.crt"
	servingFile = "apiserver.pem"
	adminFile   = "admin.pem"
	saKeyFile   = "service-account.key"
)

const (
	caLifetime   = 20 * 365 * 24 * time.Hour
	leafLifetime = 365 * 24 * time.Hour
	// renewBefore is how much of a certificate's life must be left for it to be kept.
	renewBefore = leafLifetime / 4
	// backdate allows for clocks of clients that are behind.
	backdate = time.Hour
)

// PKI is the open folder. All methods may be called at once.
type PKI struct {
	dir string
	now func() time.Time

	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	caPEM  []byte
	caPool *x509.CertPool
	saKey  *ecdsa.PrivateKey
	front  *PKI // the front proxy's: only authority and serving, which is its client certificate

	mu      sync.Mutex
	names   []string
	serving *leaf
	admin   *leaf
}

// leaf is a certificate with its key, as one file holds both.
type leaf struct {
	tls               tls.Certificate
	certPEM, keyPEM   []byte
	notAfter, renewAt time.Time
}

// Ensure opens the folder and makes what is missing, or no longer good. names are the IP addresses and DNS names by which this server
// is reached, beside [StandardNames], which are always there.
func Ensure(dir string, names []string) (*PKI, error) {
	return ensure(dir, names, time.Now)
}

func ensure(dir string, names []string, now func() time.Time) (*PKI, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	p := &PKI{dir: dir, now: now, names: normalNames(names)}
	if err := p.ensureCA(); err != nil {
		return nil, err
	}
	var err error
	if p.saKey, err = p.ensureKey(saKeyFile); err != nil {
		return nil, err
	}
	if err := p.ensureServing(); err != nil {
		return nil, err
	}
	if err := p.ensureAdmin(); err != nil {
		return nil, err
	}
	if err := p.ensureFrontProxy(); err != nil {
		return nil, err
	}
	return p, nil
}

// CAPEM is the authority's certificate, as it goes into kubeconfigs and kube-root-ca.crt. The caller does not change it.
func (p *PKI) CAPEM() []byte { return p.caPEM }

// ClientCAs is the pool against which client certificates are checked.
func (p *PKI) ClientCAs() *x509.CertPool { return p.caPool }

// ServiceAccountKey signs service account tokens.
func (p *PKI) ServiceAccountKey() *ecdsa.PrivateKey { return p.saKey }

// ServerTLS is how the server listens: its own certificate (the newest one at each handshake), client certificates of its own authority
// welcome but not required, HTTP/2 offered first.
func (p *PKI) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		ClientAuth:     tls.RequestClientCert,
		ClientCAs:      p.caPool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.ServingCertificate() },
		// Small records at first are for pages that are drawn as they arrive; for a list they are a hundred writes instead of ten.
		DynamicRecordSizingDisabled: true,
	}
}

// ServingCertificate is the certificate to serve with now; it is renewed here when its end is near.
func (p *PKI) ServingCertificate() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.now().Before(p.serving.renewAt) {
		if err := p.ensureServing(); err != nil && !p.now().Before(p.serving.notAfter) {
			return nil, err
		}
	}
	return &p.serving.tls, nil
}

// SetNames changes the names of the serving certificate, for handshakes from now on. It does nothing when the certificate has them already.
func (p *PKI) SetNames(names []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names = normalNames(names)
	return p.ensureServing()
}

// Admin is the administrator's certificate and key: user kubernetes-admin in group system:masters.
func (p *PKI) Admin() (certPEM, keyPEM []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admin.certPEM, p.admin.keyPEM
}

// IssueClient makes a client certificate that rests nowhere.
func (p *PKI) IssueClient(commonName string, organizations []string, lifetime time.Duration) (certPEM, keyPEM []byte, err error) {
	l, err := p.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName, Organization: organizations},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, lifetime)
	if err != nil {
		return nil, nil, err
	}
	return l.certPEM, l.keyPEM, nil
}

func (p *PKI) path(name string) string { return filepath.Join(p.dir, name) }

func (p *PKI) ensureCA() error {
	certPEM, certErr := os.ReadFile(p.path(caCertFile))
	if certErr != nil && !errors.Is(certErr, fs.ErrNotExist) {
		return fmt.Errorf("pki: %w", certErr)
	}
	if certErr == nil {
		if _, err := os.Stat(p.path(caKeyFile)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("pki: %s is there but its key %s is not: put the key back, or remove the folder to start with a new authority", p.path(caCertFile), p.path(caKeyFile))
		}
	}
	key, err := p.ensureKey(caKeyFile)
	if err != nil {
		return err
	}
	if certErr != nil {
		if certPEM, err = p.makeCA(key); err != nil {
			return err
		}
	}
	ca, err := parseCert(certPEM)
	if err != nil {
		return fmt.Errorf("pki: %s: %w", p.path(caCertFile), err)
	}
	if !key.PublicKey.Equal(ca.PublicKey) {
		return fmt.Errorf("pki: %s and %s do not belong together: put the right key back, or remove the folder to start with a new authority", p.path(caCertFile), p.path(caKeyFile))
	}
	if p.now().After(ca.NotAfter) {
		return fmt.Errorf("pki: the authority in %s ended on %s", p.path(caCertFile), ca.NotAfter.Format(time.DateOnly))
	}
	p.ca, p.caKey, p.caPEM = ca, key, certPEM
	p.caPool = x509.NewCertPool()
	p.caPool.AddCert(ca)
	return nil
}

func (p *PKI) makeCA(key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := p.now()
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		// The serial in the name keeps two authorities apart when one user trusts both.
		Subject:   pkix.Name{CommonName: "tenet-ca-" + serial.Text(36)[:8]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("pki: make authority: %w", err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return out, writeFile(p.path(caCertFile), out)
}

// ensureKey reads a private key, or makes it.
func (p *PKI) ensureKey(name string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(p.path(name))
	if err == nil {
		key, err := parseKey(data)
		if err != nil {
			return nil, fmt.Errorf("pki: %s: %w", p.path(name), err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("pki: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: make %s: %w", name, err)
	}
	data, err = encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("pki: make %s: %w", name, err)
	}
	return key, writeFile(p.path(name), data)
}

func (p *PKI) ensureServing() error {
	dns, ips := splitNames(p.names)
	l, err := p.ensureLeaf(servingFile, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		DNSNames:    dns,
		IPAddresses: ips,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err == nil {
		p.serving = l
	}
	return err
}

func (p *PKI) ensureAdmin() error {
	l, err := p.ensureLeaf(adminFile, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kubernetes-admin", Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil {
		p.admin = l
	}
	return err
}

// ensureLeaf returns what the file holds, when that is what want describes and lives on for long enough, or makes it anew.
func (p *PKI) ensureLeaf(name string, want *x509.Certificate) (*leaf, error) {
	if data, err := os.ReadFile(p.path(name)); err == nil {
		if l, err := parseLeaf(data); err == nil && p.now().Before(l.renewAt) && p.keeps(l.tls.Leaf, want) {
			return l, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("pki: %w", err)
	}
	l, err := p.issue(want, leafLifetime)
	if err != nil {
		return nil, err
	}
	return l, writeFile(p.path(name), append(append([]byte(nil), l.certPEM...), l.keyPEM...))
}

// keeps reports that cert is ours and says what want says.
func (p *PKI) keeps(cert, want *x509.Certificate) bool {
	return cert.CheckSignatureFrom(p.ca) == nil && cert.Subject.String() == want.Subject.String() && sameNames(cert, want)
}

func (p *PKI) issue(tmpl *x509.Certificate, lifetime time.Duration) (*leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: make key for %s: %w", tmpl.Subject, err)
	}
	if tmpl.SerialNumber, err = newSerial(); err != nil {
		return nil, err
	}
	now := p.now()
	tmpl.NotBefore, tmpl.NotAfter = now.Add(-backdate), now.Add(lifetime)
	if tmpl.NotAfter.After(p.ca.NotAfter) {
		tmpl.NotAfter = p.ca.NotAfter
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.ca, key.Public(), p.caKey)
	if err != nil {
		return nil, fmt.Errorf("pki: sign certificate for %s: %w", tmpl.Subject, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("pki: encode key for %s: %w", tmpl.Subject, err)
	}
	return parseLeaf(append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM...))
}

func newSerial() (*big.Int, error) {
	// 127 random bits with the highest set: positive, at most 20 bytes (RFC 5280), and never short.
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fmt.Errorf("pki: make serial number: %w", err)
	}
	return n.SetBit(n, 126, 1), nil
}
