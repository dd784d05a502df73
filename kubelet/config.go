package kubelet

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kubelet/cri"
)

// Config is what a node agent needs. Fields without a stated default are required.
type Config struct {
	Client   client.Client
	Cache    client.Cache // pods, nodes, services, config maps and secrets are read through it
	Recorder client.Recorder
	Runtime  cri.Runtime
	NodeName string
	Logger   *slog.Logger // slog.Default()

	// RootDir holds pods/<uid> with volumes and etc-hosts; LogDir the logs of containers.
	RootDir string
	LogDir  string // RootDir/logs

	// NodeIPs are the addresses of this node, primary first. At most one of each family.
	NodeIPs []string
	// Labels and Taints are given to the node when it registers.
	Labels map[string]string
	Taints []corev1.Taint
	// PodCIDR is put into the node's spec when it registers; empty: something else allocates it.
	PodCIDR string
	// OnPodCIDR is called with the range of this node's pods as soon as it is known, and when it changes; the network is configured there. May be nil.
	OnPodCIDR func(cidr string)
	// NetworkReady says whether pods can be given addresses; a reason when not. Nil: what the runtime says.
	NetworkReady func() error

	ClusterDNS    []string // addresses of the cluster's DNS; empty: pods of dnsPolicy ClusterFirst get the node's
	ClusterDomain string   // cluster.local
	ResolvConf    string   // /etc/resolv.conf

	// ServiceHost and ServicePort become KUBERNETES_SERVICE_* when the Service default/kubernetes is not there.
	ServiceHost string
	ServicePort int

	MaxPods int // 110
	// Port is what the node says its kubelet listens on (status.daemonEndpoints); 0: none, the API server has another way here.
	Port int
	// Version is reported as nodeInfo.kubeletVersion.
	Version string

	// CgroupRoot is where hierarchies are mounted: /sys/fs/cgroup. "-" makes no cgroups (hollow nodes, tests).
	CgroupRoot string
	// Hollow nodes mount no volumes and need no root: what would touch the host is left out.
	Hollow bool
	// Reserved is taken off capacity for the system.
	Reserved corev1.ResourceList
	// SerializePulls pulls one image at a time; else at most MaxParallelPulls (0: no limit).
	SerializePulls   bool
	MaxParallelPulls int
	// SeccompDefault uses RuntimeDefault for containers that name no seccomp profile.
	SeccompDefault bool

	// LogMaxSize and LogMaxFiles rotate container logs: 10 MiB, 5.
	LogMaxSize  int64
	LogMaxFiles int
	// RelistPeriod is the fallback for lost runtime events: 5 min.
	RelistPeriod time.Duration
	// HTTP is used by probes and hooks; nil: a client of its own.
	HTTP http.RoundTripper
}

func (c *Config) complete() error {
	switch {
	case c.Client == nil || c.Cache == nil || c.Recorder == nil || c.Runtime == nil:
		return errors.New("kubelet: Client, Cache, Recorder and Runtime are required")
	case c.NodeName == "":
		return errors.New("kubelet: NodeName is required")
	case c.RootDir == "" && !c.Hollow:
		return errors.New("kubelet: RootDir is required")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("node", c.NodeName)
	if c.LogDir == "" {
		c.LogDir = c.RootDir + "/logs"
	}
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	if c.MaxPods == 0 {
		c.MaxPods = 110
	}
	if c.CgroupRoot == "" {
		c.CgroupRoot = "/sys/fs/cgroup"
	}
	if c.LogMaxSize == 0 {
		c.LogMaxSize = 10 << 20
	}
	if c.LogMaxFiles == 0 {
		c.LogMaxFiles = 5
	}
	if c.RelistPeriod == 0 {
		c.RelistPeriod = 5 * time.Minute
	}
	return nil
}
