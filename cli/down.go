package cli

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenet-run/tenet/server"
)

func downCommand() *cobra.Command {
	var p place
	var keep bool
	var n server.NodeConfig
	c := &cobra.Command{
		Use: "down", Short: "Stop the tenet of this machine and its pods; what was declared is kept", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			pid, err := p.running()
			if err != nil {
				return err
			}
			if pid != 0 {
				if err := stop(c.Context(), &p, pid); err != nil {
					return err
				}
				fmt.Fprintf(c.ErrOrStderr(), "stopped (pid %d)\n", pid)
			} else {
				fmt.Fprintf(c.ErrOrStderr(), "no tenet runs with data directory %s\n", p.data)
			}
			if keep || os.Geteuid() != 0 {
				return nil
			}
			pods, err := server.StopPods(c.Context(), p.data, n)
			if err != nil {
				return fmt.Errorf("stop pods: %w", err)
			}
			switch pods {
			case 0:
			case 1:
				fmt.Fprintln(c.ErrOrStderr(), "stopped 1 pod; `tenet up` starts it again")
			default:
				fmt.Fprintf(c.ErrOrStderr(), "stopped %d pods; `tenet up` starts them again\n", pods)
			}
			return nil
		},
	}
	p.flags(c)
	c.Flags().BoolVar(&keep, "keep-pods", false, "leave the pods running, for the next tenet up to adopt")
	c.Flags().StringVar(&n.RunDir, "run-dir", "/run/tenet", "where sockets and what a reboot may lose are kept")
	c.Flags().StringVar(&n.Bridge, "bridge", "tenet0", "name of the pods' network bridge")
	return c
}

// stop asks a process to end and waits until it has, with force after half a minute.
func stop(ctx context.Context, p *place, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("stop tenet (pid %d): %w", pid, err)
	}
	force := time.After(30 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if now, err := p.running(); err != nil || now != pid {
			tick.Stop()
			return err
		}
		select {
		case <-tick.C:
		case <-force:
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				return fmt.Errorf("stop tenet (pid %d): %w", pid, err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
