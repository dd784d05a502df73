package criconfig

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pod is what the node decided for a pod, common to its sandbox and containers.
type Pod struct {
	CgroupParent string
	LogDir       string // of the pod
	DNS          *runtimeapi.DNSConfig
	Domain       string // cluster.local
	Userns       *runtimeapi.UserNamespace
	Host         HostFacts
}

// Hostname is the short host name of the pod and, with a subdomain, its domain.
func Hostname(pod *corev1.Pod, cluster string) (host, domain string) {
	if o := pod.Spec.HostnameOverride; o != nil {
		return truncate(*o), ""
	}
	host = pod.Name
	if pod.Spec.Hostname != "" {
		host = pod.Spec.Hostname
	}
	if pod.Spec.Subdomain != "" {
		domain = fmt.Sprintf("%s.%s.svc.%s", pod.Spec.Subdomain, pod.Namespace, cluster)
	}
	return truncate(host), domain
}

// truncate cuts to what the kernel takes, and drops what may not stand at the end of a name.
func truncate(s string) string {
	if len(s) > 63 {
		s = strings.TrimRight(s[:63], "-.")
	}
	return s
}

// Sandbox makes the configuration of a pod's sandbox.
func Sandbox(pod *corev1.Pod, attempt uint32, p *Pod) (*runtimeapi.PodSandboxConfig, error) {
	labels := identity(pod)
	for k, v := range pod.Labels {
		if _, ours := labels[k]; !ours {
			labels[k] = v
		}
	}
	annotations := map[string]string{}
	for k, v := range pod.Annotations {
		annotations[k] = v
	}
	cfg := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: attempt},
		Labels:   labels, Annotations: annotations, DnsConfig: p.DNS, LogDirectory: p.LogDir,
	}
	sec := &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: namespaces(pod, p.Userns),
		Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if sc := list[i].SecurityContext; sc != nil && sc.Privileged != nil && *sc.Privileged {
				sec.Privileged = true
			}
		}
	}
	cfg.Linux = &runtimeapi.LinuxPodSandboxConfig{CgroupParent: p.CgroupParent, SecurityContext: sec, Sysctls: map[string]string{}}
	if sc := pod.Spec.SecurityContext; sc != nil {
		for _, s := range sc.Sysctls {
			cfg.Linux.Sysctls[s.Name] = s.Value
		}
		sec.RunAsUser, sec.RunAsGroup, sec.SelinuxOptions = int64Value(sc.RunAsUser), int64Value(sc.RunAsGroup), selinux(sc.SELinuxOptions)
		sec.SupplementalGroups, sec.SupplementalGroupsPolicy = groups(pod)
	}
	if pod.Spec.HostNetwork {
		annotations[HostNetwork] = "true"
	} else {
		host, domain := Hostname(pod, p.Domain)
		if fqdn := pod.Spec.SetHostnameAsFQDN; fqdn != nil && *fqdn && domain != "" {
			if host += "." + domain; len(host) > 64 {
				return nil, fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (64 characters is the max, %d characters requested)", host, len(host))
			}
		}
		cfg.Hostname = host
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, port := range list[i].Ports {
				m := &runtimeapi.PortMapping{ContainerPort: port.ContainerPort, HostPort: port.HostPort, HostIp: port.HostIP}
				switch port.Protocol {
				case corev1.ProtocolUDP:
					m.Protocol = runtimeapi.Protocol_UDP
				case corev1.ProtocolSCTP:
					m.Protocol = runtimeapi.Protocol_SCTP
				}
				cfg.PortMappings = append(cfg.PortMappings, m)
			}
		}
	}
	return cfg, nil
}
