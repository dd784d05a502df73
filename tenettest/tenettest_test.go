package tenettest

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func clientOf(t *testing.T, s *Server) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestObjectsAreKeptAndNothingActsOnThem(t *testing.T) {
	t.Parallel()
	c := clientOf(t, Start(t))
	ctx := t.Context()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	made, err := c.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Spec.Volumes) != 0 {
		t.Errorf("volumes of the pod: %v, want none: no ServiceAccount admission without controllers", made.Spec.Volumes)
	}
	_, err = c.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "q"}}, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) {
		t.Errorf("a pod without containers: %v, want Invalid", err)
	}
	accounts, err := c.CoreV1().ServiceAccounts("").List(ctx, metav1.ListOptions{})
	if err != nil || len(accounts.Items) != 0 {
		t.Errorf("service accounts: %v, %v, want none", accounts.Items, err)
	}
}

func TestControllersAct(t *testing.T) {
	t.Parallel()
	c := clientOf(t, Start(t, Controllers()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	labels := map[string]string{"app": "web"}
	two := int32(2)
	w, err := c.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	_, err = c.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string]bool{}
	for len(pods) < 2 {
		e, open := <-w.ResultChan()
		if !open {
			t.Fatalf("%d pods of the Deployment, want 2", len(pods))
		}
		if p, ok := e.Object.(*corev1.Pod); ok {
			pods[p.Name] = true
		}
	}
}

func TestUsersMayNothingUnlessTheyAreTold(t *testing.T) {
	t.Parallel()
	s := Start(t)
	cfg, err := s.User("jane", "dev")
	if err != nil {
		t.Fatal(err)
	}
	jane, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jane.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("jane lists pods: %v, want Forbidden", err)
	}
	if _, err := jane.Discovery().ServerVersion(); err != nil {
		t.Errorf("jane reads the version: %v", err)
	}
}

func TestOnDiskGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 2 {
		s, err := Run(OnDisk(dir))
		if err != nil {
			t.Fatal(err)
		}
		c := clientOf(t, s)
		if i == 0 {
			_, err = c.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{})
		} else {
			_, err = c.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
		}
		if err != nil {
			t.Errorf("start %d: %v", i, err)
		}
		if err := s.Stop(); err != nil {
			t.Errorf("stop %d: %v", i, err)
		}
	}
}

// BenchmarkStart is what a test pays: start, one request, stop.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := Run()
		if err != nil {
			b.Fatal(err)
		}
		c, err := kubernetes.NewForConfig(s.Config)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.CoreV1().Namespaces().Get(b.Context(), "default", metav1.GetOptions{}); err != nil {
			b.Fatal(err)
		}
		if err := s.Stop(); err != nil {
			b.Fatal(err)
		}
	}
}
