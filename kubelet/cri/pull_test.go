package cri

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	push "github.com/google/go-containerregistry/pkg/v1/remote"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/internal/images"
)

// serveRegistry is a registry on loopback with test/prog:1 in it, that wants user and password when they are not empty. It returns host:port.
func serveRegistry(t *testing.T, user, password string) string {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); user != "" && (u != user || p != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")

	dir := t.TempDir()
	if err := untar(progArchive(t, "example.test/test/prog:1"), dir); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host+"/test/prog:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := push.WriteIndex(ref, index, push.WithAuth(&authn.Basic{Username: user, Password: password})); err != nil {
		t.Fatal(err)
	}
	return host
}

func (n *testNode) pull(t *testing.T, image string, auth *runtimeapi.AuthConfig) error {
	t.Helper()
	_, err := n.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: image}, Auth: auth})
	return err
}

func TestPullFromARegistry(t *testing.T) {
	n := startNode(t)
	open, closed := serveRegistry(t, "", ""), serveRegistry(t, "alice", "secret")

	if err := n.pull(t, open+"/test/prog:1", nil); err != nil {
		t.Fatalf("pull: %v", err)
	}
	s, err := n.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: open + "/test/prog:1"}})
	if err != nil || s.Image == nil || len(s.Image.RepoDigests) == 0 {
		t.Fatalf("status of the pulled image: %v %v", s, err)
	}

	err = n.pull(t, open+"/test/prog:missing", nil)
	if !IsNotFound(err) || !strings.Contains(Message(err), open+"/test/prog:missing: not found") {
		t.Errorf("missing tag: %v, want NotFound that names the image", err)
	}
	if err := n.pull(t, closed+"/test/prog:1", nil); err == nil || !strings.Contains(Message(err), "no basic auth credentials") {
		t.Errorf("without credentials: %v, want an error that says so", err)
	}
	if err := n.pull(t, closed+"/test/prog:1", &runtimeapi.AuthConfig{Username: "alice", Password: "wrong"}); err == nil {
		t.Error("a wrong password was accepted")
	}
	if err := n.pull(t, closed+"/test/prog:1", &runtimeapi.AuthConfig{Username: "alice", Password: "secret"}); err != nil {
		t.Errorf("with credentials: %v", err)
	}
	if err := n.pull(t, "127.0.0.1:1/test/prog:1", nil); err == nil || !strings.Contains(Message(err), "connection refused") {
		t.Errorf("no registry: %v, want connection refused", err)
	}
}

func TestPullThroughAMirror(t *testing.T) {
	n := startNode(t)
	host := serveRegistry(t, "", "")
	dir := filepath.Join(n.dir, "certs.d", "docker.io")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), fmt.Appendf(nil, "[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", host), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.pull(t, "docker.io/test/prog:1", nil); err != nil {
		t.Fatalf("pull through the mirror in hosts.toml: %v", err)
	}
}

func TestImagesFromTheCommandLine(t *testing.T) {
	n := startNode(t)
	host := serveRegistry(t, "alice", "secret")
	c, err := images.Open(t.Context(), n.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var most int64
	full, err := images.Pull(t.Context(), c, host+"/test/prog:1", images.PullOptions{Username: "alice", Password: "secret", RegistryDir: filepath.Join(n.dir, "certs.d"),
		Progress: func(_ string, done, total int64) { most = max(most, done) }})
	if err != nil {
		t.Fatal(err)
	}
	if most == 0 {
		t.Error("no progress was reported")
	}
	list, err := images.List(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
		if i.Size <= 0 || !strings.HasPrefix(i.Digest, "sha256:") {
			t.Errorf("image %+v has no size or digest", i)
		}
	}
	if got := strings.Join(names, " "); got != full+" "+images.Pause+" "+progImage {
		t.Errorf("images are %s, want %s, the pause image and the test's", got, full)
	}
	if err := images.Remove(t.Context(), c, full); err != nil {
		t.Error(err)
	}
	if err := images.Remove(t.Context(), c, full); err == nil || !strings.Contains(err.Error(), "no image") {
		t.Errorf("second removal: %v, want an error that says there is no such image", err)
	}
	if err := images.Remove(t.Context(), c, images.Pause); err == nil {
		t.Error("the pause image could be removed")
	}
}

func TestDebianNginxServes(t *testing.T) {
	archive, err := os.Open("../../.cache/images/nginx.tar")
	if err != nil {
		t.Skip("no nginx image: run `make image-nginx`")
	}
	defer archive.Close()
	n := startNode(t)
	if _, err := images.Import(t.Context(), n.Client(), archive); err != nil {
		t.Fatal(err)
	}
	p, err := n.runImage(t.Context(), nil, "nginx", "nginx:stable")
	if err != nil {
		t.Fatal(err)
	}
	if got := httpGet(t, "http://"+n.podIP(t, p.sandbox)+"/"); !strings.Contains(got, "Welcome to nginx!") {
		t.Errorf("page is %q, want the welcome", got)
	}
	if _, err := n.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: p.container, Timeout: 10}); err != nil {
		t.Fatal(err)
	}
	if s := n.container(t, p.container); s.ExitCode != 0 {
		t.Errorf("nginx ended with %d (%s) on its stop signal, want 0", s.ExitCode, s.Message)
	}
	logs, _ := os.ReadFile(n.sandbox("nginx").LogDirectory + "/main.log")
	if !strings.Contains(string(logs), `stdout F 10.42.7.1 - - [`) {
		t.Errorf("the access log is not on stdout:\n%s", logs)
	}
}
