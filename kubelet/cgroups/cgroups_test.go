package cgroups

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestWeight(t *testing.T) {
	for shares, want := range map[int64]int64{2: 1, 1024: 100, 262144: 10000} {
		if got := weight(shares); got != want {
			t.Errorf("%d shares: got weight %d, want %d", shares, got, want)
		}
	}
}

// On a tree of plain files that looks like cgroup v1: the pod's limits, and what happens without a controller.
func TestLimits(t *testing.T) {
	root := t.TempDir()
	cpu := filepath.Join(root, "cpu")
	tree := &Tree{v1: map[string]string{"cpu": cpu}, dirs: []string{cpu}, log: slog.New(slog.NewTextHandler(io.Discard, nil)), told: map[string]bool{}}
	r := corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}, Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("1Gi")}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: r}, {Resources: r}}}}
	pod.UID = "u"
	if err := tree.Create(pod); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cpu, "kubepods/burstable/podu")
	for file, want := range map[string]string{"cpu.shares": "204", "cpu.cfs_quota_us": "100000"} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != want {
			t.Errorf("%s: got %q %v, want %s", file, b, err, want)
		}
	}
	if !tree.told["memory limit"] {
		t.Error("nobody was told that there is no memory limit")
	}
	if got := tree.Pods(); len(got) != 1 || got[0] != "/kubepods/burstable/podu" {
		t.Errorf("pods: %v", got)
	}
	for _, path := range []string{"/", "/kubepods", "/system.slice/podu", "/kubepods/burstable"} {
		if err := tree.Remove(path); err == nil {
			t.Errorf("%s was removed", path)
		}
	}
}

func TestPathsByQOS(t *testing.T) {
	q := func(s string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(s), corev1.ResourceMemory: resource.MustParse(s)}
	}
	for want, r := range map[string]corev1.ResourceRequirements{
		"/kubepods/podu": {Requests: q("1"), Limits: q("1")}, "/kubepods/burstable/podu": {Requests: q("1"), Limits: q("2")}, "/kubepods/besteffort/podu": {},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: r}}}}
		pod.UID = "u"
		if got := PodPath(pod); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
