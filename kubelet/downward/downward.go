// Package downward reads values out of a pod for the downward API: environment variables and volume files. It is pure.
package downward

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Facts are what the node adds to what the pod says.
type Facts struct {
	HostIPs []string
	PodIPs  []string
	// Allocatable stands in for limits that a container does not have.
	Allocatable corev1.ResourceList
}

// Field returns the value of a fieldRef. Labels and annotations as a whole come as lines key="escaped value", sorted.
func Field(pod *corev1.Pod, path string, f Facts) (string, error) {
	if name, key, ok := subscript(path); ok {
		switch name {
		case "metadata.annotations":
			return pod.Annotations[key], nil
		case "metadata.labels":
			return pod.Labels[key], nil
		}
		return "", fmt.Errorf("unsupported fieldPath: %v", path)
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return lines(pod.Labels), nil
	case "metadata.annotations":
		return lines(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return first(f.HostIPs), nil
	case "status.hostIPs":
		return strings.Join(f.HostIPs, ","), nil
	case "status.podIP":
		return first(f.PodIPs), nil
	case "status.podIPs":
		return strings.Join(f.PodIPs, ","), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %v", path)
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// subscript splits metadata.labels['key'].
func subscript(path string) (name, key string, ok bool) {
	if !strings.HasSuffix(path, "']") {
		return
	}
	name, key, ok = strings.Cut(strings.TrimSuffix(path, "']"), "['")
	return
}

func lines(m map[string]string) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s=%q", k, m[k])
	}
	return b.String()
}

// Container returns the container of a name, init containers included, or nil.
func Container(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// Resource returns the value of a resourceFieldRef: of container own when the reference names none, divided and rounded up.
func Resource(pod *corev1.Pod, own *corev1.Container, ref *corev1.ResourceFieldSelector, f Facts) (string, error) {
	c := own
	if ref.ContainerName != "" {
		if c = Container(pod, ref.ContainerName); c == nil {
			return "", fmt.Errorf("container %s not found", ref.ContainerName)
		}
	}
	if c == nil {
		return "", fmt.Errorf("container name is required for resource %s", ref.Resource)
	}
	kind, name, ok := strings.Cut(ref.Resource, ".")
	if !ok || kind != "limits" && kind != "requests" {
		return "", fmt.Errorf("unsupported container resource : %v", ref.Resource)
	}
	rn := corev1.ResourceName(name)
	var q resource.Quantity
	if kind == "requests" {
		q = c.Resources.Requests[rn]
	} else {
		q = c.Resources.Limits[rn]
		if q.IsZero() && pod.Spec.Resources != nil {
			q = pod.Spec.Resources.Limits[rn]
		}
		if q.IsZero() {
			q = f.Allocatable[rn]
		}
	}
	return divide(rn, q, ref.Divisor), nil
}

func divide(name corev1.ResourceName, q, by resource.Quantity) string {
	value, d := q.Value(), by.Value()
	if name == corev1.ResourceCPU {
		value, d = q.MilliValue(), by.MilliValue()
		if d == 0 {
			d = 1000
		}
	}
	if d == 0 {
		d = 1
	}
	return strconv.FormatInt((value+d-1)/d, 10)
}
