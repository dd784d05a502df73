package connect

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxErrorText is how much of a node's error is passed on.
const maxErrorText = 50000

// log streams the log of a container.
func (h *handlers) log(w http.ResponseWriter, r *http.Request, q *Request) {
	pod, ok := podOf(w, q)
	if !ok {
		return
	}
	container, query, err := logQuery(pod.Name, q.Options)
	if err == nil {
		container, err = chooseContainer(pod, container)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	if pod.Spec.NodeName == "" {
		w.WriteHeader(http.StatusNoContent) // there is no log yet
		return
	}
	b := h.toNode(r.Context(), pod.Spec.NodeName)
	defer b.end()
	loc := url.URL{Scheme: "http", Host: pod.Spec.NodeName, Path: fmt.Sprintf("/containerLogs/%s/%s/%s", pod.Namespace, pod.Name, container), RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, loc.String(), nil)
	if err != nil {
		writeError(w, err)
		return
	}
	resp, err := b.RoundTrip(req)
	if err != nil {
		writeError(w, fmt.Errorf("log of pod %s/%s: node %s: %w", pod.Namespace, pod.Name, pod.Spec.NodeName, err))
		return
	}
	defer resp.Body.Close()
	if err := checkLog(resp, pod.Name); err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	if query.Get("follow") == "" {
		io.Copy(w, resp.Body)
		return
	}
	flush(w) // the client sees that it follows, before there is a first line
	io.Copy(flushWriter{w}, resp.Body)
}

// checkLog makes an API error of a node's.
func checkLog(resp *http.Response, pod string) error {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorText))
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	switch resp.StatusCode {
	case http.StatusInternalServerError:
		return apierrors.NewInternalError(errors.New(string(text)))
	case http.StatusBadRequest:
		return apierrors.NewBadRequest(string(text))
	}
	return apierrors.NewGenericServerResponse(resp.StatusCode, "", schema.GroupResource{Resource: "pods/log"}, pod, string(text), 0, false)
}

type flushWriter struct{ w http.ResponseWriter }

func (f flushWriter) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		flush(f.w)
	}
	return n, err
}

func flush(w http.ResponseWriter) { http.NewResponseController(w).Flush() }

func podOf(w http.ResponseWriter, q *Request) (*corev1.Pod, bool) {
	pod, ok := q.Object.(*corev1.Pod)
	if !ok {
		writeError(w, fmt.Errorf("%s of a %T", q.Subresource, q.Object))
	}
	return pod, ok
}
