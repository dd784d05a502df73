package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tenet-run/tenet/internal/carry"
)

func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use: "kubectl [ARGS]", Short: "Run the kubectl that is carried along, against this machine's tenet",
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			var p place
			p.data = defaultDataDir()
			given := len(args) > 0 && strings.HasPrefix(args[0], "--data-dir")
			if len(args) > 1 && args[0] == "--data-dir" {
				p.data, args = args[1], args[2:]
			} else if len(args) > 0 && strings.HasPrefix(args[0], "--data-dir=") {
				p.data, args = strings.TrimPrefix(args[0], "--data-dir="), args[1:]
			}
			env := os.Environ()
			if !namesACluster(args) {
				if _, err := os.Stat(p.kubeconfig()); err != nil {
					if os.IsPermission(err) {
						return fmt.Errorf("%s is readable by root only: use `sudo tenet kubectl`, or a kubeconfig of your own with --kubeconfig", p.kubeconfig())
					}
					if given || !kubeconfigThere() {
						return fmt.Errorf("no tenet has been started with data directory %s: run `tenet up` first", p.data)
					}
				} else {
					env = append(env, "KUBECONFIG="+p.kubeconfig())
				}
			}
			bin, err := carry.Path(c.Context(), carryDir(p.data), "kubectl")
			if err != nil {
				return err
			}
			return syscall.Exec(bin, append([]string{"kubectl"}, args...), env)
		},
	}
}

// kubeconfigThere reports that $KUBECONFIG names at least one file.
func kubeconfigThere() bool {
	for _, path := range filepath.SplitList(os.Getenv("KUBECONFIG")) {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

// namesACluster reports that the user said which cluster to talk to.
func namesACluster(args []string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		for _, flag := range []string{"--kubeconfig", "--context", "--server", "--cluster"} {
			if a == flag || strings.HasPrefix(a, flag+"=") {
				return true
			}
		}
	}
	return false
}

// carryDir is where carried programs are unpacked: with the data of a tenet, or where the user can write.
func carryDir(data string) string {
	dir := filepath.Join(data, "bin")
	if os.Geteuid() == 0 {
		return dir
	}
	if cache, err := os.UserCacheDir(); err == nil {
		return filepath.Join(cache, "tenet", "bin")
	}
	return dir
}
