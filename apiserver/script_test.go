package apiserver_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/kinds/all"
)

var rewrite = flag.Bool("rewrite", false, "write what the server answers into the scripts")

// testClock stands still unless it is moved.
type testClock struct{ t time.Time }

func (c *testClock) Now() time.Time { return c.t }

func newServer(t testing.TB, change func(*apiserver.Config)) *apiserver.Server {
	t.Helper()
	cfg := apiserver.Config{Store: openStore(t), Kinds: all.Kinds(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&cfg)
	}
	s, err := apiserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Each script is a list of requests and the answers they get. A request is "METHOD path", headers as "| Name: value", a body, and a line "----";
// the answer follows until the next blank line, and is written by -rewrite. "| Until: 404" asks again until that is the answer. "show" gives the fields that are printed ("| Show: metadata.name status").
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clock := &testClock{time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	s := newCustomServer(t, clock.Now)
	seen := map[string]string{}
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimRight(string(text), "\n"), "\n\n") {
		request, _, _ := strings.Cut(block, "\n----")
		if out.Len() > 0 {
			out.WriteString("\n")
		}
		out.WriteString(request + "\n")
		if !regexp.MustCompile(`(?m)^(GET|POST|PUT|PATCH|DELETE) /`).MatchString(request) {
			if d, ok := strings.CutPrefix(request, "sleep "); ok {
				n, err := time.ParseDuration(d)
				if err != nil {
					t.Fatal(err)
				}
				clock.t = clock.t.Add(n)
			}
			continue
		}
		out.WriteString("----\n" + play(t, s, request, seen))
	}
	got := out.String()
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(text) {
		t.Errorf("%s: answers differ; see the change with: go test ./apiserver -run TestScripts -rewrite && git diff apiserver/testdata\n%s", file, firstDifference(string(text), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			line := ""
			if i < len(g) {
				line = g[i]
			}
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], line)
		}
	}
	return "got is longer"
}

var (
	uidPattern  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timePattern = regexp.MustCompile(`("?time"?: ?")20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z`)
	varPattern  = regexp.MustCompile(`\$\{([a-z.A-Z]+)\}`)
)

// play sends one request and prints the answer.
func play(t *testing.T, s http.Handler, request string, seen map[string]string) string {
	request = varPattern.ReplaceAllStringFunc(request, func(v string) string { return seen[v[2:len(v)-1]] })
	var method, path, body string
	header := http.Header{"User-Agent": {"script/1.0"}}
	var show []string
	for line := range strings.SplitSeq(request, "\n") {
		switch {
		case method == "" && strings.HasPrefix(line, "#"):
		case method == "":
			method, path, _ = strings.Cut(line, " ")
		case strings.HasPrefix(line, "| "):
			k, v, _ := strings.Cut(line[2:], ": ")
			if k == "Show" {
				show = strings.Fields(v)
			} else {
				header.Set(k, v)
			}
		default:
			body += line + "\n"
		}
	}
	if b, ok := strings.CutPrefix(body, "base64:"); ok {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(b))
		if err != nil {
			t.Fatal(err)
		}
		body = string(raw)
	}
	if n, ok := strings.CutPrefix(body, "repeat:"); ok {
		var count int
		var what string
		fmt.Sscanf(n, "%d %s", &count, &what)
		body = strings.Repeat(what, count)
	}
	began := time.Now()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header = header
	if strings.Contains(path, "watch=") {
		ctx, cancel := context.WithTimeout(r.Context(), 100*time.Millisecond)
		defer cancel()
		r = r.WithContext(ctx)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	for until := header.Get("Until"); until != "" && until != fmt.Sprint(w.Code); {
		// What the server does by itself is waited for.
		if t.Context().Err() != nil || time.Since(began) > 5*time.Second {
			t.Fatalf("%s %s: got %d, waited for %s", method, path, w.Code, until)
		}
		runtime.Gosched()
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(strings.NewReader(body))
		w = httptest.NewRecorder()
		s.ServeHTTP(w, again)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d\n", w.Code)
	for _, warning := range w.Header().Values("Warning") {
		fmt.Fprintf(&out, "Warning: %s\n", warning)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		fmt.Fprintf(&out, "Content-Type: %s\n", ct)
		if strings.Contains(ct, "protobuf") {
			fmt.Fprintf(&out, "%d bytes of protobuf\n", w.Body.Len())
			return out.String()
		}
	}
	data := w.Body.Bytes()
	var first map[string]any
	if json.Unmarshal(data, &first) == nil {
		remember(first, seen)
	}
	if w.Header().Get("Content-Type") == "application/json" && len(show) > 0 {
		for line := range bytes.SplitSeq(bytes.TrimSpace(data), []byte("\n")) {
			var v map[string]any
			if err := json.Unmarshal(line, &v); err != nil {
				continue
			}
			for _, f := range show {
				data, _ := json.Marshal(dig(v, strings.Split(f, ".")))
				fmt.Fprintf(&out, "%s: %s\n", f, data)
			}
		}
	} else {
		out.Write(bytes.TrimRight(data, "\n"))
		out.WriteByte('\n')
	}
	text := uidPattern.ReplaceAllString(out.String(), "UID")
	text = timePattern.ReplaceAllString(text, "${1}NOW")
	text = strings.ReplaceAll(text, "\n\n", "\n")
	return text
}

func remember(v map[string]any, seen map[string]string) {
	if m, ok := v["metadata"].(map[string]any); ok {
		for _, k := range []string{"resourceVersion", "uid", "continue", "name"} {
			if s, ok := m[k].(string); ok {
				seen[k] = s
			}
		}
	}
}

func dig(v any, path []string) any {
	for i, p := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			var out []any
			for _, e := range x {
				out = append(out, dig(e, path[i:]))
			}
			return out
		default:
			return nil
		}
	}
	return v
}
