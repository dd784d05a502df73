package cri

// The parts of containerd that a node needs. Everything else (tracing, NRI, metrics, image verifiers, other snapshotters, its restart monitor) is left out:
// an import here registers a plugin with containerd, and [wanted] says which of the registered ones are started.
import (
	_ "github.com/containerd/containerd/api/types/runc/options"
	_ "github.com/containerd/containerd/v2/core/runtime/v2"
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/cri"
	_ "github.com/containerd/containerd/v2/plugins/cri/images"
	_ "github.com/containerd/containerd/v2/plugins/cri/runtime"
	_ "github.com/containerd/containerd/v2/plugins/diff/walking/plugin"
	_ "github.com/containerd/containerd/v2/plugins/events"
	_ "github.com/containerd/containerd/v2/plugins/gc"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/mount"
	_ "github.com/containerd/containerd/v2/plugins/sandbox"
	_ "github.com/containerd/containerd/v2/plugins/server/ttrpc"
	_ "github.com/containerd/containerd/v2/plugins/services/containers"
	_ "github.com/containerd/containerd/v2/plugins/services/content"
	_ "github.com/containerd/containerd/v2/plugins/services/diff"
	_ "github.com/containerd/containerd/v2/plugins/services/events"
	_ "github.com/containerd/containerd/v2/plugins/services/images"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/leases"
	_ "github.com/containerd/containerd/v2/plugins/services/mounts"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/services/sandbox"
	_ "github.com/containerd/containerd/v2/plugins/services/snapshots"
	_ "github.com/containerd/containerd/v2/plugins/services/streaming"
	_ "github.com/containerd/containerd/v2/plugins/services/tasks"
	_ "github.com/containerd/containerd/v2/plugins/services/transfer"
	_ "github.com/containerd/containerd/v2/plugins/services/version"
	_ "github.com/containerd/containerd/v2/plugins/services/warning"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/native/plugin"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/overlay/plugin"
	_ "github.com/containerd/containerd/v2/plugins/streaming"
	_ "github.com/containerd/containerd/v2/plugins/transfer"
)

// unwanted are registered plugins that are not started; dependencies of the above bring them along.
var unwanted = map[string]bool{
	"io.containerd.differ.v1.erofs":            true,
	"io.containerd.mount-handler.v1.erofs":     true,
	"io.containerd.internal.v1.opt":            true,
	"io.containerd.internal.v1.restart":        true,
	"io.containerd.nri.v1.nri":                 true,
	"io.containerd.server.v1.grpc":             true, // ours: see serve
	"io.containerd.server.v1.grpc-tcp":         true,
	"io.containerd.metrics.v1.grpc-prometheus": true,
	"io.containerd.metrics.v1.grpc-otel":       true,
	"io.containerd.grpc.v1.healthcheck":        true,
	"io.containerd.tracing.processor.v1.otlp":  true,
	"io.containerd.internal.v1.tracing":        true,
	"io.containerd.image-verifier.v1.bindir":   true,
	"io.containerd.monitor.task.v1.cgroups":    true, // metrics only: OOM events come from the shim
	"io.containerd.snapshotter.v1.blockfile":   true,
	"io.containerd.snapshotter.v1.devmapper":   true,
	"io.containerd.snapshotter.v1.erofs":       true,
}
