package control

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiextensions"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/store"
	"github.com/tenet-run/tenet/store/embedded"
)

// plane is a control plane with its controllers on a store, until the test ends or stop is called.
func plane(t *testing.T, st store.Store) (c *Control, stop func()) {
	t.Helper()
	c, err := New(Config{Store: st, Logger: testLogger(), WithoutScheduler: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = c.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); run.Wait(); c.Close() })
	t.Cleanup(stop)
	<-c.Booted()
	return c, stop
}

func widgets() *apiextensionsv1.CustomResourceDefinition {
	keep := true
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Kind: "Widget"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
				OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep}}}},
		},
	}
}

// eventually waits for a condition that controllers bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for this: %s", what)
		}
	}
}

// TestControllersKnowCustomKinds: owners and namespaces of custom objects are what they are for all others, from the create of the definition on; after a restart too.
func TestControllersKnowCustomKinds(t *testing.T) {
	fs := vfs.NewMem()
	open := func() store.Store {
		st, err := embedded.Open(t.Context(), embedded.Options{Dir: "/store", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := open()
	c, stop := plane(t, st)
	api := c.Client(systemUser)
	ctx := t.Context()
	must := func(obj kinds.Object, err error) kinds.Object {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	must(api.Create(ctx, apiextensions.CustomResourceDefinition, widgets(), metav1.CreateOptions{}))
	widget := c.Kinds().Named("example.com/v1", "Widget")
	if widget == nil {
		t.Fatal("the kind is not there when the create of its definition has returned")
	}
	make := func(namespace, name string) kinds.Object {
		u := widget.New().(*unstructured.Unstructured)
		u.SetNamespace(namespace)
		u.SetName(name)
		return must(api.Create(ctx, widget, u, metav1.CreateOptions{}))
	}
	owned := func(name string, owner kinds.Object) {
		must(api.Create(ctx, core.ConfigMap, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "example.com/v1", Kind: "Widget", Name: owner.GetName(), UID: owner.GetUID()}}}}, metav1.CreateOptions{}))
	}
	gone := func(k *kinds.Kind, namespace, name string) func() bool {
		return func() bool {
			_, err := api.Get(ctx, k, namespace, name)
			return apierrors.IsNotFound(err)
		}
	}
	first, second := make("default", "first"), make("default", "second")
	owned("of-first", first)
	owned("of-second", second)
	if err := api.Delete(ctx, widget, "default", "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what a custom object owned is deleted with it", gone(core.ConfigMap, "default", "of-first"))
	if gone(core.ConfigMap, "default", "of-second")() {
		t.Error("what another one owns went too")
	}
	must(api.Create(ctx, core.Namespace, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "short"}}, metav1.CreateOptions{}))
	make("short", "inside")
	if err := api.Delete(ctx, core.Namespace, "", "short", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a namespace goes with its custom objects", gone(core.Namespace, "", "short"))

	stop()
	st.Close()
	st = open()
	t.Cleanup(func() { st.Close() })
	c, stop = plane(t, st)
	defer stop()
	api = c.Client(systemUser)
	if widget = c.Kinds().Named("example.com/v1", "Widget"); widget == nil {
		t.Fatal("the kind is not there after a restart")
	}
	list, err := api.List(ctx, widget, "", metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].GetUID() != second.GetUID() {
		t.Fatalf("after a restart: %v %v", list, err)
	}
	seen := followed(ctx, c.Cache, widget)
	make("default", "third")
	if got := <-seen; got != "added second" {
		t.Error(got)
	}
	if got := <-seen; got != "added third" {
		t.Error(got)
	}
	if err := api.Delete(ctx, apiextensions.CustomResourceDefinition, "", "widgets.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a definition goes", gone(apiextensions.CustomResourceDefinition, "", "widgets.example.com"))
	eventually(t, "what the objects of a definition owned goes with them", gone(core.ConfigMap, "default", "of-second"))
}

// followed reports what a cache says of a kind.
func followed(ctx context.Context, cache client.Cache, k *kinds.Kind) <-chan string {
	out, ready := make(chan string, 10), make(chan struct{})
	go func() {
		_ = cache.Follow(ctx, k, "", client.FollowOptions{}, func(c client.Change) {
			switch {
			case c.Old == nil:
				out <- "added " + c.New.GetName()
			case c.New == nil:
				out <- "deleted " + c.Old.GetName()
			}
		}, func() { close(ready) })
	}()
	<-ready
	return out
}
