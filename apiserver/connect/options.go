package connect

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// query reads options from query parameters, as Kubernetes does, and keeps the first thing that is wrong.
type query struct {
	url.Values
	err error
}

// flag is false when it is absent, "false" or "0".
func (q *query) flag(name string) bool {
	v, ok := q.Values[name]
	return ok && !(len(v) > 0 && (strings.EqualFold(v[0], "false") || v[0] == "0"))
}

func (q *query) number(name string) *int64 {
	v := q.Get(name)
	if v == "" {
		return nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil && q.err == nil {
		q.err = err
	}
	return &n
}

func (q *query) time(name string) *time.Time {
	v := q.Get(name)
	if v == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil && q.err == nil {
		q.err = err
	}
	return &t
}

// logQuery checks what is asked of a log and makes the node's query of it.
func logQuery(pod string, in url.Values) (container string, out url.Values, err error) {
	q := &query{Values: in}
	container = q.Get("container")
	tail, limit, seconds, since := q.number("tailLines"), q.number("limitBytes"), q.number("sinceSeconds"), q.time("sinceTime")
	if q.err != nil {
		return "", nil, apierrors.NewBadRequest(q.err.Error())
	}
	stream := corev1.LogStreamAll
	if s := q.Get("stream"); s != "" {
		stream = s
	}
	var errs field.ErrorList
	if tail != nil && *tail < 0 {
		errs = append(errs, field.Invalid(field.NewPath("tailLines"), *tail, "must be greater than or equal to 0"))
	}
	if limit != nil && *limit < 1 {
		errs = append(errs, field.Invalid(field.NewPath("limitBytes"), *limit, "must be greater than 0"))
	}
	if seconds != nil && since != nil {
		errs = append(errs, field.Forbidden(field.NewPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
	} else if seconds != nil && *seconds < 1 {
		errs = append(errs, field.Invalid(field.NewPath("sinceSeconds"), *seconds, "must be greater than 0"))
	}
	switch stream {
	case corev1.LogStreamAll:
	case corev1.LogStreamStdout, corev1.LogStreamStderr:
		if tail != nil {
			errs = append(errs, field.Forbidden(field.NewPath(""), "`tailLines` and specific `stream` are mutually exclusive for now"))
		}
	default:
		errs = append(errs, field.NotSupported(field.NewPath("stream"), stream, []string{corev1.LogStreamAll, corev1.LogStreamStdout, corev1.LogStreamStderr}))
	}
	if len(errs) > 0 {
		return "", nil, apierrors.NewInvalid(schema.GroupKind{Kind: "PodLogOptions"}, pod, errs)
	}
	out = url.Values{}
	for _, f := range []string{"follow", "previous", "timestamps"} {
		if q.flag(f) {
			out.Set(f, "true")
		}
	}
	for name, n := range map[string]*int64{"tailLines": tail, "limitBytes": limit, "sinceSeconds": seconds} {
		if n != nil {
			out.Set(name, strconv.FormatInt(*n, 10))
		}
	}
	if since != nil {
		out.Set("sinceTime", since.Format(time.RFC3339))
	}
	if stream != corev1.LogStreamAll {
		out.Set("stream", stream)
	}
	return container, out, nil
}

// streams are which of a process' streams a client wants.
type streams struct{ stdin, stdout, stderr, tty bool }

// streamQuery makes the node's query of what is asked of exec or attach.
func streamQuery(in url.Values) (streams, url.Values) {
	q := &query{Values: in}
	s := streams{q.flag("stdin"), q.flag("stdout"), q.flag("stderr"), q.flag("tty")}
	out := url.Values{}
	for name, on := range map[string]bool{corev1.ExecStdinParam: s.stdin, corev1.ExecStdoutParam: s.stdout, corev1.ExecStderrParam: s.stderr, corev1.ExecTTYParam: s.tty} {
		if on {
			out.Set(name, "1")
		}
	}
	if c := in["command"]; len(c) > 0 {
		out["command"] = c
	}
	return s, out
}

// portQuery makes the node's query of what is asked of portforward.
func portQuery(in url.Values) (url.Values, error) {
	out := url.Values{}
	var ports []string
	for _, v := range in["ports"] {
		for p := range strings.SplitSeq(v, ",") {
			if n, err := strconv.ParseInt(p, 10, 32); err != nil || n < 1 || n > 65535 {
				return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid port %q", p))
			}
			ports = append(ports, p)
		}
	}
	if len(ports) > 0 {
		out.Set(corev1.PortHeader, strings.Join(ports, ","))
	}
	return out, nil
}

// chooseContainer is the container that is meant, with Kubernetes' errors.
func chooseContainer(pod *corev1.Pod, name string) (string, error) {
	var names []string
	for _, c := range pod.Spec.InitContainers {
		names = append(names, c.Name)
	}
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		names = append(names, c.Name)
	}
	if name == "" {
		switch len(pod.Spec.Containers) {
		case 0:
			return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", pod.Name))
		case 1:
			return pod.Spec.Containers[0].Name, nil
		}
		return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s, choose one of: %s", pod.Name, names))
	}
	for _, n := range names {
		if n == name {
			return name, nil
		}
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
}
