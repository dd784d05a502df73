package pki

import (
	"crypto/x509"
	"net"
	"slices"
	"strings"
)

// StandardNames are in every serving certificate: the machine by itself, and the `kubernetes` Service as pods call it.
var StandardNames = []string{
	"localhost", "127.0.0.1", "::1",
	"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "10.43.0.1",
}

// normalNames is the sorted set of names with the standard ones, addresses in their shortest form.
func normalNames(names []string) []string {
	all := make([]string, 0, len(names)+len(StandardNames))
	for _, n := range append(slices.Clone(StandardNames), names...) {
		if ip := net.ParseIP(n); ip != nil {
			all = append(all, ip.String())
		} else if n != "" {
			all = append(all, strings.ToLower(n))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func splitNames(names []string) (dns []string, ips []net.IP) {
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			ips = append(ips, ip)
		} else {
			dns = append(dns, n)
		}
	}
	return dns, ips
}

func sameNames(a, b *x509.Certificate) bool {
	return slices.Equal(certNames(a), certNames(b))
}

func certNames(c *x509.Certificate) []string {
	out := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	slices.Sort(out)
	return out
}
