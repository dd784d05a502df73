// Package cli is the command line of tenet: one file per subcommand. It turns flags into a server.Config or a request to a running tenet, and errors
// into one line that says what happened and what to do.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs a command line and returns the exit code.
func Main(args []string) int {
	if filepath.Base(args[0]) == "kubectl" {
		args = append([]string{"tenet", "kubectl"}, args[1:]...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := Root(os.Stdout, os.Stderr)
	switch filepath.Base(args[0]) {
	case "kube-apiserver":
		root = kubeAPIServerCommand()
	case "etcd":
		root = etcdCommand()
	}
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	var exit exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	default:
		fmt.Fprintln(os.Stderr, "tenet:", explain(err))
		return 1
	}
}

// exitCode is an error that has been reported already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Root is the command tree.
func Root(out, errOut io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "tenet",
		Short: "A runtime for declarative infrastructure: the Kubernetes API, controllers, scheduler and node agent in one program",
		Long: `Tenet runs Kubernetes objects on this machine.

  tenet up --detach          start everything here and return when it is ready
  tenet kubectl get pods     talk to it (any kubectl works: the context is "tenet")
  tenet status               what is running, and how it is
  tenet down                 stop it, with its pods`,
		SilenceUsage: true, SilenceErrors: true,
	}
	c.SetOut(out)
	c.SetErr(errOut)
	c.AddCommand(upCommand(), serverCommand(), downCommand(), statusCommand(), kubectlCommand(), imageCommand(), controllersCommand(), versionCommand())
	return c
}
