package criconfig

import (
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits of resolv.conf, as upstream.
const (
	maxServers    = 3
	maxSearches   = 32
	maxSearchChar = 2048
)

// Resolver is the node's part in a pod's resolv.conf.
type Resolver struct {
	Cluster []string // addresses of the cluster's DNS
	Domain  string
	Path    string // the node's resolv.conf
}

// DNS makes the pod's resolver configuration. Warning, if not empty, is for an event (MissingClusterDNS, DNSConfigForming).
func (r Resolver) DNS(pod *corev1.Pod) (cfg *runtimeapi.DNSConfig, reason, warning string, err error) {
	policy := pod.Spec.DNSPolicy
	if policy == corev1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = corev1.DNSDefault
	}
	if policy == corev1.DNSClusterFirstWithHostNet {
		policy = corev1.DNSClusterFirst
	}
	cfg = &runtimeapi.DNSConfig{}
	if policy != corev1.DNSNone {
		if cfg, err = parse(r.Path); err != nil {
			return nil, "", "", err
		}
	}
	if policy == corev1.DNSClusterFirst || policy == "" {
		if len(r.Cluster) > 0 {
			cfg.Servers = append([]string(nil), r.Cluster...)
			cfg.Searches = append([]string{pod.Namespace + ".svc." + r.Domain, "svc." + r.Domain, r.Domain}, cfg.Searches...)
			cfg.Options = setOption(cfg.Options, "ndots", "5")
		} else {
			reason, warning = "MissingClusterDNS", "kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. Falling back to \"Default\" policy."
		}
	}
	if c := pod.Spec.DNSConfig; c != nil {
		cfg.Servers = unique(append(cfg.Servers, c.Nameservers...))
		cfg.Searches = append(cfg.Searches, c.Searches...)
		for _, o := range c.Options {
			v := ""
			if o.Value != nil {
				v = *o.Value
			}
			cfg.Options = setOption(cfg.Options, o.Name, v)
		}
	}
	cfg.Searches = unique(cfg.Searches)
	if len(cfg.Servers) > maxServers {
		cfg.Servers = cfg.Servers[:maxServers]
		reason, warning = "DNSConfigForming", "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "+strings.Join(cfg.Servers, " ")
	}
	cut := false
	for len(cfg.Searches) > maxSearches || len(strings.Join(cfg.Searches, " ")) > maxSearchChar {
		cfg.Searches, cut = cfg.Searches[:len(cfg.Searches)-1], true
	}
	if cut {
		reason, warning = "DNSConfigForming", "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "+strings.Join(cfg.Searches, " ")
	}
	return cfg, reason, warning, nil
}

func parse(path string) (*runtimeapi.DNSConfig, error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return &runtimeapi.DNSConfig{}, nil
	}
	if err != nil {
		return nil, err
	}
	cfg := &runtimeapi.DNSConfig{}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			cfg.Servers = append(cfg.Servers, f[1])
		case "search":
			cfg.Searches = nil
			for _, s := range f[1:] {
				if s != "." {
					cfg.Searches = append(cfg.Searches, strings.TrimSuffix(s, "."))
				}
			}
		case "options":
			for _, o := range f[1:] {
				name, value, _ := strings.Cut(o, ":")
				cfg.Options = setOption(cfg.Options, name, value)
			}
		}
	}
	return cfg, nil
}

func setOption(list []string, name, value string) []string {
	o := name
	if value != "" {
		o += ":" + value
	}
	for i := range list {
		if n, _, _ := strings.Cut(list[i], ":"); n == name {
			list[i] = o
			return list
		}
	}
	return append(list, o)
}

func unique(list []string) []string {
	seen := map[string]bool{}
	out := list[:0:0]
	for _, s := range list {
		if s != "" && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// Hosts is the text of a pod's /etc/hosts. node is the node's own file, used by pods of its network.
func Hosts(pod *corev1.Pod, ips []string, cluster string, node []byte) []byte {
	var b strings.Builder
	if pod.Spec.HostNetwork {
		b.WriteString("# Kubernetes-managed hosts file (host network).\n")
		b.Write(node)
	} else {
		b.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
		b.WriteString("fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
		host, domain := Hostname(pod, cluster)
		for _, ip := range ips {
			b.WriteString(ip + "\t")
			if domain != "" {
				b.WriteString(host + "." + domain + "\t")
			}
			b.WriteString(host + "\n")
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, a := range pod.Spec.HostAliases {
			b.WriteString(a.IP + "\t" + strings.Join(a.Hostnames, "\t") + "\n")
		}
	}
	return []byte(b.String())
}
