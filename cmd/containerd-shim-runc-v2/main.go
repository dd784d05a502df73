//go:build linux

// Command containerd-shim-runc-v2 is containerd's shim for runc: the process between containerd and a pod's containers, which keeps them when Tenet ends.
// Task service, bootstrap and protocol are containerd's own. What differs is what starting a pod costs: two executions of this program and four of
// runc, all of which live for milliseconds.
//
//   - A shim that starts collects no garbage. After [settled] containerd's own setting (a heap of 1.4 times what is used) holds.
//   - runc is told to collect none at all.
//   - Shim and runc work on one processor each: they mostly wait, for the kernel and for each other, and threads for more cost time to make and to wake.
//   - `runc start` is done here: see [monitor].
package main

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/go-runc"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

const (
	settled     = 10 * time.Second
	startMemory = 32 << 20 // bytes, at which garbage is collected after all
	percent     = 40       // what containerd's shim sets
)

func main() {
	runtime.GOMAXPROCS(1)
	for name, value := range map[string]string{
		"GOMAXPROCS": "1",   // for runc; containerd's bootstrap has set 4
		"GOGC":       "off", // for runc, and for the shim until it sets its own
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err) // only for a name that cannot be
		}
	}
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn:   taskService,
	})
	shim.RunShim(context.Background(), starter{manager.NewShimManager("io.containerd.runc.v2")})
}

// starter is the bootstrap, in a process that ends with it.
type starter struct{ shim.Shim }

func (s starter) Start(ctx context.Context, p *bootapi.BootstrapParams) (*bootapi.BootstrapResult, error) {
	debug.SetGCPercent(-1)
	return s.Shim.Start(ctx, p)
}

// taskService makes the long-lived process.
func taskService(ic *plugin.InitContext) (any, error) {
	debug.SetMemoryLimit(startMemory)
	debug.SetGCPercent(-1)
	time.AfterFunc(settled, func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(math.MaxInt64)
	})
	events, err := ic.GetByID(plugins.EventPlugin, "publisher")
	if err != nil {
		return nil, err
	}
	end, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
	if err != nil {
		return nil, err
	}
	s, err := task.NewTaskService(ic.Context, events.(shim.Publisher), end.(shutdown.Service))
	if err != nil {
		return nil, err
	}
	runc.Monitor = monitor{runc.Monitor}
	return s, nil
}
