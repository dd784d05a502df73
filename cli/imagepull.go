package cli

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tenet-run/tenet/internal/images"
)

func imagePull(ctx context.Context, c *cobra.Command, r *containerd.Client, args []string) error {
	registries, _ := c.Flags().GetString("registry-dir")
	for _, name := range args {
		o := images.PullOptions{RegistryDir: registries}
		if term.IsTerminal(int(os.Stderr.Fd())) {
			o.Progress = showProgress(name)
		}
		full, err := images.Pull(ctx, r, name, o)
		if o.Progress != nil {
			fmt.Fprint(os.Stderr, "\r\033[K")
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(c.OutOrStdout(), "pulled", full)
	}
	return nil
}

// showProgress writes one line over itself, at most ten times a second.
func showProgress(name string) func(step string, done, total int64) {
	var mu sync.Mutex
	var last time.Time
	return func(step string, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) < 100*time.Millisecond {
			return
		}
		last = time.Now()
		if total > 0 {
			fmt.Fprintf(os.Stderr, "\r\033[K%s: %s, %.1f of %.1f MB", name, step, float64(done)/1e6, float64(total)/1e6)
		} else {
			fmt.Fprintf(os.Stderr, "\r\033[K%s: %s", name, step)
		}
	}
}
