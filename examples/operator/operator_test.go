package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/tenet-run/tenet/examples/operator/api"
	"github.com/tenet-run/tenet/tenettest"
)

// TestOnTenettest runs the operator against the API server in this process, with Tenet's controllers.
func TestOnTenettest(t *testing.T) {
	env := &envtest.Environment{
		CRDDirectoryPaths: []string{"config/crd.yaml"}, ErrorIfCRDPathMissing: true,
		UseExistingCluster: new(true), Config: tenettest.Start(t, tenettest.Controllers()).Config,
	}
	testOperator(t, env)
}

// TestOnEnvtest runs it as any project that uses envtest does: envtest starts the programs in KUBEBUILDER_ASSETS, which are links to bin/tenet.
func TestOnEnvtest(t *testing.T) {
	tenet, err := filepath.Abs("../../bin/tenet")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tenet); err != nil {
		t.Skip("bin/tenet is not there: make build")
	}
	assets := t.TempDir()
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if err := os.Symlink(tenet, filepath.Join(assets, name)); err != nil {
			t.Fatal(err)
		}
	}
	env := &envtest.Environment{BinaryAssetsDirectory: assets, CRDDirectoryPaths: []string{"config/crd.yaml"}, ErrorIfCRDPathMissing: true, AttachControlPlaneOutput: testing.Verbose()}
	testOperator(t, env)
}

func testOperator(t *testing.T, env *envtest.Environment) {
	began := time.Now()
	t.Cleanup(func() { // also when it did not start as a whole
		if err := env.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	cfg, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("API server with the operator's kind after %s", time.Since(began).Round(time.Millisecond))
	c := runOperator(t, cfg)
	ctx := t.Context()

	site := &api.Website{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "home"}, Spec: api.WebsiteSpec{Page: "<h1>Home</h1>"}}
	if err := c.Create(ctx, site); err != nil {
		t.Fatal(err)
	}
	if site.Spec.Replicas == nil || *site.Spec.Replicas != 1 || site.Spec.Image != "nginx:stable" {
		t.Errorf("spec of the new Website: %+v, want the schema's defaults", site.Spec)
	}
	servers := &appsv1.Deployment{}
	wait(t, "a Deployment", func() bool { return c.Get(ctx, client.ObjectKeyFromObject(site), servers) == nil })
	wait(t, "the status", func() bool {
		ready := &metav1.Condition{}
		if c.Get(ctx, client.ObjectKeyFromObject(site), site) == nil {
			ready = meta.FindStatusCondition(site.Status.Conditions, "Ready")
		}
		return ready != nil && ready.Reason == "Starting"
	})

	// The deployment controller, or a test that plays it, reports a ready server.
	wait(t, "a ready server to be reported", func() bool {
		if c.Get(ctx, client.ObjectKeyFromObject(site), servers) != nil {
			return false
		}
		if servers.Status.ReadyReplicas == 1 {
			return true
		}
		servers.Status = appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1, ObservedGeneration: servers.Generation}
		_ = c.Status().Update(ctx, servers)
		err := c.Get(ctx, client.ObjectKeyFromObject(site), site)
		return err == nil && meta.IsStatusConditionTrue(site.Status.Conditions, "Ready")
	})

	// Drift is pulled back.
	wait(t, "the page to be changed behind the operator's back", func() bool {
		page := &corev1.ConfigMap{}
		if c.Get(ctx, client.ObjectKeyFromObject(site), page) != nil {
			return false
		}
		page.Data["index.html"] = "defaced"
		return c.Update(ctx, page) == nil
	})
	wait(t, "the page to be restored", func() bool {
		page := &corev1.ConfigMap{}
		return c.Get(ctx, client.ObjectKeyFromObject(site), page) == nil && page.Data["index.html"] == "<h1>Home</h1>"
	})

	// What the schema and its rules forbid is refused, with the field's path.
	for text, spec := range map[string]api.WebsiteSpec{
		"spec.replicas":         {Page: "x", Replicas: new(int32(21))},
		"spec.page":             {},
		"a page has no scripts": {Page: "<script>"},
	} {
		err := c.Create(ctx, &api.Website{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "wrong"}, Spec: spec})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), text) {
			t.Errorf("create with %+v: %v, want Invalid that names %q", spec, err, text)
		}
	}
}

// runOperator runs the operator until the test ends, and returns a client that reads without a cache.
func runOperator(t *testing.T, cfg *rest.Config) client.Client {
	t.Helper()
	m, err := newManager(cfg, ctrl.Options{Controller: config.Controller{SkipNameValidation: new(true)}}) // it runs once a test
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("operator: %v", err)
		}
	})
	c, err := client.New(cfg, client.Options{Scheme: m.GetScheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}
