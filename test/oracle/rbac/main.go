// Command rbac asks Kubernetes' own RBAC authorizer what apiserver/authz was asked, and prints where the answers differ.
//
//	cd test/oracle && go run ./rbac
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
	"sigs.k8s.io/yaml"
)

const dir = "../../apiserver/authz/testdata/"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "rbac:", err)
		os.Exit(1)
	}
}

// world holds roles and bindings, and finds them as informers' listers do.
type world struct {
	clusterRoles    map[string]*rbacv1.ClusterRole
	roles           map[string]*rbacv1.Role
	clusterBindings []*rbacv1.ClusterRoleBinding
	bindings        []*rbacv1.RoleBinding
}

func (w *world) GetRole(_ context.Context, ns, name string) (*rbacv1.Role, error) {
	if r, ok := w.roles[ns+"/"+name]; ok {
		return r, nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("role"), name)
}

func (w *world) GetClusterRole(_ context.Context, name string) (*rbacv1.ClusterRole, error) {
	if r, ok := w.clusterRoles[name]; ok {
		return r, nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("clusterrole"), name)
}

func (w *world) ListRoleBindings(_ context.Context, ns string) (out []*rbacv1.RoleBinding, err error) {
	for _, b := range w.bindings {
		if b.Namespace == ns {
			out = append(out, b)
		}
	}
	return out, nil
}

func (w *world) ListClusterRoleBindings(context.Context) ([]*rbacv1.ClusterRoleBinding, error) {
	return w.clusterBindings, nil
}

func (w *world) read(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &meta); err != nil {
			return err
		}
		switch meta.Kind {
		case "ClusterRole":
			o := &rbacv1.ClusterRole{}
			err = yaml.UnmarshalStrict(doc, o)
			w.clusterRoles[o.Name] = o
		case "Role":
			o := &rbacv1.Role{}
			err = yaml.UnmarshalStrict(doc, o)
			w.roles[o.Namespace+"/"+o.Name] = o
		case "ClusterRoleBinding":
			o := &rbacv1.ClusterRoleBinding{}
			err = yaml.UnmarshalStrict(doc, o)
			w.clusterBindings = append(w.clusterBindings, o)
		case "RoleBinding":
			o := &rbacv1.RoleBinding{}
			err = yaml.UnmarshalStrict(doc, o)
			w.bindings = append(w.bindings, o)
		}
		if err != nil {
			return err
		}
	}
}

func (w *world) defaults() {
	for _, r := range append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...) {
		w.clusterRoles[r.Name] = &r
	}
	for _, b := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		w.clusterBindings = append(w.clusterBindings, &b)
	}
	for ns, list := range bootstrappolicy.NamespaceRoles() {
		for _, r := range list {
			w.roles[ns+"/"+r.Name] = &r
		}
	}
	for _, list := range bootstrappolicy.NamespaceRoleBindings() {
		for _, b := range list {
			w.bindings = append(w.bindings, &b)
		}
	}
}

func run() error {
	w := &world{clusterRoles: map[string]*rbacv1.ClusterRole{}, roles: map[string]*rbacv1.Role{}}
	w.defaults()
	if err := w.read(dir + "world.yaml"); err != nil {
		return err
	}
	data, err := os.ReadFile(dir + "questions.yaml")
	if err != nil {
		return err
	}
	var q struct {
		Users []struct {
			Name   string
			Groups []string
		}
		Verbs     []string
		Resources []struct{ Group, Resource, Subresource, Namespace, Name string }
		Paths     []string
	}
	if err := yaml.UnmarshalStrict(data, &q); err != nil {
		return err
	}
	data, err = os.ReadFile(dir + "decisions.txt")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	z := rbac.New(w, w, w, w)
	asked, differ := 0, 0
	ask := func(what string, a authorizer.AttributesRecord) {
		d, reason, err := z.Authorize(context.Background(), a)
		answer := "no"
		if d == authorizer.DecisionAllow {
			answer, reason = "yes", ""
		}
		want := fmt.Sprintf("%s %s: %s %s", a.User.GetName(), what, answer, reason)
		if asked >= len(lines) || err != nil || lines[asked] != want {
			differ++
			fmt.Printf("kubernetes: %s (%v)\ntenet:      %s\n", want, err, lines[min(asked, len(lines)-1)])
		}
		asked++
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
	fmt.Printf("%d questions, %d answered differently\n", asked, differ)
	if differ > 0 || asked != len(lines) {
		return errors.New("the answers differ")
	}
	return nil
}
