package cri

import "path/filepath"

// hostFacts are what the configuration of containerd depends on, apart from the options.
type hostFacts struct {
	overlay      bool // the root directory's file system can be an overlay's upper layer
	canLowerOOM  bool // CAP_SYS_RESOURCE: oom_score_adj may be lowered
	canMAC       bool // CAP_MAC_ADMIN: AppArmor profiles can be loaded
	shimSocketOK bool // State is short enough to hold the shims' sockets
}

// snapshotter is how image layers become root file systems.
func (h hostFacts) snapshotter() string {
	if h.overlay {
		return "overlayfs"
	}
	return "native" // copies: slow and large, but works on every file system
}

// containerdConfig is containerd's configuration by plugin URI, as its TOML file would say it.
func containerdConfig(o EmbeddedOptions, h hostFacts) map[string]map[string]any {
	c := map[string]map[string]any{
		"io.containerd.server.v1.ttrpc": {"address": o.Socket + ".ttrpc"},
		"io.containerd.cri.v1.images": {
			"snapshotter":   h.snapshotter(),
			"pinned_images": map[string]any{"sandbox": o.SandboxImage},
			"registry":      map[string]any{"config_path": o.RegistryDir},
			// Seconds between walks over all snapshots for ImageFsInfo.
			"stats_collect_period": 300,
		},
		"io.containerd.grpc.v1.cri": {
			"stream_server_address": "127.0.0.1",
			"stream_server_port":    "0",
			"disable_tcp_service":   true,
		},
		"io.containerd.cri.v1.runtime": {
			"disable_apparmor":             !h.canMAC,
			"restrict_oom_score_adj":       !h.canLowerOOM,
			"netns_mounts_under_state_dir": true,
			"enable_criu":                  false,
			// containerd would wake every shim once a second to keep a rate that stats callers can compute from two counters.
			"stats_collect_period":   "1h",
			"stats_retention_period": "2h",
			"cni": map[string]any{
				"bin_dirs":              []string{o.CNIBinDir},
				"conf_dir":              o.CNIConfDir,
				"use_internal_loopback": true,
			},
			"containerd": map[string]any{
				"default_runtime_name": "runc",
				"runtimes": map[string]any{
					"runc": map[string]any{
						"runtime_type": "io.containerd.runc.v2",
						"sandboxer":    "podsandbox",
						"options": map[string]any{
							"BinaryName":    o.Runc,
							"Root":          filepath.Join(o.State, "runc"),
							"SystemdCgroup": false,
						},
					},
				},
			},
		},
		"io.containerd.transfer.v1.local": {
			"unpack_config": []map[string]any{{"platform": platform(), "snapshotter": h.snapshotter(), "differ": "walking"}},
		},
	}
	shim := map[string]any{}
	if h.shimSocketOK {
		shim["socket_dir"] = filepath.Join(o.State, "s")
	}
	c["io.containerd.shim.v1.manager"] = shim
	return c
}
