// Package health answers /livez, /readyz and /healthz, whole or check by check, as Kubernetes' API server does: "ok", or with ?verbose or on failure one line a check.
package health

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Check is one thing that can be well or not. Run returns within the time of the request; its error is logged, and not shown to clients.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// Ping is the check that is always well: that it is answered says it all.
var Ping = Check{Name: "ping", Run: func(context.Context) error { return nil }}

// Handler answers for one of the three paths.
type Handler struct {
	path, name string
	logger     *slog.Logger

	mu     sync.Mutex
	checks []Check
}

// New makes a Handler of "/livez", "/readyz" or "/healthz" and the paths below it. A nil logger is slog.Default().
func New(path string, logger *slog.Logger, checks ...Check) *Handler {
	if logger == nil {
		logger = slog.Default()
	}
	path = "/" + strings.Trim(path, "/")
	return &Handler{path: path, name: strings.TrimPrefix(path, "/"), logger: logger, checks: append([]Check{Ping}, checks...)}
}

// Add adds a check, for requests from now on.
func (h *Handler) Add(c Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks[:len(h.checks):len(h.checks)], c)
}

func (h *Handler) list() []Check {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checks
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Type", "text/plain; charset=utf-8")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-cache, private")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	checks := h.list()
	if name := strings.Trim(strings.TrimPrefix(r.URL.Path, h.path), "/"); name != "" {
		i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
		if i < 0 {
			http.Error(w, "404 page not found", http.StatusNotFound)
			return
		}
		if err := checks[i].Run(r.Context()); err != nil {
			http.Error(w, fmt.Sprintf("internal server error: %v", err), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "ok")
		return
	}
	h.all(w, r, checks)
}

func (h *Handler) all(w http.ResponseWriter, r *http.Request, checks []Check) {
	excluded := r.URL.Query()["exclude"]
	var unknown []string
	for _, e := range excluded {
		if !slices.ContainsFunc(checks, func(c Check) bool { return c.Name == e }) {
			unknown = append(unknown, fmt.Sprintf("%q", e))
		}
	}
	var out bytes.Buffer
	var failed []string
	for _, c := range checks {
		if slices.Contains(excluded, c.Name) {
			fmt.Fprintf(&out, "[+]%s excluded: ok\n", c.Name)
			continue
		}
		begin := time.Now()
		if err := c.Run(r.Context()); err != nil {
			// Whoever asks may be anybody: the reason is for the log.
			fmt.Fprintf(&out, "[-]%s failed: reason withheld\n", c.Name)
			failed = append(failed, c.Name)
			h.logger.Warn("Health check failed", "path", h.path, "check", c.Name, "err", err, "took", time.Since(begin))
			continue
		}
		fmt.Fprintf(&out, "[+]%s ok\n", c.Name)
	}
	if len(unknown) > 0 {
		fmt.Fprintf(&out, "warn: some health checks cannot be excluded: no matches for %s\n", strings.Join(unknown, ","))
	}
	if len(failed) > 0 {
		http.Error(w, fmt.Sprintf("%s%s check failed", out.String(), h.name), http.StatusInternalServerError)
		return
	}
	if _, verbose := r.URL.Query()["verbose"]; !verbose {
		fmt.Fprint(w, "ok")
		return
	}
	fmt.Fprintf(&out, "%s check passed\n", h.name)
	w.Write(out.Bytes())
}
