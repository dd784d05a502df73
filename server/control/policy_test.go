package control

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func matching(group, version string, ops []admissionv1.OperationType, resources ...string) *admissionv1.MatchResources {
	return &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: on(group, version, ops, resources...)[0]}}}
}

func (g *gated) policy(t *testing.T, name string, spec admissionv1.ValidatingAdmissionPolicySpec, bindings ...admissionv1.ValidatingAdmissionPolicyBindingSpec) {
	t.Helper()
	api := g.admin.AdmissionregistrationV1()
	if _, err := api.ValidatingAdmissionPolicies().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i, b := range bindings {
		b.PolicyName = name
		if _, err := api.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name + string(rune('a'+i))}, Spec: b}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func deployment(name string, replicas int32, labels map[string]string) *appsv1.Deployment {
	sel := map[string]string{"app": name}
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: sel},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: sel}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
	}}
}

// TestValidatingPolicies: parameters, variables, messages, conditions and what bindings make of what a policy minds.
func TestValidatingPolicies(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	if _, err := g.admin.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "limits", Labels: map[string]string{"limits": ""}}, Data: map[string]string{"max": "0"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	spec := admissionv1.ValidatingAdmissionPolicySpec{
		ParamKind:        &admissionv1.ParamKind{APIVersion: "v1", Kind: "ConfigMap"},
		MatchConstraints: matching("apps", "v1", []admissionv1.OperationType{"CREATE", "UPDATE"}, "deployments"),
		MatchConditions:  []admissionv1.MatchCondition{{Name: "not-free", Expression: "!object.metadata.name.startsWith('free')"}},
		Variables:        []admissionv1.Variable{{Name: "count", Expression: "object.spec.replicas"}, {Name: "max", Expression: "int(params.data.max)"}},
		Validations: []admissionv1.Validation{
			{Expression: "variables.count <= variables.max", MessageExpression: "'at most ' + string(variables.max) + ' in ' + namespaceObject.metadata.name", Reason: new(metav1.StatusReasonForbidden)},
			{Expression: "has(object.metadata.labels)", Message: "labels are wanted"},
		},
	}
	g.policy(t, "replicas", spec, admissionv1.ValidatingAdmissionPolicyBindingSpec{
		ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}, ParamRef: &admissionv1.ParamRef{Name: "limits", ParameterNotFoundAction: new(admissionv1.DenyAction)},
	})
	deployments := g.admin.AppsV1().Deployments("default")
	labels := map[string]string{"a": "b"}
	_, err := deployments.Create(ctx, deployment("d", 1, labels), metav1.CreateOptions{})
	isForbidden(t, err, `deployments.apps "d" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'replicasa' denied request: at most 0 in default`)
	_, err = deployments.Create(ctx, deployment("d", 0, nil), metav1.CreateOptions{})
	if want := `deployments.apps "d" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'replicasa' denied request: labels are wanted`; !apierrors.IsInvalid(err) || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	if _, err := deployments.Create(ctx, deployment("free", 0, nil), metav1.CreateOptions{}); err != nil {
		t.Errorf("what the conditions leave out: %v", err)
	}
	if _, err := deployments.Create(ctx, deployment("d", 0, labels), metav1.CreateOptions{}); err != nil {
		t.Errorf("a good one: %v", err)
	}
	// Parameters hold when they are written.
	if _, err := g.admin.CoreV1().ConfigMaps("default").Patch(ctx, "limits", types.MergePatchType, []byte(`{"data":{"max":"2"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := deployments.Patch(ctx, "d", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	_, err = deployments.Patch(ctx, "d", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{})
	isForbidden(t, err, `deployments.apps "d" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'replicasa' denied request: at most 2 in default`)
	if err := g.admin.CoreV1().ConfigMaps("default").Delete(ctx, "limits", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err = deployments.Create(ctx, deployment("e", 0, labels), metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction") {
		t.Errorf("without parameters: %v", err)
	}
	if err := g.admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(ctx, "replicasa", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := deployments.Create(ctx, deployment("e", 9, nil), metav1.CreateOptions{}); err != nil {
		t.Errorf("without a binding: %v", err)
	}
}

// TestPolicyActions: a binding may only warn; a policy that fails is as its failure policy says; expressions may ask what the user may do.
func TestPolicyActions(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	g.policy(t, "warns", admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: matching("", "v1", creates, "configmaps"), Validations: []admissionv1.Validation{{Expression: "false", Message: "never good"}},
	}, admissionv1.ValidatingAdmissionPolicyBindingSpec{ValidationActions: []admissionv1.ValidationAction{admissionv1.Warn, admissionv1.Audit}})
	heard := &warnings{}
	c := rest.CopyConfig(g.config)
	c.WarningHandler = heard
	if _, err := kubernetes.NewForConfigOrDie(c).CoreV1().ConfigMaps("default").Create(ctx, config("a", nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if want := "Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warnsa': never good"; !slices.Contains(heard.list, want) {
		t.Errorf("warnings %q", heard.list)
	}
	deny := []admissionv1.ValidationAction{admissionv1.Deny}
	g.policy(t, "breaks", admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: matching("", "v1", creates, "secrets"), Validations: []admissionv1.Validation{{Expression: "object.nothing.there == 1"}},
	}, admissionv1.ValidatingAdmissionPolicyBindingSpec{ValidationActions: deny})
	secrets := g.admin.CoreV1().Secrets("default")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}
	_, err := secrets.Create(ctx, secret, metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'breaks' with binding 'breaksa' denied request: expression 'object.nothing.there == 1' resulted in error: no such key: nothing") {
		t.Errorf("a policy that breaks: %v", err)
	}
	if _, err := g.admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Patch(ctx, "breaks", types.MergePatchType, []byte(`{"spec":{"failurePolicy":"Ignore"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Errorf("ignored: %v", err)
	}
	g.policy(t, "asks", admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: matching("", "v1", []admissionv1.OperationType{"DELETE"}, "secrets"),
		Validations:      []admissionv1.Validation{{Expression: "authorizer.group('').resource('nodes').check('delete').allowed() && oldObject.metadata.name == 's'"}},
	}, admissionv1.ValidatingAdmissionPolicyBindingSpec{ValidationActions: deny, MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "default"}}}})
	if err := secrets.Delete(ctx, "s", metav1.DeleteOptions{}); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	if _, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Delete(ctx, "other", metav1.DeleteOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("another name: %v", err)
	}
}

// TestMutatingPolicies: both kinds of patches, and a second look.
func TestMutatingPolicies(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	api := g.admin.AdmissionregistrationV1()
	bind := func(name string, spec admissionv1.MutatingAdmissionPolicySpec) {
		t.Helper()
		if _, err := api.MutatingAdmissionPolicies().Create(ctx, &admissionv1.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := api.MutatingAdmissionPolicyBindings().Create(ctx, &admissionv1.MutatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	pods := matching("", "v1", creates, "pods")
	bind("a", admissionv1.MutatingAdmissionPolicySpec{MatchConstraints: pods, ReinvocationPolicy: admissionv1.IfNeededReinvocationPolicy, Mutations: []admissionv1.Mutation{{
		PatchType: admissionv1.PatchTypeApplyConfiguration,
		ApplyConfiguration: &admissionv1.ApplyConfiguration{
			Expression: `Object{metadata: Object.metadata{annotations: {"containers": string(object.spec.containers.size())}}}`,
		}}}})
	bind("b", admissionv1.MutatingAdmissionPolicySpec{MatchConstraints: pods, ReinvocationPolicy: admissionv1.NeverReinvocationPolicy, Mutations: []admissionv1.Mutation{{
		PatchType: admissionv1.PatchTypeJSONPatch,
		JSONPatch: &admissionv1.JSONPatch{
			Expression: `[JSONPatch{op: "add", path: "/spec/containers/-", value: Object.spec.containers{name: "sidecar", image: "s"}}]`,
		}}}})
	g.account(t, "default", "default", nil)
	pod, err := g.admin.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(pod.Spec.Containers) != 2 || pod.Annotations["containers"] != "2" {
		t.Fatalf("%d containers, annotations %v", len(pod.Spec.Containers), pod.Annotations)
	}
	if c := pod.Spec.Containers[1]; c.ImagePullPolicy == "" || len(c.VolumeMounts) != 1 {
		t.Errorf("the sidecar has no defaults, or no service account: %+v", c)
	}
	bind("c", admissionv1.MutatingAdmissionPolicySpec{MatchConstraints: matching("", "v1", creates, "configmaps"), ReinvocationPolicy: admissionv1.NeverReinvocationPolicy, Mutations: []admissionv1.Mutation{{
		PatchType: admissionv1.PatchTypeJSONPatch, JSONPatch: &admissionv1.JSONPatch{Expression: `[JSONPatch{op: "replace", path: "/nowhere", value: "x"}]`},
	}}})
	_, err = g.admin.CoreV1().ConfigMaps("default").Create(ctx, config("x", nil), metav1.CreateOptions{})
	if err == nil || !strings.HasPrefix(err.Error(), "policy 'c' with binding 'c' denied request: ") {
		t.Errorf("a patch that cannot be applied: %v", err)
	}
}

// TestParametersTakeRights: who writes a policy or binding names no parameters that they may not read.
func TestParametersTakeRights(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "policies"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{admissionv1.GroupName}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
	if _, err := g.admin.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "policies"},
		RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "policies"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "jane"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	jane := g.acting(rest.ImpersonationConfig{UserName: "jane"}).AdmissionregistrationV1()
	p := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		ParamKind: &admissionv1.ParamKind{APIVersion: "v1", Kind: "Secret"}, MatchConstraints: matching("", "v1", creates, "configmaps"), Validations: []admissionv1.Validation{{Expression: "true"}}}}
	_, err := jane.ValidatingAdmissionPolicies().Create(ctx, p, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `must have "get" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)`) {
		t.Errorf("paramKind: %v", err)
	}
	b := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "p",
		ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}, ParamRef: &admissionv1.ParamRef{Name: "s", Namespace: "default", ParameterNotFoundAction: new(admissionv1.DenyAction)}}}
	if _, err := jane.ValidatingAdmissionPolicyBindings().Create(ctx, b, metav1.CreateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `unable to get policy p to determine minimum required permissions`) {
		t.Errorf("paramRef without policy: %v", err)
	}
	if _, err := g.admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(ctx, p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := jane.ValidatingAdmissionPolicyBindings().Create(ctx, b, metav1.CreateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `does not have "get" permission on the object referenced by paramRef`) {
		t.Errorf("paramRef: %v", err)
	}
}
