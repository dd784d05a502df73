// Package criconfig turns a pod's spec into what the container runtime is asked for: sandbox and container configurations.
//
// It is pure apart from reading resolv.conf: volumes are mounted, images present and references resolved by callback. Labels, annotations and
// names are upstream's, so that another kubelet, crictl and log collectors understand them.
package criconfig

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// Labels and annotations on sandboxes and containers.
const (
	PodName       = "io.kubernetes.pod.name"
	PodNamespace  = "io.kubernetes.pod.namespace"
	PodUID        = "io.kubernetes.pod.uid"
	ContainerName = "io.kubernetes.container.name"

	Hash           = "io.kubernetes.container.hash"
	RestartCount   = "io.kubernetes.container.restartCount"
	MessagePath    = "io.kubernetes.container.terminationMessagePath"
	MessagePolicy  = "io.kubernetes.container.terminationMessagePolicy"
	PodGrace       = "io.kubernetes.pod.terminationGracePeriod"
	PodDeleteGrace = "io.kubernetes.pod.deletionGracePeriod"
	// HostNetwork remembers what a sandbox was made for, which CRI's list does not tell.
	HostNetwork = "tenet.run/host-network"
)

func identity(pod *corev1.Pod) map[string]string {
	return map[string]string{PodName: pod.Name, PodNamespace: pod.Namespace, PodUID: string(pod.UID)}
}

func containerLabels(pod *corev1.Pod, c *corev1.Container) map[string]string {
	l := identity(pod)
	l[ContainerName] = c.Name
	return l
}

func containerAnnotations(pod *corev1.Pod, c *corev1.Container, hash string, attempt uint32) map[string]string {
	a := map[string]string{
		Hash: hash, RestartCount: strconv.Itoa(int(attempt)),
		MessagePath: c.TerminationMessagePath, MessagePolicy: string(c.TerminationMessagePolicy),
	}
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		a[PodDeleteGrace] = strconv.FormatInt(*g, 10)
	}
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		a[PodGrace] = strconv.FormatInt(*g, 10)
	}
	return a
}
