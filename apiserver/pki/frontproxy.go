package pki

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"path/filepath"
)

// FrontProxyName is the common name of the certificate by which other API servers know this one.
const FrontProxyName = "front-proxy-client"

const (
	frontProxyDir  = "front-proxy"
	frontProxyFile = "client.pem"
)

// ensureFrontProxy opens the folder of the front proxy's own authority. It has to be another one than that of users: whoever holds a certificate of it says who he is.
func (p *PKI) ensureFrontProxy() error {
	f := &PKI{dir: filepath.Join(p.dir, frontProxyDir), now: p.now}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	if err := f.ensureCA(); err != nil {
		return err
	}
	p.front = f
	return f.ensureClient()
}

func (p *PKI) ensureClient() error {
	l, err := p.ensureLeaf(frontProxyFile, &x509.Certificate{
		Subject:     pkix.Name{CommonName: FrontProxyName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil {
		p.serving = l
	}
	return err
}

// FrontProxyCAPEM is the certificate of the front proxy's authority. The caller does not change it.
func (p *PKI) FrontProxyCAPEM() []byte { return p.front.caPEM }

// FrontProxyCertificate is what to show to other API servers now; it is renewed here when its end is near.
func (p *PKI) FrontProxyCertificate() (*tls.Certificate, error) {
	f := p.front
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.now().Before(f.serving.renewAt) {
		if err := f.ensureClient(); err != nil && !f.now().Before(f.serving.notAfter) {
			return nil, err
		}
	}
	return &f.serving.tls, nil
}
