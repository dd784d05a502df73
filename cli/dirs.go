package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// place is where a tenet keeps its files.
type place struct{ data string }

func (p *place) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.data, "data-dir", defaultDataDir(), "where everything is kept")
}

// defaultDataDir is /var/lib/tenet for root, and in the user's own data folder otherwise.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/tenet"
	}
	if d := os.Getenv("XDG_DATA_HOME"); d != "" {
		return filepath.Join(d, "tenet")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local/share/tenet")
	}
	return "tenet-data"
}

func (p *place) kubeconfig() string { return filepath.Join(p.data, "admin.kubeconfig") }
func (p *place) pidFile() string    { return filepath.Join(p.data, "tenet.pid") }
func (p *place) logFile() string    { return filepath.Join(p.data, "tenet.log") }

// running returns the pid of the tenet that holds the data directory, or 0. The pid file is locked as long as its writer lives, so that a
// number left over from a crash is not taken for a process.
func (p *place) running() (int, error) {
	f, err := os.Open(p.pidFile())
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		return 0, nil
	}
	text, err := os.ReadFile(p.pidFile())
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s does not hold a process id: %q", p.pidFile(), text)
	}
	return pid, nil
}

// hold writes the pid file and locks it until the process ends.
func (p *place) hold() (release func(), err error) {
	if err := os.MkdirAll(p.data, 0o711); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p.pidFile(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		pid, _ := p.running()
		return nil, fmt.Errorf("data directory %s is in use by another tenet (pid %d); stop it with `tenet down --data-dir %s`, or choose another --data-dir", p.data, pid, p.data)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		os.Remove(p.pidFile())
		f.Close()
	}, nil
}
