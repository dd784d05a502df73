package openapi_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/cli-runtime/pkg/resource"
	clientopenapi "k8s.io/client-go/openapi"
	"k8s.io/client-go/openapi3"
	explain "k8s.io/kubectl/pkg/explain/v2"

	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/openapi"
)

// documents is what clients see of /openapi/v3, without a server.
type documents struct{ t testing.TB }

func (d documents) Paths() (map[string]clientopenapi.GroupVersion, error) {
	out := map[string]clientopenapi.GroupVersion{}
	for path := range openapi.V3Index() {
		out[path] = document{d.t, path}
	}
	return out, nil
}

type document struct {
	t    testing.TB
	path string
}

func (d document) Schema(contentType string) ([]byte, error) {
	if contentType != "application/json" {
		return nil, fmt.Errorf("only JSON is served, not %s", contentType)
	}
	_, path, _ := strings.Cut(d.path, "/")
	gv, err := schema.ParseGroupVersion(path)
	if err != nil {
		return nil, err
	}
	gz, _, ok := openapi.V3(gv)
	if !ok {
		return nil, fmt.Errorf("no %s", d.path)
	}
	return gunzip(d.t, gz), nil
}

func (d document) ServerRelativeURL() string {
	return "/openapi/v3/" + d.path + "?hash=" + openapi.V3Index()[d.path]
}

// TestExplain runs kubectl's own code over every kind.
func TestExplain(t *testing.T) {
	for _, k := range all.Kinds() {
		for _, s := range k.Served {
			var out bytes.Buffer
			gvr := s.GroupVersion().WithResource(k.Plural)
			if err := explain.PrintModelDescription([]string{"metadata", "name"}, &out, documents{t}, gvr, false, 0, "plaintext"); err != nil {
				t.Errorf("explain %v: %v", gvr, err)
			} else if !strings.Contains(out.String(), "FIELD: name <string>") {
				t.Errorf("explain %v says\n%s", gvr, &out)
			}
		}
	}
	var out bytes.Buffer
	gvr := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	if err := explain.PrintModelDescription([]string{"spec", "template", "spec", "containers", "ports"}, &out, documents{t}, gvr, false, 0, "plaintext"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GROUP:      apps", "KIND:       Deployment", "FIELD: ports <[]ContainerPort>", "containerPort\t<integer> -required-", "enum: SCTP, TCP, UDP"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestQueryParameters: kubectl sends fieldValidation only where the document says it is understood.
func TestQueryParameters(t *testing.T) {
	v := resource.NewQueryParamVerifierV3(nil, documents{t}, resource.QueryParamFieldValidation)
	for _, k := range all.Kinds() {
		if !k.Stored() || slices.Contains(k.WithoutVerbs, "patch") {
			continue // kubectl looks at PATCH, which is not offered
		}
		if err := v.HasSupport(k.GVK()); err != nil {
			t.Errorf("%v: %v", k.GVK(), err)
		}
	}
}

// TestApplyPatch makes the patch of kubectl apply (client side) with the document's merge keys: containers are merged by name.
func TestApplyPatch(t *testing.T) {
	doc, err := openapi3.NewRoot(documents{t}).GVSpec(schema.GroupVersion{Group: "apps", Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	meta := strategicpatch.PatchMetaFromOpenAPIV3{Schema: doc.Components.Schemas["io.k8s.api.apps.v1.Deployment"], SchemaList: doc.Components.Schemas}
	was := `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"one"},{"name":"b","image":"two"}]}}}}`
	now := `{"spec":{"template":{"spec":{"containers":[{"name":"b","image":"three"}]}}}}`
	patch, err := strategicpatch.CreateThreeWayMergePatch([]byte(was), []byte(now), []byte(was), meta, true)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"image":"three","name":"b"},{"$patch":"delete","name":"a"}]}}}}`
	if string(patch) != want {
		t.Errorf("patch is\n%s\nwant\n%s", patch, want)
	}
}
