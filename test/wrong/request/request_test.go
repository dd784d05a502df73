// Package request tests what bad requests get: over TLS, from a whole control plane on a memory file system. Each script in testdata is a list of requests
// with the answers they got; `go test ./test/wrong/request -update` writes the answers anew, for review. Beside what is printed, two things hold for every
// answer of 400 and above: its body is a metav1.Status that says the same as the HTTP code, and the store's revision is what it was before.
//
// With -peer https://..., the scripts are played to another API server too (bearer token "tok" for the administrator), and what it answers otherwise is printed.
package request

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tenet-run/tenet/apiserver/pki"
	"github.com/tenet-run/tenet/server/control"
	"github.com/tenet-run/tenet/store"
	"github.com/tenet-run/tenet/store/embedded"
)

var (
	update = flag.Bool("update", false, "write what the server answers into the scripts")
	peer   = flag.String("peer", "", "URL of another API server to compare with")
)

// server is who answers: Tenet or a peer.
type server struct {
	url          string
	admin, plain *http.Client // with and without the administrator's certificate
	token        string       // the administrator's, where certificates are not to be had
	revision     func() store.Revision
}

// start runs a control plane without controllers, so that nothing but the requests changes the store.
func start(t *testing.T) *server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	keys, err := pki.Ensure(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := embedded.Open(t.Context(), embedded.Options{Dir: "store", FS: vfs.NewMem(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	plane, err := control.New(control.Config{
		Store: st, Logger: log, CA: keys.CAPEM(), ClientCAs: keys.ClientCAs(), TokenKey: keys.ServiceAccountKey(), WithoutControllers: true, WithoutScheduler: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	web := httptest.NewUnstartedServer(plane.Handler())
	web.TLS, web.EnableHTTP2 = keys.ServerTLS(), true
	web.StartTLS()
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		plane.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	<-plane.Booted()
	cert, key := keys.Admin()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &server{url: web.URL, admin: httpClient(pair), plain: httpClient(), revision: st.Revision}
}

func httpClient(certs ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certs}, // the server is the one just made
	}}
}

func TestBadRequests(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			blocks := parse(string(text))
			s := start(t)
			seen := map[string]string{}
			var got strings.Builder
			var answers []string
			for i, b := range blocks {
				if i > 0 {
					got.WriteString("\n")
				}
				got.WriteString(b.text + "\n")
				if b.request == nil {
					answers = append(answers, "")
					continue
				}
				answer := play(t, s, b.request, seen)
				answers = append(answers, answer)
				got.WriteString("----\n" + answer)
			}
			if *peer != "" {
				compare(t, blocks, answers)
			}
			switch {
			case *update:
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			case got.String() != string(text):
				t.Errorf("%s: answers differ; see how: go test ./test/wrong/request -update && git diff test/wrong\n%s", file, difference(string(text), got.String()))
			}
		})
	}
}

// compare plays the same requests to the peer, and prints where its answers differ.
func compare(t *testing.T, blocks []block, answers []string) {
	other := &server{url: *peer, admin: httpClient(), plain: httpClient(), token: "tok"}
	seen := map[string]string{}
	for i, b := range blocks {
		if b.request == nil {
			continue
		}
		if theirs := play(t, other, b.request, seen); theirs != answers[i] {
			fmt.Printf("=== %s\n%s--- Tenet\n%s--- peer\n%s\n", t.Name(), b.text+"\n", answers[i], theirs)
		}
	}
}

func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], strings.Join(g[min(i, len(g)):min(i+1, len(g))], ""))
		}
	}
	return "got has more lines"
}
