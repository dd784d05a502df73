package control

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/store/embedded"
)

const sprocketsYAML = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: sprockets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: sprockets, kind: Sprocket, shortNames: [spr]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Teeth, type: integer, jsonPath: .spec.teeth}]
    schema:
      openAPIV3Schema:
        type: object
        description: A Sprocket turns.
        properties:
          spec:
            type: object
            properties:
              teeth: {type: integer, minimum: 1, description: How many teeth it has.}
              labels: {type: object, additionalProperties: {type: string}}
          status: {type: object, properties: {turns: {type: integer}}}
`

// sprockets is a control plane over HTTP.
func sprockets(t *testing.T) (*Control, *rest.Config) {
	t.Helper()
	st, err := embedded.Open(t.Context(), embedded.Options{Dir: "/store", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	c, err := New(Config{Store: st, Logger: testLogger(), WithoutScheduler: true, authenticator: asMaster{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; c.Close() })
	<-c.Booted()
	web := httptest.NewServer(c.Handler())
	t.Cleanup(web.CloseClientConnections)
	t.Cleanup(web.Close)
	return c, &rest.Config{Host: web.URL, QPS: -1}
}

// TestClientsOfCustomKinds: upstream's clientset for definitions, the dynamic client, and our own client, without waiting for anything in between.
func TestClientsOfCustomKinds(t *testing.T) {
	c, cfg := sprockets(t)
	ctx := t.Context()
	defs, err := apiextensions.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	teeth := 1.0
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "cogs.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "cogs", Kind: "Cog"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{
					"spec":   {Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"teeth": {Type: "integer", Minimum: &teeth}}},
					"status": {Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"turns": {Type: "integer"}}},
				}}}}},
		},
	}
	made, err := defs.ApiextensionsV1().CustomResourceDefinitions().Create(ctx, crd, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(made.Status.Conditions); n != 2 || made.Status.Conditions[1].Type != apiextensionsv1.Established || made.Status.Conditions[1].Status != apiextensionsv1.ConditionTrue {
		t.Fatalf("the answer to the create says %+v", made.Status)
	}
	cogs := dyn.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "cogs"}).Namespace("default")
	seen, err := cogs.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Stop()
	cog := func(name string, teeth int64) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Cog", "metadata": map[string]any{"name": name}, "spec": map[string]any{"teeth": teeth}}}
	}
	if _, err := cogs.Create(ctx, cog("a", 8), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := cogs.Create(ctx, cog("b", 0), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("no teeth at all: %v", err)
	}
	if _, err := cogs.Apply(ctx, "c", cog("c", 9), metav1.ApplyOptions{FieldManager: "test"}); err != nil {
		t.Error(err)
	}
	if _, err := cogs.Patch(ctx, "a", types.MergePatchType, []byte(`{"status":{"turns":3}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"ADDED a", "ADDED c", "MODIFIED a"} {
		e := <-seen.ResultChan()
		if u, ok := e.Object.(*unstructured.Unstructured); !ok || string(e.Type)+" "+u.GetName() != want {
			t.Fatalf("got %v %v, want %s", e.Type, e.Object, want)
		}
	}

	k := c.Kinds().Named("example.com/v1", "Cog")
	over, err := client.Remote(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, api := range map[string]client.Client{"remote": over, "in process": c.Client(systemUser)} {
		u := cog(strings.ReplaceAll(name, " ", ""), 12)
		u.SetNamespace("default")
		if _, err := api.Create(ctx, k, u, metav1.CreateOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := api.Get(ctx, k, "default", "a")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if turns, _, _ := unstructured.NestedInt64(got.(*unstructured.Unstructured).Object, "status", "turns"); turns != 3 {
			t.Errorf("%s: %v", name, got)
		}
		if _, err := api.Get(ctx, k, "default", "none"); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), `cogs.example.com "none" not found`) {
			t.Errorf("%s: %v", name, err)
		}
		list, err := api.List(ctx, k, "default", metav1.ListOptions{})
		if err != nil || len(list.Items) < 3 || list.ResourceVersion == "" {
			t.Errorf("%s: %v %v", name, list, err)
		}
		patched, err := api.Patch(ctx, k, "default", u.GetName(), types.MergePatchType, []byte(`{"spec":{"teeth":13}}`), "", metav1.PatchOptions{})
		if err != nil || patched.GetGeneration() != 2 {
			t.Errorf("%s: %v %v", name, patched, err)
		}
		applied, err := runtime.Encode(unstructured.UnstructuredJSONScheme, cog(u.GetName(), 14))
		if err != nil {
			t.Fatal(err)
		}
		force := true
		if _, err := api.Patch(ctx, k, "default", u.GetName(), types.ApplyPatchType, applied, "", metav1.PatchOptions{FieldManager: "gitops", Force: &force}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := api.Delete(ctx, k, "default", u.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKubectlKnowsCustomKinds: explain, apply, get and their like through the kubectl that Tenet carries.
func TestKubectlKnowsCustomKinds(t *testing.T) {
	_, cfg := sprockets(t)
	dir := t.TempDir()
	bin := filepath.Join(dir, "kubectl")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/kubectl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	kubectl := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command(bin, append([]string{"--server", cfg.Host, "--cache-dir", filepath.Join(dir, "cache")}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "KUBECONFIG=/dev/null", "HOME="+dir)
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	const object = "apiVersion: example.com/v1\nkind: Sprocket\nmetadata: {name: one}\nspec: {teeth: 12}\n"
	for _, c := range []struct{ stdin, args, want string }{
		{sprocketsYAML, "apply -f -", "customresourcedefinition.apiextensions.k8s.io/sprockets.example.com created"},
		{"", "wait --for condition=established crd/sprockets.example.com --timeout 5s", "condition met"},
		{object, "apply -f -", "sprocket.example.com/one created"},
		{object, "apply -f -", "sprocket.example.com/one unchanged"},
		{strings.Replace(object, "12", "13", 1), "apply -f -", "sprocket.example.com/one configured"},
		{strings.Replace(object, "12", "14", 1), "apply --server-side --force-conflicts -f -", "sprocket.example.com/one serverside-applied"},
		{strings.Replace(object, "teeth: 12", "teeht: 12", 1), "apply -f -", `unknown field "spec.teeht"`},
		{strings.Replace(object, "12", "0", 1), "apply -f -", "spec.teeth in body should be greater than or equal to 1"},
		{"", "get spr", "NAME   TEETH\none    14"},
		{"", "get sprockets one -o jsonpath={.spec.teeth}", "14"},
		{"", "explain sprocket", "A Sprocket turns."},
		{"", "explain sprocket.spec.teeth", "How many teeth it has."},
		{"", "api-resources --api-group example.com", "sprockets   spr"},
		{"", "label spr one a=b", "sprocket.example.com/one labeled"},
		{"", "patch spr one --type merge -p {\"status\":{\"turns\":5}} --subresource status", "sprocket.example.com/one patched"},
		{"", "delete crd sprockets.example.com", "deleted"},
		{"", "get sprockets", "could not find the requested resource"},
	} {
		if got := kubectl(c.stdin, strings.Fields(c.args)...); !strings.Contains(got, c.want) {
			t.Errorf("kubectl %s:\n%s\nwant %q", c.args, got, c.want)
		}
	}
}
