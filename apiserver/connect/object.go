package connect

import (
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// OptionsObject fills in the options of a connection, as admission webhooks and policies see them. path is what follows the subresource.
func OptionsObject(into runtime.Object, values url.Values, path string) runtime.Object {
	q := &query{Values: values}
	if path != "" {
		path = "/" + path
	}
	switch o := into.(type) {
	case *corev1.PodExecOptions:
		o.Stdin, o.Stdout, o.Stderr, o.TTY, o.Container, o.Command = q.flag("stdin"), q.flag("stdout"), q.flag("stderr"), q.flag("tty"), q.Get("container"), values["command"]
	case *corev1.PodAttachOptions:
		o.Stdin, o.Stdout, o.Stderr, o.TTY, o.Container = q.flag("stdin"), q.flag("stdout"), q.flag("stderr"), q.flag("tty"), q.Get("container")
	case *corev1.PodPortForwardOptions:
		for _, p := range values["ports"] {
			if n, err := strconv.ParseUint(p, 10, 16); err == nil { // one that is none is refused by the handler
				o.Ports = append(o.Ports, int32(n))
			}
		}
	case *corev1.PodProxyOptions:
		o.Path = path
	case *corev1.NodeProxyOptions:
		o.Path = path
	case *corev1.ServiceProxyOptions:
		o.Path = path
	}
	return into
}
