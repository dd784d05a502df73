package downward

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestFields(t *testing.T) {
	pod := &corev1.Pod{}
	pod.Name, pod.Labels, pod.Annotations = "p", map[string]string{"b": "2", "a": "x\"y\n"}, map[string]string{"k.io/x": "v"}
	f := Facts{HostIPs: []string{"h1", "h2"}, PodIPs: []string{"p1", "p2"}}
	for path, want := range map[string]string{
		"metadata.name": "p", "metadata.labels": "a=\"x\\\"y\\n\"\nb=\"2\"", "metadata.labels['b']": "2", "metadata.annotations['k.io/x']": "v", "metadata.labels['none']": "",
		"status.hostIP": "h1", "status.hostIPs": "h1,h2", "status.podIP": "p1", "status.podIPs": "p1,p2",
	} {
		if got, err := Field(pod, path, f); err != nil || got != want {
			t.Errorf("%s: got %q %v, want %q", path, got, err, want)
		}
	}
	if _, err := Field(pod, "spec.nope", f); err == nil || err.Error() != "unsupported fieldPath: spec.nope" {
		t.Errorf("got %v", err)
	}
}

func TestResources(t *testing.T) {
	c := corev1.Container{Name: "c", Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}, Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("10Mi")},
	}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
	f := Facts{Allocatable: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}
	for _, x := range []struct{ name, divisor, want string }{
		{"limits.cpu", "0", "2"}, {"limits.cpu", "1m", "1500"}, {"limits.cpu", "1", "2"}, {"requests.memory", "1Mi", "10"}, {"limits.memory", "1Mi", "1024"}, {"requests.cpu", "0", "0"},
	} {
		got, err := Resource(pod, nil, &corev1.ResourceFieldSelector{ContainerName: "c", Resource: x.name, Divisor: resource.MustParse(x.divisor)}, f)
		if err != nil || got != x.want {
			t.Errorf("%s / %s: got %q %v, want %q", x.name, x.divisor, got, err, x.want)
		}
	}
}
