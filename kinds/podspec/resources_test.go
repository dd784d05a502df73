package podspec_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/kinds/podspec"
)

func spec(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), &pod.Spec); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	podspec.SetPodDefaults(pod)
	return pod
}

func TestQOSClass(t *testing.T) {
	for _, c := range []struct {
		spec string
		want corev1.PodQOSClass
	}{
		{"containers: [{name: a}]", corev1.PodQOSBestEffort},
		{"containers: [{name: a, resources: {requests: {example.com/x: 1}, limits: {example.com/x: 1}}}]", corev1.PodQOSBestEffort},
		{"containers: [{name: a, resources: {requests: {cpu: 0}}}]", corev1.PodQOSBestEffort},
		{"containers: [{name: a, resources: {requests: {cpu: 1}}}]", corev1.PodQOSBurstable},
		{"containers: [{name: a, resources: {limits: {cpu: 1}}}]", corev1.PodQOSBurstable},
		{"containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]", corev1.PodQOSGuaranteed},
		{"containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}, {name: b}]", corev1.PodQOSBurstable},
		{"containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}}]", corev1.PodQOSBurstable},
		{"{containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}], initContainers: [{name: b}]}", corev1.PodQOSBurstable},
		{"{containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}], initContainers: [{name: b, resources: {limits: {cpu: 1, memory: 1Gi}}}]}", corev1.PodQOSGuaranteed},
		{"{resources: {limits: {cpu: 1, memory: 1Gi}}, containers: [{name: a}]}", corev1.PodQOSGuaranteed},
		{"{resources: {limits: {cpu: 1}}, containers: [{name: a}]}", corev1.PodQOSBurstable},
		{"{resources: {requests: {cpu: 1}}, containers: [{name: a}]}", corev1.PodQOSBurstable},
	} {
		if got := podspec.QOSClass(spec(t, c.spec)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.spec, got, c.want)
		}
	}
}

func TestRequestsCountInitContainersSidecarsAndOverhead(t *testing.T) {
	for _, c := range []struct{ spec, cpu string }{
		{"containers: [{name: a, resources: {requests: {cpu: 1}}}, {name: b, resources: {requests: {cpu: 2}}}]", "3"},
		{"{initContainers: [{name: i, resources: {requests: {cpu: 5}}}], containers: [{name: a, resources: {requests: {cpu: 1}}}]}", "5"},
		{"{initContainers: [{name: i, restartPolicy: Always, resources: {requests: {cpu: 5}}}], containers: [{name: a, resources: {requests: {cpu: 1}}}]}", "6"},
		{"{initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: 2}}}, {name: i, resources: {requests: {cpu: 3}}}], containers: [{name: a, resources: {requests: {cpu: 1}}}]}", "5"},
		{"{overhead: {cpu: 250m}, containers: [{name: a, resources: {requests: {cpu: 1}}}]}", "1250m"},
		{"{resources: {requests: {cpu: 7}}, containers: [{name: a, resources: {requests: {cpu: 1}}}]}", "7"},
	} {
		q := podspec.Requests(spec(t, c.spec))[corev1.ResourceCPU]
		if q.String() != c.cpu {
			t.Errorf("%s: got %s, want %s", c.spec, q.String(), c.cpu)
		}
	}
}

func TestPullPolicyFollowsTheTag(t *testing.T) {
	const digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for image, want := range map[string]corev1.PullPolicy{
		"nginx": corev1.PullAlways, "nginx:latest": corev1.PullAlways, "nginx:1": corev1.PullIfNotPresent, "host:5000/nginx": corev1.PullAlways,
		"host:5000/nginx:1": corev1.PullIfNotPresent, "nginx" + digest: corev1.PullIfNotPresent, "nginx:latest" + digest: corev1.PullAlways,
		"a/b-c.d/e:v1": corev1.PullIfNotPresent, "Upper:latest": corev1.PullIfNotPresent, "a_b/d:latest": corev1.PullAlways,
		"a..b:latest": corev1.PullIfNotPresent, "-a:latest": corev1.PullIfNotPresent, "nginx:": corev1.PullIfNotPresent, "nginx:Latest": corev1.PullIfNotPresent,
		"Not An Image": corev1.PullIfNotPresent, "": corev1.PullIfNotPresent,
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}}
		podspec.SetPodDefaults(pod)
		if got := pod.Spec.Containers[0].ImagePullPolicy; got != want {
			t.Errorf("%q: got %s, want %s", image, got, want)
		}
	}
}

func BenchmarkValidateSmallPod(b *testing.B) {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace = "p", "default"
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "nginx:1", Ports: []corev1.ContainerPort{{ContainerPort: 80}}}}
	podspec.SetPodDefaults(pod)
	b.ReportAllocs()
	for b.Loop() {
		if errs := podspec.ValidatePod(pod); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}

func BenchmarkDefaultSmallPod(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx:1", Ports: []corev1.ContainerPort{{ContainerPort: 80}}}}}}
		podspec.SetPodDefaults(pod)
	}
}
