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
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tenet-run/tenet/apiserver/pki"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/rbac"
	"github.com/tenet-run/tenet/store/embedded"
)

// gated is a whole control plane behind TLS, with real certificates and tokens.
type gated struct {
	*Control
	url, kubeconfig string
	config          *rest.Config // of the administrator
	admin           kubernetes.Interface
}

func serving(t *testing.T) *gated {
	t.Helper()
	st, err := embedded.Open(t.Context(), embedded.Options{Dir: "store", FS: vfs.NewMem(), Logger: testLogger()})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pki.Ensure(t.TempDir(), []string{"node-1"})
	if err != nil {
		t.Fatal(err)
	}
	plane, err := New(Config{Store: st, Logger: testLogger(), CA: keys.CAPEM(), ClientCAs: keys.ClientCAs(), TokenKey: keys.ServiceAccountKey(), WithoutScheduler: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	web := httptest.NewUnstartedServer(plane.Handler())
	web.TLS, web.EnableHTTP2 = keys.ServerTLS(), true
	web.StartTLS()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		plane.Close()
		web.Close()
		st.Close()
	})
	<-plane.Booted()
	g := &gated{Control: plane, url: strings.Replace(web.URL, "127.0.0.1", "localhost", 1), kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	if err := keys.WriteKubeconfig(g.kubeconfig, g.url, "tenet"); err != nil {
		t.Fatal(err)
	}
	if g.config, err = clientcmd.BuildConfigFromFlags("", g.kubeconfig); err != nil {
		t.Fatal(err)
	}
	g.config.QPS = -1
	g.admin = kubernetes.NewForConfigOrDie(g.config)
	return g
}

// as is a client with a token.
func (g *gated) as(token string) kubernetes.Interface {
	c := rest.AnonymousClientConfig(g.config)
	c.BearerToken, c.QPS = token, -1
	return kubernetes.NewForConfigOrDie(c)
}

// acting is the administrator acting as somebody else.
func (g *gated) acting(as rest.ImpersonationConfig) kubernetes.Interface {
	c := rest.CopyConfig(g.config)
	c.Impersonate = as
	return kubernetes.NewForConfigOrDie(c)
}

// account makes a service account and a token of it, bound to a pod when there is one.
func (g *gated) account(t *testing.T, ns, name string, pod *corev1.Pod) string {
	t.Helper()
	if _, err := g.admin.CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	req := &authenticationv1.TokenRequest{}
	if pod != nil {
		made, err := g.admin.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		req.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: made.Name, UID: made.UID}
	}
	got, err := g.admin.CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), name, req, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Status.Token
}

func isForbidden(t *testing.T, err error, want string) {
	t.Helper()
	if !apierrors.IsForbidden(err) || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}

// TestOperatorInAPod: an operator with its own service account can do exactly what its role says.
func TestOperatorInAPod(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	operator := g.as(g.account(t, "default", "operator", &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "operator"},
		Spec:       corev1.PodSpec{ServiceAccountName: "operator", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}))
	const who = `User "system:serviceaccount:default:operator"`
	_, err := operator.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	isForbidden(t, err, `configmaps is forbidden: `+who+` cannot list resource "configmaps" in API group "" in the namespace "default"`)
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "operator", Namespace: "default"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, ResourceNames: []string{"mine"}, Verbs: []string{"get"}},
	}}
	if _, err := g.admin.RbacV1().Roles("default").Create(ctx, role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "operator", Namespace: "default"},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "operator"}, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "operator"}}}
	if _, err := g.admin.RbacV1().RoleBindings("default").Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	made, err := operator.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "state"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := operator.CoreV1().ConfigMaps("default").Watch(ctx, metav1.ListOptions{ResourceVersion: made.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := operator.CoreV1().ConfigMaps("default").Patch(ctx, "state", types.MergePatchType, []byte(`{"data":{"a":"b"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := <-w.ResultChan(); e.Object.(*corev1.ConfigMap).Data["a"] != "b" {
		t.Errorf("watch saw %+v", e)
	}
	if _, err := operator.AppsV1().Deployments("default").Get(ctx, "mine", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("its own deployment: %v", err)
	}
	_, err = operator.AppsV1().Deployments("default").Get(ctx, "other", metav1.GetOptions{})
	isForbidden(t, err, `deployments.apps "other" is forbidden: `+who+` cannot get resource "deployments" in API group "apps" in the namespace "default"`)
	_, err = operator.CoreV1().ConfigMaps("kube-system").List(ctx, metav1.ListOptions{})
	isForbidden(t, err, `configmaps is forbidden: `+who+` cannot list resource "configmaps" in API group "" in the namespace "kube-system"`)
	_, err = operator.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	isForbidden(t, err, `nodes is forbidden: `+who+` cannot list resource "nodes" in API group "" at the cluster scope`)

	// It cannot give itself more, whoever lets it write roles.
	if _, err := g.admin.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "admin"},
		RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "admin"}, Subjects: binding.Subjects}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = operator.RbacV1().Roles("default").Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "more"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"example.com"}, Resources: []string{"things"}, Verbs: []string{"get", "list"}},
	}}, metav1.CreateOptions{})
	groups := `(groups=["system:serviceaccounts" "system:serviceaccounts:default" "system:authenticated"])`
	isForbidden(t, err, `roles.rbac.authorization.k8s.io "more" is forbidden: user "system:serviceaccount:default:operator" `+groups+
		" is attempting to grant RBAC permissions not currently held:\n"+`{APIGroups:["example.com"], Resources:["things"], Verbs:["get" "list"]}`)
	_, err = operator.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "master"},
		RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "cluster-admin"}, Subjects: binding.Subjects}, metav1.CreateOptions{})
	isForbidden(t, err, `rolebindings.rbac.authorization.k8s.io "master" is forbidden: user "system:serviceaccount:default:operator" `+groups+
		" is attempting to grant RBAC permissions not currently held:\n"+`{APIGroups:["*"], Resources:["*"], Verbs:["*"]}`+"\n"+`{NonResourceURLs:["*"], Verbs:["*"]}`)
	if _, err := operator.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "view"},
		RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "jane"}}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("what it has it may give: %v", err)
	}
	if err := g.admin.CoreV1().Pods("default").Delete(ctx, "operator", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
		t.Fatal(err)
	}
	if _, err := operator.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("after its pod is gone: %v", err)
	}
}

// TestReviews asks the server who somebody is and what they may do.
func TestReviews(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	token := g.account(t, "default", "robot", nil)
	robot := g.as(token)
	who, err := robot.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := who.Status.UserInfo; got.Username != "system:serviceaccount:default:robot" || len(got.Groups) != 3 || who.CreationTimestamp.IsZero() {
		t.Errorf("whoami: %+v", got)
	}
	may, err := robot.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods", Namespace: "default"},
	}}, metav1.CreateOptions{})
	if err != nil || may.Status.Allowed || may.Status.Reason != "" {
		t.Errorf("list pods: %+v %v", may.Status, err)
	}
	rules, err := robot.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}, metav1.CreateOptions{})
	if err != nil || len(rules.Status.ResourceRules) == 0 || len(rules.Status.NonResourceRules) == 0 || rules.Status.Incomplete {
		t.Errorf("rules: %+v %v", rules.Status, err)
	}
	if _, err := robot.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{}, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("asking about others: %v", err)
	}
	about, err := g.admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:kube-scheduler", ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "create", Resource: "pods", Subresource: "binding", Namespace: "x"},
	}}, metav1.CreateOptions{})
	if want := `RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole "system:kube-scheduler" to User "system:kube-scheduler"`; err != nil || !about.Status.Allowed || about.Status.Reason != want {
		t.Errorf("scheduler: %+v %v", about.Status, err)
	}
	_, err = g.admin.AuthorizationV1().LocalSubjectAccessReviews("default").Create(ctx, &authorizationv1.LocalSubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods", Namespace: "other"},
	}}, metav1.CreateOptions{})
	if want := `LocalSubjectAccessReview.authorization.k8s.io "" is invalid: [spec.user: Invalid value: "": at least one of user or group must be specified, ` +
		`spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace]`; err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	for text, want := range map[string]authenticationv1.TokenReviewStatus{
		token: {Authenticated: true, User: who.Status.UserInfo, Audiences: []string{"https://kubernetes.default.svc.cluster.local"}},
		"x":   {Error: "invalid bearer token"},
	} {
		got, err := g.admin.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: text}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Status.Authenticated != want.Authenticated || got.Status.User.Username != want.User.Username || got.Status.Error != want.Error || len(got.Status.Audiences) != len(want.Audiences) {
			t.Errorf("token %q: %+v", text, got.Status)
		}
	}
	other, err := g.admin.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{"vault"}}}, metav1.CreateOptions{})
	if err != nil || other.Status.Authenticated || other.Status.Error == "" {
		t.Errorf("another audience: %+v %v", other.Status, err)
	}
}

// TestActingAsOthers: impersonation takes the right to, and gives the rights of whom one acts as.
func TestActingAsOthers(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	_, err := g.acting(rest.ImpersonationConfig{UserName: "jane"}).CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	isForbidden(t, err, `pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"`)
	if _, err := g.acting(rest.ImpersonationConfig{UserName: "jane", Groups: []string{user.SystemPrivilegedGroup}}).CoreV1().Pods("default").List(ctx, metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	c := rest.AnonymousClientConfig(g.config)
	c.BearerToken, c.Impersonate = g.account(t, "default", "robot", nil), rest.ImpersonationConfig{UserName: "jane"}
	robot := kubernetes.NewForConfigOrDie(c)
	_, err = robot.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	isForbidden(t, err, `users "jane" is forbidden: User "system:serviceaccount:default:robot" cannot impersonate resource "users" in API group "" at the cluster scope`)
	if _, err := g.admin.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "jane"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"users"}, ResourceNames: []string{"jane"}, Verbs: []string{"impersonate"}}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "jane"},
		RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "jane"}, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "robot"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = robot.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	isForbidden(t, err, `pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"`)
}

// TestDefaultPolicyIsKept: what is missing of the default roles comes back at the next start; what was added, or is marked, stays.
func TestDefaultPolicyIsKept(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	roles := g.admin.RbacV1().ClusterRoles()
	view, err := roles.Get(ctx, "view", metav1.GetOptions{})
	if err != nil || len(view.Rules) == 0 {
		t.Fatalf("view has %d rules: %v", len(view.Rules), err)
	}
	writes := func() (n uint64) {
		for _, k := range []*kinds.Kind{rbac.ClusterRole, rbac.ClusterRoleBinding, rbac.Role, rbac.RoleBinding} {
			n += g.cfg.Store.Changed(k.Storage.Prefix).Load()
		}
		return n
	}
	before := writes()
	if err := g.grant(ctx); err != nil {
		t.Fatal(err)
	}
	if now := writes(); now != before {
		t.Errorf("nothing was missing, and %d writes were made", now-before)
	}
	sched, err := roles.Get(ctx, "system:kube-scheduler", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := len(sched.Rules)
	sched.Rules = append(sched.Rules[:1], rbacv1.PolicyRule{APIGroups: []string{"mine"}, Resources: []string{"x"}, Verbs: []string{"get"}})
	delete(sched.Labels, "kubernetes.io/bootstrapping")
	if _, err := roles.Update(ctx, sched, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := roles.Patch(ctx, "edit", types.MergePatchType, []byte(`{"metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"false"},"labels":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := roles.Delete(ctx, "system:discovery", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := g.grant(ctx); err != nil {
		t.Fatal(err)
	}
	if sched, err = roles.Get(ctx, "system:kube-scheduler", metav1.GetOptions{}); err != nil || len(sched.Rules) < all || sched.Labels["kubernetes.io/bootstrapping"] == "" || sched.Rules[1].APIGroups[0] != "mine" {
		t.Errorf("scheduler: %d rules of %d, %v, %v", len(sched.Rules), all, sched.Labels, err)
	}
	if edit, err := roles.Get(ctx, "edit", metav1.GetOptions{}); err != nil || len(edit.Labels) != 0 {
		t.Errorf("edit was changed: %v %v", edit.Labels, err)
	}
	if _, err := roles.Get(ctx, "system:discovery", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// TestAggregation: a role that others are gathered into by label follows them.
func TestAggregation(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	token := g.account(t, "default", "viewer", nil)
	if _, err := g.admin.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "viewer"},
		RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "viewer"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w, err := g.admin.RbacV1().ClusterRoles().Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=admin"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := g.admin.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "more", Labels: map[string]string{"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// view, then edit, then admin.
	for e := range w.ResultChan() {
		if e.Type == watch.Modified && has(e.Object.(*rbacv1.ClusterRole).Rules, "secrets") {
			break
		}
	}
	if _, err := g.as(token).CoreV1().Secrets("default").Get(ctx, "none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a viewer sees secrets now: %v", err)
	}
}

func has(rules []rbacv1.PolicyRule, resource string) bool {
	for _, r := range rules {
		if len(r.Verbs) == 1 && r.Verbs[0] == "get" && len(r.Resources) == 1 && r.Resources[0] == resource {
			return true
		}
	}
	return false
}

// TestNodeAgents: a node agent reads what the pods on its node refer to, and changes its own node only.
func TestNodeAgents(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	for _, n := range []string{"n1", "n2"} {
		if _, err := g.admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := g.admin.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "for-" + n}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		g.account(t, "default", "default", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "on-" + n}, Spec: corev1.PodSpec{NodeName: n, Containers: []corev1.Container{{
			Name: "c", Image: "i", EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "for-" + n}}}},
		}}}})
	}
	node := g.acting(rest.ImpersonationConfig{UserName: "system:node:n1", Groups: []string{user.NodesGroup}})
	if _, err := node.CoreV1().Secrets("default").Get(ctx, "for-n1", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	_, err := node.CoreV1().Secrets("default").Get(ctx, "for-n2", metav1.GetOptions{})
	isForbidden(t, err, `secrets "for-n2" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "default": no relationship found between node 'n1' and this object`)
	if _, err := node.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n1"}); err != nil {
		t.Error(err)
	}
	_, err = node.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	isForbidden(t, err, `pods is forbidden: User "system:node:n1" cannot list resource "pods" in API group "" at the cluster scope: can only list/watch pods with spec.nodeName field selector`)
	if _, err := node.CoreV1().Nodes().Patch(ctx, "n1", types.MergePatchType, []byte(`{"status":{"phase":"Running"}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Error(err)
	}
	_, err = node.CoreV1().Nodes().Patch(ctx, "n2", types.MergePatchType, []byte(`{"status":{"phase":"Running"}}`), metav1.PatchOptions{}, "status")
	isForbidden(t, err, `nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"`)
	_, err = node.CoreV1().Nodes().Patch(ctx, "n1", types.MergePatchType, []byte(`{"metadata":{"labels":{"node-role.kubernetes.io/x":""}}}`), metav1.PatchOptions{})
	isForbidden(t, err, `nodes "n1" is forbidden: is not allowed to modify labels: node-role.kubernetes.io/x`)
	err = node.CoreV1().Pods("default").Delete(ctx, "on-n2", metav1.DeleteOptions{})
	isForbidden(t, err, `pods "on-n2" is forbidden: node "n1" can only delete pods with spec.nodeName set to itself`)
	_, err = node.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	isForbidden(t, err, `serviceaccounts "default" is forbidden: node requested token not bound to a pod`)
	pod, err := g.admin.CoreV1().Pods("default").Get(ctx, "on-n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}}}, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := g.Agent("n1").Get(ctx, core.Node, "", "n2"); !apierrors.IsForbidden(err) {
		t.Errorf("in process: %v", err)
	}
}

// TestKubectlAuth runs kubectl auth, when there is a kubectl.
func TestKubectlAuth(t *testing.T) {
	bin, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("no kubectl")
	}
	g := serving(t)
	kubectl := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+g.kubeconfig, "HOME="+t.TempDir())
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	file := filepath.Join(t.TempDir(), "rbac.yaml")
	if err := os.WriteFile(file, []byte(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pods, namespace: default}
rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pods, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pods}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: jane}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want []string
	}{
		{"auth whoami", []string{"Username", "kubernetes-admin", "[system:masters system:authenticated]"}},
		{"auth can-i list pods --as jane", []string{"no"}},
		{"auth reconcile -f " + file, []string{"role.rbac.authorization.k8s.io/pods reconciled", "rolebinding.rbac.authorization.k8s.io/pods reconciled"}},
		{"auth can-i list pods --as jane", []string{"yes"}},
		{"auth can-i list pods --as jane -n kube-system", []string{"no"}},
		{"auth can-i --list --as jane", []string{"selfsubjectaccessreviews.authorization.k8s.io", "pods", "[list]"}},
		{"get rolebindings -o wide", []string{"Role/pods", "jane"}},
		{"get secrets --as jane", []string{`Error from server (Forbidden): secrets is forbidden: User "jane" cannot list resource "secrets" in API group "" in the namespace "default"`}},
	} {
		got := kubectl(strings.Fields(c.args)...)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("kubectl %s: no %q in\n%s", c.args, want, got)
			}
		}
	}
}
