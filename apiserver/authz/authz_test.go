package authz_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"sigs.k8s.io/yaml"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/authz"
	"github.com/tenet-run/tenet/apiserver/authz/policy"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/rbac"
	"github.com/tenet-run/tenet/store"
	"github.com/tenet-run/tenet/store/embedded"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata/decisions.txt")

var master = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}

func openStore(t testing.TB) store.Store {
	t.Helper()
	st, err := embedded.Open(t.Context(), embedded.Options{Dir: "store", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// cluster is an API server without admission, with the default policy in it.
func cluster(t testing.TB) (*apiserver.Server, store.Store, *authz.Authorizer) {
	t.Helper()
	st := openStore(t)
	gate := authz.New(st, apiserver.NewReader(st))
	srv, err := apiserver.New(apiserver.Config{Store: st, Kinds: all.Kinds(), Authorizer: gate})
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load()
	if err != nil {
		t.Fatal(err)
	}
	var list []apiserver.NewObject
	for _, c := range p.Reconcile(srv.Peek) {
		list = append(list, apiserver.NewObject{Kind: c.Kind, Object: c.Object})
	}
	if err := srv.CreateObjects(t.Context(), master, list); err != nil {
		t.Fatal(err)
	}
	return srv, st, gate
}

func create(t testing.TB, srv *apiserver.Server, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := r.Read()
		if err != nil {
			return
		}
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &meta); err != nil {
			t.Fatal(err)
		}
		for _, k := range []*kinds.Kind{rbac.ClusterRole, rbac.Role, rbac.ClusterRoleBinding, rbac.RoleBinding} {
			if k.Kind != meta.Kind {
				continue
			}
			obj := k.New()
			if err := yaml.UnmarshalStrict(doc, obj); err != nil {
				t.Fatal(err)
			}
			if _, err := srv.CreateObject(t.Context(), master, k, obj, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// questions are the product of users, verbs and things.
type questions struct {
	Users []struct {
		Name   string
		Groups []string
	}
	Verbs     []string
	Resources []struct{ Group, Resource, Subresource, Namespace, Name string }
	Paths     []string
}

// TestDecisions asks everything that testdata/questions.yaml combines, in the world of testdata/world.yaml and the default policy. What the answers are is
// written down in testdata/decisions.txt; test/oracle/rbac asks Kubernetes' own authorizer the same.
func TestDecisions(t *testing.T) {
	srv, _, gate := cluster(t)
	create(t, srv, "testdata/world.yaml")
	data, err := os.ReadFile("testdata/questions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var q questions
	if err := yaml.UnmarshalStrict(data, &q); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	ask := func(what string, a authorizer.AttributesRecord) {
		d, reason, err := gate.Authorize(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		answer := "no"
		if d == authorizer.DecisionAllow {
			answer, reason = "yes", ""
		}
		fmt.Fprintf(&out, "%s %s: %s %s\n", a.User.GetName(), what, answer, reason)
	}
	for _, u := range q.Users {
		who := &user.DefaultInfo{Name: u.Name, Groups: u.Groups}
		for _, r := range q.Resources {
			for _, verb := range q.Verbs {
				ask(fmt.Sprintf("%s %s.%s/%s %s/%s", verb, r.Resource, r.Group, r.Subresource, r.Namespace, r.Name), authorizer.AttributesRecord{
					User: who, Verb: verb, APIGroup: r.Group, Resource: r.Resource, Subresource: r.Subresource, Namespace: r.Namespace, Name: r.Name, ResourceRequest: true,
				})
			}
		}
		for _, path := range q.Paths {
			for _, verb := range []string{"get", "post"} {
				ask(verb+" "+path, authorizer.AttributesRecord{User: who, Verb: verb, Path: path})
			}
		}
	}
	const file = "testdata/decisions.txt"
	if *rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, []byte(out.String())) {
		t.Errorf("decisions differ from %s: run with -rewrite and look at the diff", file)
	}
	if n := strings.Count(out.String(), ": yes"); n < 100 {
		t.Errorf("only %d of the answers are yes", n)
	}
}

// TestGrantsHoldAtOnce: what a write grants or takes holds when it returns, also when it is the role that changes.
func TestGrantsHoldAtOnce(t *testing.T) {
	srv, _, gate := cluster(t)
	bob := &user.DefaultInfo{Name: "bob", Groups: []string{user.AllAuthenticated}}
	may := func() bool {
		d, _, err := gate.Authorize(t.Context(), authorizer.AttributesRecord{User: bob, Verb: "list", Resource: "pods", Namespace: "x", ResourceRequest: true})
		if err != nil {
			t.Fatal(err)
		}
		return d == authorizer.DecisionAllow
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "r", Namespace: "x"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "x"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "r"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "bob"}}}
	for i := range 50 {
		if may() {
			t.Fatalf("round %d: allowed without a binding", i)
		}
		if _, err := srv.CreateObject(t.Context(), master, rbac.RoleBinding, binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if may() {
			t.Fatalf("round %d: allowed without a role", i)
		}
		if _, err := srv.CreateObject(t.Context(), master, rbac.Role, role, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if !may() {
			t.Fatalf("round %d: the grant does not hold", i)
		}
		if i%2 == 0 {
			empty := role.DeepCopy()
			empty.Rules = nil
			if _, err := srv.UpdateObject(t.Context(), master, rbac.Role, empty, "", metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			if may() {
				t.Fatalf("round %d: the role's rules are gone, and the grant holds", i)
			}
		}
		for k, name := range map[*kinds.Kind]string{rbac.RoleBinding: "b", rbac.Role: "r"} {
			if err := srv.DeleteObject(t.Context(), master, k, "x", name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func BenchmarkAuthorize(b *testing.B) {
	_, _, gate := cluster(b)
	for name, a := range map[string]*authorizer.AttributesRecord{
		"master":    {User: master, Verb: "list", Resource: "pods", ResourceRequest: true},
		"scheduler": {User: &user.DefaultInfo{Name: "system:kube-scheduler", Groups: []string{user.AllAuthenticated}}, Verb: "create", Resource: "pods", Subresource: "binding", Namespace: "x", Name: "p", ResourceRequest: true},
		"discovery": {User: &user.DefaultInfo{Name: "alice", Groups: []string{user.AllAuthenticated}}, Verb: "get", Path: "/apis/apps/v1"},
		"refused":   {User: &user.DefaultInfo{Name: "alice", Groups: []string{user.AllAuthenticated}}, Verb: "list", Resource: "pods", Namespace: "x", ResourceRequest: true},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := gate.Authorize(b.Context(), a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAuthorizeAfterAChange is the first decision after a write of a binding, the write included; the difference to Write is the index.
func BenchmarkAuthorizeAfterAChange(b *testing.B) {
	srv, _, gate := cluster(b)
	b1 := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}}
	if _, err := srv.CreateObject(b.Context(), master, rbac.ClusterRoleBinding, b1, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	a := &authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "alice"}, Verb: "list", Resource: "pods", Namespace: "x", ResourceRequest: true}
	for name, decide := range map[string]bool{"write": false, "write-and-decide": true} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				b1.Subjects = []rbacv1.Subject{{Kind: "User", Name: fmt.Sprint(i)}}
				if _, err := srv.UpdateObject(b.Context(), master, rbac.ClusterRoleBinding, b1, "", metav1.UpdateOptions{}); err != nil {
					b.Fatal(err)
				}
				if decide {
					if _, _, err := gate.Authorize(b.Context(), a); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
