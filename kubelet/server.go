package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/proxy"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/kubelet/criconfig"
	"github.com/tenet-run/tenet/kubelet/logs"
	"github.com/tenet-run/tenet/kubelet/plan"
)

// routes are upstream's paths of the kubelet.
func (k *Kubelet) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLogs)
	for _, p := range []string{"/exec/{namespace}/{pod}/{container}", "/exec/{namespace}/{pod}/{uid}/{container}"} {
		mux.HandleFunc(p, k.serveExec)
	}
	for _, p := range []string{"/attach/{namespace}/{pod}/{container}", "/attach/{namespace}/{pod}/{uid}/{container}"} {
		mux.HandleFunc(p, k.serveAttach)
	}
	for _, p := range []string{"/portForward/{namespace}/{pod}", "/portForward/{namespace}/{pod}/{uid}"} {
		mux.HandleFunc(p, k.servePortForward)
	}
	for _, p := range []string{"POST /run/{namespace}/{pod}/{container}", "POST /run/{namespace}/{pod}/{uid}/{container}"} {
		mux.HandleFunc(p, k.serveRun)
	}
	mux.HandleFunc("GET /pods", k.servePods)
	mux.HandleFunc("GET /stats/summary", k.serveSummary)
	return mux
}

// find returns the worker of a pod by name, or answers the request itself.
func (k *Kubelet) find(w http.ResponseWriter, r *http.Request) *worker {
	ns, name, uid := r.PathValue("namespace"), r.PathValue("pod"), types.UID(r.PathValue("uid"))
	var found *worker
	for _, wk := range k.all() {
		p := wk.snapshot.Load()
		if p.Namespace == ns && p.Name == name && (uid == "" || p.UID == uid) && (found == nil || !p.CreationTimestamp.Before(&found.snapshot.Load().CreationTimestamp)) {
			found = wk
		}
	}
	if found == nil {
		http.Error(w, "pod does not exist", http.StatusNotFound)
	}
	return found
}

// running returns the ID of the container of the path, or answers the request itself.
func (k *Kubelet) running(w http.ResponseWriter, r *http.Request) (id string) {
	wk := k.find(w, r)
	if wk == nil {
		return ""
	}
	name := r.PathValue("container")
	wk.mu.Lock()
	s := plan.State{Containers: wk.containers}
	if c := s.Newest(name); c != nil && c.Phase == plan.Running {
		id = c.ID
	}
	wk.mu.Unlock()
	if id == "" {
		http.Error(w, fmt.Sprintf("container not found (%q)", name), http.StatusNotFound)
	}
	return id
}

// isSet reads an option that kubectl's API spells one way and the kubelet's another.
func isSet(q url.Values, names ...string) bool {
	for _, n := range names {
		if v := q.Get(n); v == "1" || v == "true" {
			return true
		}
	}
	return false
}

func (k *Kubelet) serveExec(w http.ResponseWriter, r *http.Request) {
	id := k.running(w, r)
	if id == "" {
		return
	}
	q := r.URL.Query()
	req := &runtimeapi.ExecRequest{ContainerId: id, Cmd: q["command"], Tty: isSet(q, "tty"), Stdin: isSet(q, "input", "stdin"), Stdout: isSet(q, "output", "stdout"), Stderr: isSet(q, "error", "stderr")}
	req.Stderr = req.Stderr && !req.Tty
	if !req.Stdin && !req.Stdout && !req.Stderr {
		http.Error(w, "you must specify at least 1 of stdin, stdout, stderr", http.StatusBadRequest)
		return
	}
	res, err := k.cfg.Runtime.Exec(r.Context(), req)
	k.stream(w, r, res.GetUrl(), err)
}

func (k *Kubelet) serveAttach(w http.ResponseWriter, r *http.Request) {
	id := k.running(w, r)
	if id == "" {
		return
	}
	q := r.URL.Query()
	req := &runtimeapi.AttachRequest{ContainerId: id, Stdin: isSet(q, "input", "stdin"), Stdout: isSet(q, "output", "stdout"), Stderr: isSet(q, "error", "stderr")}
	// Whether there is a terminal is the container's property, not the caller's.
	if wk := k.find(w, r); wk != nil {
		if c := findContainer(wk.current(), r.PathValue("container")); c != nil {
			req.Tty = c.TTY
		}
	}
	req.Stderr = req.Stderr && !req.Tty
	res, err := k.cfg.Runtime.Attach(r.Context(), req)
	k.stream(w, r, res.GetUrl(), err)
}

func (k *Kubelet) servePortForward(w http.ResponseWriter, r *http.Request) {
	wk := k.find(w, r)
	if wk == nil {
		return
	}
	wk.mu.Lock()
	s := wk.state()
	box := s.Sandbox()
	wk.mu.Unlock()
	if box == nil {
		http.Error(w, "pod is not running", http.StatusBadRequest)
		return
	}
	req := &runtimeapi.PortForwardRequest{PodSandboxId: box.ID}
	q := r.URL.Query()
	for _, v := range append(q["port"], q["ports"]...) {
		for _, one := range strings.Split(v, ",") {
			n, err := strconv.ParseUint(one, 10, 16)
			if err != nil || n == 0 {
				http.Error(w, fmt.Sprintf("unable to parse %q as a port", one), http.StatusBadRequest)
				return
			}
			req.Port = append(req.Port, int32(n))
		}
	}
	res, err := k.cfg.Runtime.PortForward(r.Context(), req)
	k.stream(w, r, res.GetUrl(), err)
}

// stream joins the caller's upgraded connection, SPDY or WebSocket, to that of the runtime's streaming server.
func (k *Kubelet) stream(w http.ResponseWriter, r *http.Request, at string, err error) {
	if err != nil {
		code := http.StatusInternalServerError
		if cri.IsNotFound(err) {
			code = http.StatusNotFound
		}
		http.Error(w, cri.Message(err), code)
		return
	}
	u, err := url.Parse(at)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	proxy.NewUpgradeAwareHandler(u, nil, false, true, responder{}).ServeHTTP(w, r)
}

type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

func (k *Kubelet) serveRun(w http.ResponseWriter, r *http.Request) {
	id := k.running(w, r)
	if id == "" {
		return
	}
	out, code, err := k.execSync(r.Context(), id, strings.Fields(r.FormValue("cmd")), 0)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if code != 0 {
		w.WriteHeader(http.StatusInternalServerError)
	}
	w.Write(out)
}

func (k *Kubelet) servePods(w http.ResponseWriter, r *http.Request) {
	list := corev1.PodList{}
	list.APIVersion, list.Kind = "v1", "PodList"
	for _, wk := range k.all() {
		wk.mu.Lock()
		if !wk.orphan {
			pod := *wk.pod
			if wk.last != nil {
				pod.Status = *wk.last
			}
			list.Items = append(list.Items, pod)
		}
		wk.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(&list)
}

// logOptions reads the query of a request for logs.
func logOptions(q url.Values, now time.Time) (o logs.Options, previous, stdout, stderr bool, err error) {
	o = logs.All
	o.Follow, o.Timestamps, previous = isSet(q, "follow"), isSet(q, "timestamps"), isSet(q, "previous")
	number := func(name string, to *int64) {
		if v := q.Get(name); v != "" && err == nil {
			if *to, err = strconv.ParseInt(v, 10, 64); err == nil && *to < 0 {
				err = errors.New("must not be negative")
			}
			if err != nil {
				err = fmt.Errorf("invalid %s %q: %w", name, v, err)
			}
		}
	}
	number("tailLines", &o.Tail)
	number("limitBytes", &o.Limit)
	since := int64(-1)
	number("sinceSeconds", &since)
	if since >= 0 {
		o.Since = now.Add(-time.Duration(since) * time.Second)
	}
	if v := q.Get("sinceTime"); v != "" && err == nil {
		o.Since, err = time.Parse(time.RFC3339, v)
	}
	switch q.Get("stream") {
	case "", "All":
		stdout, stderr = true, true
	case "Stdout":
		stdout = true
	case "Stderr":
		stderr = true
	default:
		err = fmt.Errorf("invalid stream %q", q.Get("stream"))
	}
	return
}

func (k *Kubelet) serveLogs(w http.ResponseWriter, r *http.Request) {
	wk := k.find(w, r)
	if wk == nil {
		return
	}
	o, previous, stdout, stderr, err := logOptions(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := r.PathValue("container")
	pod := wk.current()
	if findContainer(pod, name) == nil {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", name, pod.Name), http.StatusNotFound)
		return
	}
	path, ended, err := wk.logOf(r.Context(), name, previous)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	var out, errs io.Writer
	if stdout {
		out = w
	}
	if stderr {
		errs = w
	}
	if err := logs.Read(r.Context(), path, o, ended, out, errs); err != nil {
		fmt.Fprintf(w, "unable to retrieve container logs: %v\n", err)
	}
}

// logOf finds the log of a container, or of the one before it, and a channel that is closed when the container has ended.
func (w *worker) logOf(ctx context.Context, name string, previous bool) (path string, ended <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.pod.Status
	if w.last != nil {
		st = *w.last
	}
	id, err := logContainer(w.pod.Name, &st, name, previous)
	if err != nil {
		return "", nil, err
	}
	for i := range w.containers {
		c := &w.containers[i]
		if c.ID != id {
			continue
		}
		done := make(chan struct{})
		if c.Phase != plan.Running {
			close(done)
		} else {
			w.exits[id] = append(w.exits[id], done)
		}
		return filepath.Join(w.k.podLogDir(w.pod), criconfig.LogPath(c.Name, c.Attempt)), done, nil
	}
	return "", nil, fmt.Errorf("unable to retrieve container logs for containerd://%s", id)
}

// logContainer chooses the container whose log is meant, by upstream's rules and with its messages.
func logContainer(pod string, st *corev1.PodStatus, name string, previous bool) (string, error) {
	var cs *corev1.ContainerStatus
	for _, list := range [][]corev1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses, st.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				cs = &list[i]
			}
		}
	}
	if cs == nil {
		return "", fmt.Errorf("container %q in pod %q is not available", name, pod)
	}
	full, last := "", cs.LastTerminationState.Terminated
	switch state := cs.State; {
	case previous:
		if last == nil || last.ContainerID == "" {
			return "", fmt.Errorf("previous terminated container %q in pod %q not found", name, pod)
		}
		full = last.ContainerID
	case state.Running != nil:
		full = cs.ContainerID
	case state.Terminated != nil && state.Terminated.ContainerID != "":
		full = state.Terminated.ContainerID
	case last != nil && last.ContainerID != "":
		full = last.ContainerID
	case state.Terminated != nil || last != nil:
		return "", fmt.Errorf("container %q in pod %q is terminated", name, pod)
	case state.Waiting != nil:
		switch reason := state.Waiting.Reason; reason {
		case "ErrImagePull":
			return "", fmt.Errorf("container %q in pod %q is waiting to start: image can't be pulled", name, pod)
		case "ImagePullBackOff":
			return "", fmt.Errorf("container %q in pod %q is waiting to start: trying and failing to pull image", name, pod)
		default:
			return "", fmt.Errorf("container %q in pod %q is waiting to start: %v", name, pod, reason)
		}
	default:
		return "", fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", name, pod)
	}
	_, id, _ := strings.Cut(full, "://")
	return id, nil
}
