package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// hostNetworkPorts: on the host's network a port is the host's port.
func (c *checker) hostNetworkPorts(p *field.Path, spec *corev1.PodSpec) {
	if !spec.HostNetwork {
		return
	}
	for i := range spec.Containers {
		for j := range spec.Containers[i].Ports {
			// A template may leave the host port out: it is set when the pod is made.
			port := &spec.Containers[i].Ports[j]
			if port.HostPort != port.ContainerPort && (c.isPod || port.HostPort != 0) {
				c.invalid(p.Child("containers").Index(i).Child("ports").Index(j).Child("hostPort"), port.HostPort, "must match `containerPort` when `hostNetwork` is true")
			}
		}
	}
}

func (c *checker) dnsConfig(p *field.Path, d *corev1.PodDNSConfig, policy corev1.DNSPolicy) {
	// What glibc can take.
	const maxServers, maxSearches, maxSearchChars = 3, 32, 2048
	if policy == corev1.DNSNone {
		if d == nil {
			c.required(p, fmt.Sprintf("must provide `dnsConfig` when `dnsPolicy` is %s", corev1.DNSNone))
			return
		}
		if len(d.Nameservers) == 0 {
			c.required(p.Child("nameservers"), fmt.Sprintf("must provide at least one DNS nameserver when `dnsPolicy` is %s", corev1.DNSNone))
			return
		}
	}
	if d == nil {
		return
	}
	if len(d.Nameservers) > maxServers {
		c.invalid(p.Child("nameservers"), d.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxServers))
	}
	for i, ns := range d.Nameservers {
		c.ip(p.Child("nameservers").Index(i), ns, nil)
	}
	if len(d.Searches) > maxSearches {
		c.invalid(p.Child("searches"), d.Searches, fmt.Sprintf("must not have more than %v search paths", maxSearches))
	}
	if len(strings.Join(d.Searches, " ")) > maxSearchChars {
		c.invalid(p.Child("searches"), d.Searches, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", maxSearchChars))
	}
	for i, search := range d.Searches {
		if search != "." {
			search = strings.TrimSuffix(search, ".")
			c.each(p.Child("searches").Index(i), search, validation.IsDNS1123SubdomainWithUnderscore(search))
		}
	}
	for i, option := range d.Options {
		if option.Name == "" {
			c.required(p.Child("options").Index(i), "must not be empty")
		}
	}
}

func (c *checker) hostAliases(p *field.Path, aliases []corev1.HostAlias) {
	for i, alias := range aliases {
		c.ip(p.Index(i).Child("ip"), alias.IP, nil)
		for j, name := range alias.Hostnames {
			c.dnsSubdomain(p.Index(i).Child("hostnames").Index(j), name)
		}
	}
}

func (c *checker) hostnameOverride(p *field.Path, spec *corev1.PodSpec) {
	if spec.HostnameOverride == nil {
		return
	}
	const longest = 64
	at, name := p.Child("hostnameOverride"), *spec.HostnameOverride
	if spec.SetHostnameAsFQDN != nil && *spec.SetHostnameAsFQDN {
		c.forbidden(at, "may not be specified when setHostnameAsFQDN is true")
	}
	if spec.HostNetwork {
		c.forbidden(at, "may not be specified when hostNetwork is true")
	}
	if len(name) > longest {
		c.tooLong(at, longest)
	}
	c.dnsSubdomain(at, name)
}
