package discovery

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"testing"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
)

// testKinds is a small world: an object of two versions, one served in two groups, one cluster-scoped, foreign subresources.
func testKinds() []*kinds.Kind {
	scale := schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}
	return []*kinds.Kind{
		{Kind: "Widget", Plural: "widgets", Singular: "widget", Namespaced: true, ShortNames: []string{"wd"}, Categories: []string{"all"},
			Storage:      kinds.Storage{Prefix: "widgets", GVK: schema.GroupVersionKind{Group: "zoo", Version: "v1", Kind: "Widget"}},
			Served:       []*kinds.Served{{Group: "zoo", Version: "v1beta1"}, {Group: "zoo", Version: "v1"}},
			Subresources: []*kinds.Subresource{{Name: "status", Verbs: []string{"patch", "get", "update"}}, {Name: "scale", Verbs: []string{"get"}, GVK: scale}}},
		{Kind: "Pod", Plural: "pods", Singular: "pod", Namespaced: true, Storage: kinds.Storage{Prefix: "pods"}, Served: []*kinds.Served{{Version: "v1"}}, Subresources: []*kinds.Subresource{
			{Name: "log", Verbs: []string{"get"}, GVK: schema.GroupVersionKind{Version: "v1", Kind: "PodLogOptions"}},
			{Name: "exec", Verbs: []string{"create", "get"}, GVK: schema.GroupVersionKind{Version: "v1", Kind: "PodExecOptions"}}}},
		{Kind: "Event", Plural: "events", Singular: "event", Namespaced: true, Storage: kinds.Storage{Prefix: "events"}, Served: []*kinds.Served{{Version: "v1"}, {Group: "events.k8s.io", Version: "v1"}}},
		{Kind: "Thing", Plural: "things", Singular: "thing", Storage: kinds.Storage{Prefix: "things"}, WithoutVerbs: []string{"deletecollection", "watch"}, Served: []*kinds.Served{{Group: "apps", Version: "v1"}}},
	}
}

func get(t *testing.T, h http.Handler, path, accept string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func TestDocuments(t *testing.T) {
	h := New(kinds.NewSet(testKinds()...), "10.0.0.1:6443", nil)
	for path, want := range map[string]string{
		"/api":       `{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"10.0.0.1:6443"}]}`,
		"/apis/":     `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}],"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}},{"name":"events.k8s.io","versions":[{"groupVersion":"events.k8s.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"events.k8s.io/v1","version":"v1"}},{"name":"zoo","versions":[{"groupVersion":"zoo/v1","version":"v1"},{"groupVersion":"zoo/v1beta1","version":"v1beta1"}],"preferredVersion":{"groupVersion":"zoo/v1","version":"v1"}}]}`,
		"/apis/apps": `{"kind":"APIGroup","apiVersion":"v1","name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}],"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}}`,
		"/apis/zoo/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"zoo/v1","resources":[` +
			`{"name":"widgets","singularName":"widget","namespaced":true,"kind":"Widget","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["wd"],"categories":["all"],"storageVersionHash":"` + storageHash(schema.GroupVersionKind{Group: "zoo", Version: "v1", Kind: "Widget"}) + `"},` +
			`{"name":"widgets/scale","singularName":"","namespaced":true,"group":"autoscaling","version":"v1","kind":"Scale","verbs":["get"]},` +
			`{"name":"widgets/status","singularName":"","namespaced":true,"kind":"Widget","verbs":["get","patch","update"]}]}`,
	} {
		rec := get(t, h, path, "")
		if got := strings.TrimSpace(rec.Body.String()); got != want || rec.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s %s:\n got %s\nwant %s", path, rec.Header().Get("Content-Type"), got, want)
		}
	}
	rec := get(t, h, "/apis/apps/v1", "")
	if !strings.Contains(rec.Body.String(), `"verbs":["create","delete","get","list","patch","update"]`) {
		t.Errorf("got %s", rec.Body)
	}
	if rec := get(t, h, "/apis/none/v1", ""); rec.Code != 404 {
		t.Errorf("unknown group: got %d", rec.Code)
	}
	// Kubernetes' own value for pods, as a running kube-apiserver gives it.
	if got := storageHash(schema.GroupVersionKind{Version: "v1", Kind: "Pod"}); got != "xPOwRZ+Yhw8=" {
		t.Errorf("got storage hash %s", got)
	}
}

func TestNegotiation(t *testing.T) {
	h := New(kinds.NewSet(testKinds()...), "", nil)
	const agg = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	for _, tc := range []struct{ path, accept, want string }{
		{"/apis", agg + ",application/json", agg},
		{"/apis", agg + ";profile=nopeer," + agg, agg},
		{"/api", agg, agg},
		{"/apis", strings.ReplaceAll(agg, "v=v2", "v=v2beta1") + ",application/json", "application/json"},
		{"/apis/apps", agg + ",application/json", "application/json"},
		{"/apis", "text/html, */*;q=0.8", "application/json"},
		{"/apis", "application/yaml", "application/yaml"},
		{"/apis", "application/vnd.kubernetes.protobuf, application/json", "application/vnd.kubernetes.protobuf"},
		{"/apis", strings.Replace(agg, "json", "vnd.kubernetes.protobuf", 1), strings.Replace(agg, "json", "vnd.kubernetes.protobuf", 1)},
		{"/apis", "text/html", "406"},
	} {
		rec := get(t, h, tc.path, tc.accept)
		got := rec.Header().Get("Content-Type")
		if rec.Code != 200 {
			got = http.StatusText(rec.Code)
			if rec.Code == 406 {
				got = "406"
			}
		}
		if got != tc.want {
			t.Errorf("%s, Accept %s:\n got %s\nwant %s", tc.path, tc.accept, got, tc.want)
		}
	}
}

func TestAggregatedProtobufSaysWhatJSONSays(t *testing.T) {
	h := New(kinds.NewSet(testKinds()...), "", nil)
	var fromJSON, fromProto apidiscoveryv2.APIGroupDiscoveryList
	if err := json.Unmarshal(get(t, h, "/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").Body.Bytes(), &fromJSON); err != nil {
		t.Fatal(err)
	}
	raw := get(t, h, "/apis", "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").Body.Bytes()
	var u runtime.Unknown
	if string(raw[:4]) != "k8s\x00" || u.Unmarshal(raw[4:]) != nil || u.Kind != "APIGroupDiscoveryList" || u.APIVersion != "apidiscovery.k8s.io/v2" {
		t.Fatalf("got %q %+v", raw[:4], u.TypeMeta)
	}
	if err := fromProto.Unmarshal(u.Raw); err != nil {
		t.Fatal(err)
	}
	fromProto.TypeMeta = fromJSON.TypeMeta
	a, _ := json.Marshal(fromJSON)
	b, _ := json.Marshal(fromProto)
	if string(a) != string(b) {
		t.Errorf("\nJSON     %s\nprotobuf %s", a, b)
	}
	w := fromJSON.Items[2].Versions[0].Resources[0]
	if w.Resource != "widgets" || w.Subresources[0].ResponseKind.Group != "autoscaling" || w.Subresources[1].ResponseKind.Group != "zoo" || w.Scope != apidiscoveryv2.ScopeNamespace {
		t.Errorf("got %+v", w)
	}
}

func TestETags(t *testing.T) {
	h := New(kinds.NewSet(testKinds()...), "", nil)
	first := get(t, h, "/apis", "").Header().Get("ETag")
	if rec := get(t, h, "/apis", "", "If-None-Match", first); rec.Code != 304 || rec.Body.Len() != 0 {
		t.Errorf("got %d with %d bytes", rec.Code, rec.Body.Len())
	}
	for _, k := range testKinds() {
		if err := h.live.Put(k); err != nil {
			t.Fatal(err)
		}
	}
	if again := get(t, h, "/apis", "").Header().Get("ETag"); again != first {
		t.Error("the same kinds gave another ETag")
	}
	h.live.Remove(testKinds()[0].Storage.Prefix)
	if rec := get(t, h, "/apis", "", "If-None-Match", first); rec.Code != 200 || strings.Contains(rec.Body.String(), "zoo") {
		t.Errorf("after a change: got %d %s", rec.Code, rec.Body)
	}
}

// What client-go makes of the built-in kinds is the same by both ways.
func TestClientGoReadsBothWays(t *testing.T) {
	h := New(kinds.NewSet(all.Kinds()...), "", nil)
	srv := httptest.NewServer(h)
	defer srv.Close()
	read := func(legacy bool) []string {
		c, err := clientdiscovery.NewDiscoveryClientForConfig(&rest.Config{Host: srv.URL})
		if err != nil {
			t.Fatal(err)
		}
		c.UseLegacyDiscovery = legacy
		gs, lists, err := c.ServerGroupsAndResources()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, g := range gs {
			out = append(out, "group "+g.Name+" prefers "+g.PreferredVersion.GroupVersion)
		}
		for _, l := range lists {
			for _, r := range l.APIResources {
				gv := schema.GroupVersion{Group: r.Group, Version: r.Version}
				if r.Version == "" { // only the aggregated form says it always
					gv, _ = schema.ParseGroupVersion(l.GroupVersion)
				}
				if strings.Contains(r.Name, "/") {
					r.SingularName = "" // client-go makes it up for the aggregated form
				}
				verbs := slices.Clone(r.Verbs)
				sort.Strings(verbs)
				out = append(out, strings.Join([]string{l.GroupVersion, r.Name, r.SingularName, gv.String(), r.Kind, strings.Join(verbs, ","), strings.Join(r.ShortNames, ","), strings.Join(r.Categories, ",")}, " "))
			}
		}
		sort.Strings(out)
		return out
	}
	a, b := read(false), read(true)
	if !slices.Equal(a, b) {
		t.Errorf("\naggregated %s\nlegacy     %s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	if len(a) < 15 || !slices.ContainsFunc(a, func(s string) bool {
		return strings.HasPrefix(s, "apps/v1 deployments deployment apps/v1 Deployment create,delete,")
	}) {
		t.Errorf("got %s", strings.Join(a, "\n"))
	}
}
