package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tenet-run/tenet/server"
)

// serveFlags are the flags that up and server share.
type serveFlags struct {
	place
	port     int
	bind     string
	sans     []string
	logLevel string
	detach   bool
	noMerge  bool
}

func (f *serveFlags) flags(c *cobra.Command) {
	f.place.flags(c)
	c.Flags().IntVar(&f.port, "port", 6443, "port of the API server")
	c.Flags().StringVar(&f.bind, "bind-address", "0.0.0.0", "address the API server listens on")
	c.Flags().StringSliceVar(&f.sans, "tls-san", nil, "further names or addresses for the API server's certificate")
	c.Flags().StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	c.Flags().BoolVar(&f.detach, "detach", false, "go on in the background, and return when everything is ready")
	c.Flags().BoolVar(&f.noMerge, "no-kubeconfig", false, "do not add context tenet to your kubeconfig")
}

func upCommand() *cobra.Command {
	var f serveFlags
	var n server.NodeConfig
	c := &cobra.Command{
		Use: "up", Short: "Run everything on this machine: API server, controllers, scheduler and node", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return fmt.Errorf("`tenet up` starts containers and needs root: use `sudo tenet up`, or `tenet server` for an API server without a node")
			}
			return f.run(c, &n)
		},
	}
	f.flags(c)
	c.Flags().StringVar(&n.Name, "node-name", "", "name of the node (default: this machine's host name)")
	c.Flags().StringVar(&n.IP, "node-ip", "", "address of the node (default: that of the route to the outside)")
	c.Flags().StringVar(&n.RunDir, "run-dir", "/run/tenet", "where sockets and what a reboot may lose are kept")
	c.Flags().StringVar(&n.CRIEndpoint, "cri-endpoint", "", "unix socket of another container runtime, instead of the one inside")
	c.Flags().IntVar(&n.MaxPods, "max-pods", 110, "how many pods the node takes")
	c.Flags().StringVar(&n.Bridge, "bridge", "tenet0", "name of the pods' network bridge")
	c.Flags().StringToStringVar(&n.Labels, "node-labels", nil, "further labels of the node, as name=value")
	return c
}

func serverCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use: "server", Short: "Run the API server, controllers and scheduler, without a node (needs no root)", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c, nil) },
	}
	f.flags(c)
	return c
}

// run serves in the foreground, or starts a process that does.
func (f *serveFlags) run(c *cobra.Command, n *server.NodeConfig) error {
	abs, err := filepath.Abs(f.data)
	if err != nil {
		return err
	}
	f.data = abs
	level, err := f.check()
	if err != nil {
		return err
	}
	if f.detach {
		return f.runDetached(c)
	}
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log)
	release, err := f.hold()
	if err != nil {
		return err
	}
	defer release()
	return server.Run(c.Context(), server.Config{
		DataDir: f.data, Bind: f.bind, Port: f.port, Names: f.sans, Node: n, Logger: log, Kubeconfig: f.kubeconfig(), UserKubeconfig: f.userKubeconfig(), Context: contextName,
		Ready: func(elapsed time.Duration) {
			log.Info("ready", "after", elapsed.Round(time.Millisecond), "kubeconfig", f.kubeconfig())
			if os.Getenv(detachedEnv) == "" {
				f.announce(c)
			}
		},
	})
}

// check refuses flags that cannot be meant, before anything is started or written.
func (f *serveFlags) check() (slog.Level, error) {
	if f.port < 1 || f.port > 65535 {
		return 0, fmt.Errorf("--port %d: use 1 to 65535", f.port)
	}
	if _, err := netip.ParseAddr(f.bind); err != nil {
		return 0, fmt.Errorf("--bind-address %q: use an IP address of this machine, or 0.0.0.0 for all", f.bind)
	}
	for _, name := range f.sans {
		if _, err := netip.ParseAddr(name); err != nil && len(validation.IsDNS1123Subdomain(strings.TrimPrefix(name, "*."))) > 0 {
			return 0, fmt.Errorf("--tls-san %q: use a DNS name or an IP address", name)
		}
	}
	return parseLevel(f.logLevel)
}

// announce says how to talk to this tenet.
func (f *serveFlags) announce(c *cobra.Command) {
	path := f.userKubeconfig()
	if path == "" {
		fmt.Fprintf(c.ErrOrStderr(), "kubectl --kubeconfig %s talks to it\n", f.kubeconfig())
		return
	}
	cfg, err := clientcmd.LoadFromFile(path)
	if err == nil && cfg.CurrentContext == contextName {
		fmt.Fprintf(c.ErrOrStderr(), "kubectl talks to it now (context %q in %s)\n", contextName, path)
	} else {
		fmt.Fprintf(c.ErrOrStderr(), "kubectl --context %s talks to it (your current context was left as it is)\n", contextName)
	}
}

const contextName = "tenet"

// userKubeconfig is the file that gets the context, or "" when the user does not want that.
func (f *serveFlags) userKubeconfig() string {
	if f.noMerge {
		return ""
	}
	return userKubeconfig()
}

func userKubeconfig() string {
	if env := os.Getenv("KUBECONFIG"); env != "" {
		return filepath.SplitList(env)[0]
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}
	return filepath.Join(home, ".kube", "config")
}

func parseLevel(text string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("--log-level %q: use debug, info, warn or error", text)
	}
	return l, nil
}

const detachedEnv = "TENET_DETACHED"

// runDetached starts this program again without --detach, in a session of its own, and waits until it is ready. A tenet that runs already is left alone.
func (f *serveFlags) runDetached(c *cobra.Command) error {
	began := time.Now()
	if pid, err := f.running(); err != nil {
		return err
	} else if pid != 0 {
		up, err := f.isUp(c.Context(), pid)
		if err != nil {
			return err
		}
		if up {
			fmt.Fprintf(c.ErrOrStderr(), "tenet runs already (pid %d)\n", pid)
			f.announce(c)
			return nil
		}
	}
	if err := os.MkdirAll(f.data, 0o711); err != nil {
		return err
	}
	out, err := os.OpenFile(f.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	offset, err := out.Seek(0, 2)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{}
	for _, a := range os.Args[1:] {
		if a != "--detach" && a != "--detach=true" {
			args = append(args, a)
		}
	}
	child := exec.Command(self, args...)
	child.Env = append(os.Environ(), detachedEnv+"=1")
	child.Stdout, child.Stderr = out, out
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	if err := f.waitReady(c.Context(), child.Process.Pid, ended); err != nil {
		if text := lastLine(f.logFile(), offset); text != "" {
			return fmt.Errorf("%s", strings.TrimPrefix(text, "tenet: "))
		}
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "ready after %s (pid %d, log %s)\n", time.Since(began).Round(time.Millisecond), child.Process.Pid, f.logFile())
	f.announce(c)
	return nil
}

// isUp waits until a tenet that holds the data directory is ready and answers (true), or has let go of it (false): one that was just killed holds it for a
// moment longer.
func (f *serveFlags) isUp(ctx context.Context, pid int) (bool, error) {
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		now, err := f.running()
		if err != nil || now != pid {
			tick.Stop()
			return false, err
		}
		if text, err := os.ReadFile(server.ReadyFile(f.data)); err == nil && strings.TrimSpace(string(text)) == fmt.Sprint(pid) && f.answers(ctx) {
			tick.Stop()
			return true, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, fmt.Errorf("interrupted while waiting for tenet (pid %d) to become ready: see %s", pid, f.logFile())
		}
	}
}

// answers reports that the API server says it is ready.
func (f *serveFlags) answers(ctx context.Context) bool {
	cfg, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig())
	if err != nil {
		return false
	}
	web, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return false
	}
	defer web.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.Host+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := web.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// waitReady waits for the ready file that the server writes when everything is up, showing on a terminal that it still waits.
func (f *serveFlags) waitReady(ctx context.Context, pid int, ended <-chan error) error {
	tty := term.IsTerminal(int(os.Stderr.Fd()))
	began := time.Now()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if text, err := os.ReadFile(server.ReadyFile(f.data)); err == nil && strings.TrimSpace(string(text)) == fmt.Sprint(pid) {
			if tty && time.Since(began) > time.Second {
				fmt.Fprint(os.Stderr, "\r\033[K")
			}
			tick.Stop()
			return nil
		}
		if tty && time.Since(began) > time.Second {
			fmt.Fprintf(os.Stderr, "\rstarting, %d s …", int(time.Since(began).Seconds()))
		}
		select {
		case <-tick.C:
		case err := <-ended:
			return fmt.Errorf("tenet ended while starting (%v): see %s", err, f.logFile())
		case <-ctx.Done():
			return fmt.Errorf("interrupted; tenet (pid %d) goes on starting, stop it with `tenet down`", pid)
		}
	}
}

// lastLine is the last line that was written to a log after offset, if it is tenet's own word on why it ended.
func lastLine(path string, offset int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := f.Seek(offset, 0); err != nil {
		return ""
	}
	buf := make([]byte, 64<<10)
	n, _ := f.Read(buf)
	lines := strings.Split(strings.TrimSpace(string(buf[:n])), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.HasPrefix(lines[i], "tenet: ") {
			return lines[i]
		}
	}
	return ""
}
