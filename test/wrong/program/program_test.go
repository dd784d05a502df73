// Package program tests what the built tenet says when it is used wrongly or the machine does not let it: one line with what happened and what to do, an exit
// code that is not 0, and no stack trace. It wants bin/tenet (make build), or the program that TENET_BIN names.
package program

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenet-run/tenet/internal/isolate"
)

func TestMain(m *testing.M) { isolate.Main(m) }

// user runs tenet with a home and a data directory of its own.
type user struct {
	t          *testing.T
	bin        string
	home, data string
	port       string
	uid        int
}

func newUser(t *testing.T) *user {
	t.Helper()
	bin := os.Getenv("TENET_BIN")
	if bin == "" {
		bin, _ = filepath.Abs("../../../bin/tenet")
	}
	if _, err := os.Stat(bin); err != nil {
		t.Skip("bin/tenet is not there: make build")
	}
	home, err := os.MkdirTemp("/var/tmp", "wrong") // not TempDir: a plain user has to reach it
	if err != nil {
		t.Fatal(err)
	}
	u := &user{t: t, bin: bin, home: home, data: filepath.Join(home, "data"), port: freePort(t), uid: os.Geteuid()}
	t.Cleanup(func() {
		u.run("down", "--data-dir", u.data, "--keep-pods")
		os.RemoveAll(home)
	})
	return u
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// run runs tenet and returns its exit code and all that it printed.
func (u *user) run(args ...string) (int, string) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, u.bin, args...)
	cmd.Env = append(os.Environ(), "HOME="+u.home, "KUBECONFIG="+filepath.Join(u.home, "kubeconfig"), "XDG_DATA_HOME=", "XDG_CACHE_HOME=")
	cmd.Dir = u.home
	if u.uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.uid), Gid: uint32(u.uid)}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		u.t.Fatalf("tenet %s: %v", strings.Join(args, " "), err)
	}
	if ctx.Err() != nil {
		u.t.Errorf("tenet %s did not end within a minute", strings.Join(args, " "))
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func (u *user) must(args ...string) string {
	u.t.Helper()
	code, out := u.run(args...)
	if code != 0 {
		u.t.Fatalf("tenet %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// refused wants one line of tenet's with each of the words, and an exit code that is not 0. Lines of the log before it are not counted.
func (u *user) refused(words []string, args ...string) {
	u.t.Helper()
	code, out := u.run(args...)
	var said []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "time=") {
			said = append(said, strings.TrimSpace(line))
		}
	}
	if code == 0 || len(said) != 1 || !strings.HasPrefix(said[0], "tenet") || strings.Contains(out, "goroutine ") {
		u.t.Errorf("tenet %s: want one line and an exit code, got %d and\n%s", strings.Join(args, " "), code, out)
		return
	}
	for _, w := range words {
		if !strings.Contains(said[0], w) {
			u.t.Errorf("tenet %s: want %q in\n%s", strings.Join(args, " "), w, said[0])
		}
	}
}

func (u *user) server(more ...string) []string {
	return append([]string{"server", "--data-dir", u.data, "--port", u.port}, more...)
}

func TestCommandLine(t *testing.T) {
	u := newUser(t)
	file := filepath.Join(u.home, "file")
	if err := os.WriteFile(file, []byte("garbage"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, words string }{
		{"bogus", `unknown command "bogus"|--help`},
		{"server --bogus", "unknown flag: --bogus|--help"},
		{"server extra", "unknown command|--help"},
		{"server --port abc", "--port|--help"},
		{"server --port 99999", "--port 99999|use 1 to 65535"},
		{"server --port 0 --detach", "--port 0|use 1 to 65535"},
		{"server --bind-address nonsense", "--bind-address|IP address"},
		{"server --bind-address 192.0.2.1 --port " + u.port, "192.0.2.1|choose another with --bind-address"},
		{"server --tls-san not/a/name", "--tls-san|DNS name"},
		{"server --log-level loud", "--log-level|debug, info, warn or error"},
		{"server --log-level loud --detach", "--log-level|debug, info, warn or error"},
		{"server --data-dir " + file, "choose another with --data-dir"},
		{"status", "does not run|tenet up"},
		{"kubectl get pods", "no tenet has been started|tenet up"},
		{"version -o xml", "unknown output format|json"},
		{"image load", "requires at least|--help"},
	} {
		args := strings.Fields(c.args)
		if (args[0] == "server" || args[0] == "status") && !strings.Contains(c.args, "--data-dir") {
			args = append(args, "--data-dir", u.data)
		}
		if args[0] == "kubectl" {
			args = append([]string{"kubectl", "--data-dir", u.data}, args[1:]...)
		}
		u.refused(strings.Split(c.words, "|"), args...)
	}
	if code, _ := u.run("status", "--data-dir", u.data); code != 3 {
		t.Errorf("status of what does not run: exit code %d, want 3", code)
	}
	if os.Geteuid() == 0 {
		u.refused([]string{"no container runtime", "tenet up"}, "image", "load", file, "--run-dir", u.home)
	}
	if out := u.must("completion", "bash"); !strings.Contains(out, "__start_tenet") {
		t.Errorf("completion bash:\n%s", out)
	}
}

func TestPlainUser(t *testing.T) {
	u := newUser(t)
	if os.Geteuid() == 0 {
		u.uid = 65534
		if err := os.Chown(u.home, u.uid, u.uid); err != nil {
			t.Fatal(err)
		}
		if f, err := os.Open(u.bin); err != nil {
			t.Skip(err)
		} else {
			f.Close()
		}
		copied := filepath.Join(u.home, "tenet") // the build may lie where only root can go
		if out, err := exec.Command("cp", u.bin, copied).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		u.bin = copied
	}
	u.refused([]string{"needs root", "sudo tenet up", "tenet server"}, "up", "--data-dir", u.data)
	u.refused([]string{"root"}, "image", "ls")
	if out := u.must(u.server("--detach")...); !strings.Contains(out, "ready after") {
		t.Errorf("server as a plain user: %s", out)
	}
	u.must("status", "--data-dir", u.data)
}

func TestTaken(t *testing.T) {
	u := newUser(t)
	u.must(u.server("--detach")...)
	pid := strings.TrimSpace(read(t, filepath.Join(u.data, "tenet.pid")))
	u.refused([]string{"in use by another tenet", "pid " + pid, "tenet down"}, u.server()...)
	if out := u.must(u.server("--detach")...); !strings.Contains(out, "runs already (pid "+pid+")") {
		t.Errorf("--detach beside a running tenet: %s", out)
	}
	other := *u
	other.data += "2"
	for _, detach := range [][]string{nil, {"--detach"}} {
		other.refused([]string{"address already in use", "--port"}, other.server(detach...)...)
	}
	u.must("down", "--data-dir", u.data, "--keep-pods")
	if out := u.must("down", "--data-dir", u.data, "--keep-pods"); !strings.Contains(out, "no tenet runs") {
		t.Errorf("down again: %s", out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestBrokenFiles(t *testing.T) {
	u := newUser(t)
	kubeconfig := filepath.Join(u.home, "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("a: [1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u.must(u.server("--detach")...)
	if got := read(t, kubeconfig); got != "a: [1\n" {
		t.Errorf("the broken kubeconfig was changed: %q", got)
	}
	if log := read(t, filepath.Join(u.data, "tenet.log")); !strings.Contains(log, "your kubeconfig was not changed") {
		t.Errorf("no warning about the kubeconfig in the log:\n%s", log)
	}
	u.must("down", "--data-dir", u.data, "--keep-pods")
	for _, name := range []string{"ca.crt", "ca.key", "service-account.key"} {
		path := filepath.Join(u.data, "pki", name)
		good := read(t, path)
		if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
		u.refused([]string{path}, u.server()...)
		u.refused([]string{path}, u.server("--detach")...)
		if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What can be made anew is.
	if err := os.WriteFile(filepath.Join(u.data, "pki", "apiserver.pem"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	u.must(u.server("--detach")...)
	u.must("status", "--data-dir", u.data)
}

// TestFullDisk fills the disk below a running tenet: writes are refused and say why, and what was acknowledged is there after a start with room again.
func TestFullDisk(t *testing.T) {
	isolate.Need(t)
	u := newUser(t)
	if err := os.Mkdir(u.data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", u.data, "tmpfs", 0, "size=96m"); err != nil {
		t.Skip("no tmpfs here:", err)
	}
	t.Cleanup(func() {
		u.run("down", "--data-dir", u.data, "--keep-pods")
		unix.Unmount(u.data, unix.MNT_DETACH)
	})
	u.must(u.server("--detach")...)
	create := func(name string) (int, string) {
		return u.run("kubectl", "--data-dir", u.data, "create", "configmap", name, "--from-file=blob="+filepath.Join(u.home, "blob"))
	}
	if err := os.WriteFile(filepath.Join(u.home, "blob"), bytes.Repeat([]byte("x"), 200<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := create("first"); code != 0 {
		t.Fatalf("create on a disk with room: %s", out)
	}
	filler := filepath.Join(u.data, "filler")
	fill, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 64<<10)
	for err == nil {
		_, err = fill.Write(chunk)
	}
	fill.Close()
	acknowledged := []string{"first"}
	refused := ""
	for i := 0; i < 60 && refused == ""; i++ {
		name := fmt.Sprintf("more-%d", i)
		if code, out := create(name); code == 0 {
			acknowledged = append(acknowledged, name)
		} else {
			refused = out
		}
	}
	if !strings.Contains(refused, "no space left") {
		t.Errorf("a write on a full disk was answered: %q", refused)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	u.run("down", "--data-dir", u.data, "--keep-pods")
	u.must(u.server("--detach")...)
	got := u.must("kubectl", "--data-dir", u.data, "get", "configmaps", "-o", "name")
	for _, name := range acknowledged {
		if !strings.Contains(got, "configmap/"+name+"\n") {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	if code, out := create("afterwards"); code != 0 {
		t.Errorf("create after there was room again: %s", out)
	}
}
