package pki

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("no EC private key in PEM form")
		}
		if block.Type == "EC PRIVATE KEY" {
			return x509.ParseECPrivateKey(block.Bytes)
		}
		data = rest
	}
}

func parseCert(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in PEM form")
	}
	return x509.ParseCertificate(block.Bytes)
}

// parseLeaf reads a certificate followed by its key.
func parseLeaf(data []byte) (*leaf, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no certificate in PEM form")
	}
	l := &leaf{certPEM: pem.EncodeToMemory(block), keyPEM: rest}
	var err error
	if l.tls, err = tls.X509KeyPair(l.certPEM, l.keyPEM); err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	if l.tls.Leaf == nil {
		if l.tls.Leaf, err = x509.ParseCertificate(block.Bytes); err != nil {
			return nil, err
		}
	}
	l.notAfter = l.tls.Leaf.NotAfter
	l.renewAt = l.notAfter.Add(-renewBefore)
	return l, nil
}
