package apiserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/kinds/core"
)

func ask(s http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func statusOf(t *testing.T, w *httptest.ResponseRecorder) metav1.Status {
	t.Helper()
	var s metav1.Status
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		t.Fatalf("no Status: %s", w.Body)
	}
	return s
}

// plugin is admission in functions.
type plugin struct {
	mutate, validate func(*admission.Request) error
}

func (plugin) Name() string                                             { return "test" }
func (p plugin) Mutate(_ context.Context, r *admission.Request) error   { return p.mutate(r) }
func (p plugin) Validate(_ context.Context, r *admission.Request) error { return p.validate(r) }

func TestAdmissionChangesAndRefuses(t *testing.T) {
	var seen []string
	s := newServer(t, func(c *apiserver.Config) {
		c.Admission = []admission.Plugin{plugin{
			mutate: func(r *admission.Request) error {
				if r.Object != nil && r.Operation == admission.Create {
					m := r.Object.GetLabels()
					if m == nil {
						m = map[string]string{}
					}
					m["mutated"] = "yes"
					r.Object.SetLabels(m)
					r.Warn("labelled")
				}
				return nil
			},
			validate: func(r *admission.Request) error {
				seen = append(seen, fmt.Sprintf("%s %s %s/%s %s in=%T", r.Operation, r.Kind.Plural, r.Namespace, r.Name, r.Subresource, r.In))
				if r.Object != nil && r.Object.GetLabels()["mutated"] != "yes" {
					return errors.New("not mutated")
				}
				if r.Name == "forbidden" {
					return errors.New("not this one")
				}
				return nil
			},
		}}
	})
	w := ask(s, "POST", "/api/v1/namespaces/default/pods", fmt.Sprintf(benchPod, "a", 1))
	if w.Code != 201 || !strings.Contains(w.Body.String(), `"mutated":"yes"`) || w.Header().Get("Warning") != `299 - "labelled"` {
		t.Errorf("create: %d %v %s", w.Code, w.Header(), w.Body)
	}
	w = ask(s, "POST", "/api/v1/namespaces/default/pods", fmt.Sprintf(benchPod, "forbidden", 1))
	if st := statusOf(t, w); st.Code != 403 || st.Message != `pods "forbidden" is forbidden: not this one` {
		t.Errorf("refused: got %+v", st)
	}
	ask(s, "POST", "/api/v1/namespaces/default/pods/a/binding", `{"target":{"name":"n"}}`)
	ask(s, "DELETE", "/api/v1/namespaces/default/pods/a", "")
	want := []string{
		"CREATE pods default/a  in=<nil>",
		"CREATE pods default/forbidden  in=<nil>",
		"CREATE pods default/a binding in=*v1.Binding",
		"DELETE pods default/a  in=<nil>",
	}
	for _, line := range want {
		if !slices.Contains(seen, line) {
			t.Errorf("plugin never saw %q; it saw\n%s", line, strings.Join(seen, "\n"))
		}
	}
}

func TestWhoAndMayThey(t *testing.T) {
	s := newServer(t, func(c *apiserver.Config) {
		c.Authenticator = authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			switch name := r.Header.Get("Authorization"); name {
			case "":
				return nil, false, nil
			case "bad":
				return nil, false, errors.New("bad token")
			default:
				return &authenticator.Response{User: &user.DefaultInfo{Name: name}}, true, nil
			}
		})
		c.Authorizer = authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if a.GetUser().GetName() == "root" || a.GetVerb() == "get" && a.GetName() == "mine" {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "no rule", nil
		})
		c.Extra = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "extra "+r.URL.Path) })
	})
	for _, c := range []struct {
		who, method, path string
		code              int
		text              string
	}{
		{"", "GET", "/api/v1/pods", 401, "Unauthorized"},
		{"bad", "GET", "/api/v1/pods", 401, "Unauthorized"},
		{"joe", "GET", "/api/v1/namespaces/default/pods", 403, `pods is forbidden: User \"joe\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\": no rule`},
		{"joe", "GET", "/api/v1/nodes/n", 403, `nodes \"n\" is forbidden: User \"joe\" cannot get resource \"nodes\" in API group \"\" at the cluster scope: no rule`},
		{"joe", "PUT", "/api/v1/namespaces/default/pods/p/status", 403, `cannot update resource \"pods/status\"`},
		{"joe", "GET", "/metrics", 403, `forbidden: User \"joe\" cannot get path \"/metrics\"`},
		{"joe", "GET", "/api/v1/namespaces/default/configmaps/mine", 404, "not found"},
		{"joe", "DELETE", "/api/v1/namespaces/default/configmaps", 403, "deletecollection"},
		{"root", "GET", "/version", 200, "extra /version"},
		{"root", "GET", "/api/v1", 200, "extra /api/v1"},
		{"root", "GET", "/apis/apps/v1", 200, "extra /apis/apps/v1"},
		{"root", "GET", "/apis/other.io/v1/things", 404, "could not find the requested resource"},
		{"root", "GET", "/api/v1/pods", 200, "PodList"},
	} {
		w := ask(s, c.method, c.path, "", "Authorization", c.who)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s %s as %q: got %d %s, want %d ...%s...", c.method, c.path, c.who, w.Code, w.Body, c.code, c.text)
		}
		if w.Header().Get("Audit-Id") == "" {
			t.Errorf("%s: no Audit-Id", c.path)
		}
	}
	// Callers in this process are asked the same.
	_, err := s.GetObject(t.Context(), &user.DefaultInfo{Name: "joe"}, core.Pod, "default", "p")
	if !apierrors.IsForbidden(err) {
		t.Errorf("in process: got %v, want Forbidden", err)
	}
}

func TestConnectHandlers(t *testing.T) {
	s := newServer(t, func(c *apiserver.Config) {
		c.Connect = map[string]connect.Handler{
			"pods/log": {HTTP: func(w http.ResponseWriter, r *http.Request, q *connect.Request) {
				fmt.Fprintf(w, "log of %s/%s, container %s", q.Namespace, q.Object.GetName(), q.Options.Get("container"))
			}},
			"pods/proxy": {HTTP: func(w http.ResponseWriter, r *http.Request, q *connect.Request) {
				fmt.Fprintf(w, "%s %s", r.Method, q.Path)
			}},
			"serviceaccounts/token": {Action: func(_ context.Context, q *connect.Request, in runtime.Object) (runtime.Object, error) {
				out := in.DeepCopyObject().(*authenticationv1.TokenRequest)
				out.Status.Token = "token of " + q.Name
				return out, nil
			}},
		}
	})
	ask(s, "POST", "/api/v1/namespaces/default/pods", fmt.Sprintf(benchPod, "a", 1))
	ask(s, "POST", "/api/v1/namespaces/default/serviceaccounts", `{"metadata":{"name":"sa"}}`)
	for _, c := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"GET", "/api/v1/namespaces/default/pods/a/log?container=nginx", "", 200, "log of default/a, container nginx"},
		{"GET", "/api/v1/namespaces/default/pods/b/log", "", 404, `pods \"b\" not found`},
		{"PUT", "/api/v1/namespaces/default/pods/a/proxy/x/y", "", 200, "PUT x/y"},
		{"POST", "/api/v1/namespaces/default/pods/a/exec?command=ls", "", 501, "not available"},
		{"POST", "/api/v1/namespaces/default/serviceaccounts/sa/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["x"]}}`, 201, `"token":"token of sa"`},
	} {
		w := ask(s, c.method, c.path, c.body)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s %s: got %d %s, want %d ...%s...", c.method, c.path, w.Code, w.Body, c.code, c.text)
		}
	}
}

func TestPanicBecomesAStatus(t *testing.T) {
	var got []apiserver.Observation
	s := newServer(t, func(c *apiserver.Config) {
		c.Extra = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
		c.Observe = func(o apiserver.Observation) { got = append(got, o) }
	})
	if st := statusOf(t, ask(s, "GET", "/boom", "")); st.Code != 500 || st.Reason != metav1.StatusReasonInternalError {
		t.Errorf("got %+v", st)
	}
	ask(s, "GET", "/api/v1/namespaces/default/pods", "")
	if len(got) != 2 || got[1].Verb != "list" || got[1].Resource != "pods" || got[1].Scope != "namespace" || got[1].Code != 200 || got[0].Code != 500 {
		t.Errorf("observed %+v", got)
	}
}

func TestWebSocketWatch(t *testing.T) {
	s := newServer(t, nil)
	ts := httptest.NewServer(s)
	defer ts.Close()
	defer s.Close()
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(ts.URL, "http")+"/api/v1/configmaps?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask(s, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"a"}}`)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, data, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Type   string
		Object corev1.ConfigMap
	}
	if err := json.Unmarshal(data, &e); err != nil || e.Type != "ADDED" || e.Object.Name != "a" {
		t.Errorf("got %s, %v", data, err)
	}
}

// A watch can begin inside a commit of many writes, and a deletecollection is one commit for up to 100.
func TestDeleteCollectionIsSeenInOrder(t *testing.T) {
	s := newServer(t, nil)
	who := &user.DefaultInfo{Name: "tester"}
	ctx := t.Context()
	for i := range 250 {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c%03d", i), Namespace: "default"}}
		if i%50 == 0 {
			cm.Finalizers = []string{"example.com/hold"}
		}
		if _, err := s.CreateObject(ctx, who, core.ConfigMap, cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w, err := s.WatchObjects(ctx, who, core.ConfigMap, "", metav1.ListOptions{ResourceVersion: fmt.Sprint(s.Revision())})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := s.DeleteObjects(ctx, who, core.ConfigMap, "default", metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	held, last := 0, ""
	for range 250 {
		e := <-w.ResultChan()
		name := e.Object.(*corev1.ConfigMap).Name
		if name <= last {
			t.Errorf("%s came after %s", name, last)
		}
		last = name
		switch e.Type {
		case watch.Modified:
			held++
		case watch.Deleted:
		default:
			t.Errorf("%s: %s", name, e.Type)
		}
	}
	if left := s.PeekList(core.ConfigMap, "", nil); held != 5 || len(left) != 5 {
		t.Errorf("held: %d changed, %d left, want 5", held, len(left))
	}
}

// Patches that only move a time are no change.
func TestQuietUpdatesWriteNothing(t *testing.T) {
	s := newServer(t, nil)
	who := &user.DefaultInfo{Name: "tester"}
	ctx := t.Context()
	if _, err := s.CreateObject(ctx, who, core.ConfigMap, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	at := s.Revision()
	for range 3 {
		if _, err := s.PatchObject(ctx, who, core.ConfigMap, "default", "a", types.MergePatchType, []byte(`{"metadata":{"labels":{}}}`), "", metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Revision(); got != at {
		t.Errorf("revision: got %d, want %d", got, at)
	}
}

func FuzzDecodeWrites(f *testing.F) {
	s := newServer(f, nil)
	for _, seed := range []string{`{"metadata":{"name":"a"}}`, "metadata:\n  name: b\n", "k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x00", `[1]`, `{"data":{"a":1}}`} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(2))
	}
	types := []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
	f.Fuzz(func(t *testing.T, body []byte, media uint8) {
		r := httptest.NewRequest("POST", "/api/v1/namespaces/default/pods?dryRun=All", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", types[int(media)%len(types)])
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 && !strings.Contains(w.Body.String(), "resourceVersion should not be set") || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func FuzzPatch(f *testing.F) {
	s := newServer(f, nil)
	ask(s, "POST", "/api/v1/namespaces/default/pods", fmt.Sprintf(benchPod, "a", 1))
	kinds := []string{"application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"}
	for i := range kinds {
		f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"a":"b"}}}`), uint8(i))
		f.Add([]byte(`[{"op":"add","path":"/metadata/labels/x","value":"y"}]`), uint8(i))
		f.Add([]byte(`{"spec":{"containers":[{"$patch":"replace"},{"name":"nginx","image":null}]}}`), uint8(i))
	}
	f.Fuzz(func(t *testing.T, body []byte, kind uint8) {
		r := httptest.NewRequest("PATCH", "/api/v1/namespaces/default/pods/a?dryRun=All&fieldManager=f", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", kinds[int(kind)%len(kinds)])
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) || strings.Contains(w.Body.String(), "caused apiserver to panic") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
