package control

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestPodSecurity: a namespace's labels say what pods must be like; templates are warned of.
func TestPodSecurity(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	g.account(t, "default", "default", nil)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", SecurityContext: &corev1.SecurityContext{Privileged: new(true)}}}}}
	pods := g.admin.CoreV1().Pods("default")
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatalf("without labels: %v", err)
	}
	heard := &warnings{}
	c := rest.CopyConfig(g.config)
	c.WarningHandler = heard
	loud := kubernetes.NewForConfigOrDie(c)
	if _, err := loud.CoreV1().Namespaces().Patch(ctx, "default", types.MergePatchType, []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline","pod-security.kubernetes.io/warn":"baseline"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(heard.list, func(w string) bool { return strings.HasPrefix(w, `existing pods in namespace "default" violate`) }) {
		t.Errorf("warnings %q", heard.list)
	}
	pod.Name = "q"
	_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	isForbidden(t, err, `pods "q" is forbidden: violates PodSecurity "baseline:latest": privileged (container "c" must not set securityContext.privileged=true)`)
	d := deployment("d", 0, nil)
	d.Spec.Template.Spec = pod.Spec
	if _, err := loud.AppsV1().Deployments("default").Create(ctx, d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(heard.list, func(w string) bool { return strings.HasPrefix(w, `would violate PodSecurity "baseline:latest"`) }) {
		t.Errorf("warnings %q", heard.list)
	}
	_, err = g.admin.CoreV1().Namespaces().Patch(ctx, "default", types.MergePatchType, []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"none"}}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "must be one of privileged, baseline, restricted") {
		t.Errorf("a level that is none: %v", err)
	}
}

// TestClasses: defaults of claims, Ingresses and pods from their classes, and which claims may grow.
func TestClasses(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	g.account(t, "default", "default", nil)
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}}, Provisioner: "example.com/disk"}
	if _, err := g.admin.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: list("storage", "1Gi")}}}
	claims := g.admin.CoreV1().PersistentVolumeClaims("default")
	got, err := claims.Create(ctx, claim, metav1.CreateOptions{})
	if err != nil || got.Spec.StorageClassName == nil || *got.Spec.StorageClassName != "fast" {
		t.Fatalf("claim: %+v %v", got.Spec, err)
	}
	grow := []byte(`{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`)
	if _, err := claims.Patch(ctx, "c", types.MergePatchType, grow, metav1.PatchOptions{}); err == nil {
		t.Error("an unbound claim grew")
	}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v"}, Spec: corev1.PersistentVolumeSpec{
		AccessModes: claim.Spec.AccessModes, Capacity: list("storage", "1Gi"), StorageClassName: "fast", ClaimRef: &corev1.ObjectReference{Namespace: "default", Name: "c"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/v"}},
	}}
	if _, err := g.admin.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the claim is bound", func() bool {
		got, err := claims.Get(ctx, "c", metav1.GetOptions{})
		return err == nil && got.Status.Phase == corev1.ClaimBound
	})
	_, err = claims.Patch(ctx, "c", types.MergePatchType, grow, metav1.PatchOptions{})
	isForbidden(t, err, `persistentvolumeclaims "c" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize`)
	if _, err := g.admin.StorageV1().StorageClasses().Patch(ctx, "fast", types.MergePatchType, []byte(`{"allowVolumeExpansion":true}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := claims.Patch(ctx, "c", types.MergePatchType, grow, metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := g.admin.NetworkingV1().IngressClasses().Create(ctx, &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "front", Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}},
		Spec: networkingv1.IngressClassSpec{Controller: "example.com/front"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ingress, err := g.admin.NetworkingV1().Ingresses("default").Create(ctx, &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: "i"}, Spec: networkingv1.IngressSpec{
		DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "s", Port: networkingv1.ServiceBackendPort{Number: 80}}}}}, metav1.CreateOptions{})
	if err != nil || ingress.Spec.IngressClassName == nil || *ingress.Spec.IngressClassName != "front" {
		t.Errorf("ingress: %+v %v", ingress.Spec, err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{RuntimeClassName: new("vm"), Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	_, err = g.admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
	isForbidden(t, err, `pods "p" is forbidden: pod rejected: RuntimeClass "vm" not found`)
	if _, err := g.admin.NodeV1().RuntimeClasses().Create(ctx, &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "vm"}, Handler: "vm", Overhead: &nodev1.Overhead{PodFixed: list("cpu", "100m")},
		Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"vm": "yes"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	made, err := g.admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
	if err != nil || made.Spec.Overhead.Cpu().String() != "100m" || made.Spec.NodeSelector["vm"] != "yes" {
		t.Errorf("pod: %v %v %v", made.Spec.Overhead, made.Spec.NodeSelector, err)
	}
	pod.Name, pod.Spec.RuntimeClassName, pod.Spec.Overhead = "q", nil, list("cpu", "1")
	if _, err = g.admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err == nil {
		t.Error("overhead without a class was let in")
	}
}

// TestCertificateRights: approving takes the right to for the signer; system:masters is not to be had.
func TestCertificateRights(t *testing.T) {
	g := serving(t)
	ctx := t.Context()
	request := func(name, org string) *certificatesv1.CertificateSigningRequest {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane", Organization: []string{org}}}, key)
		if err != nil {
			t.Fatal(err)
		}
		return &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: certificatesv1.KubeAPIServerClientSignerName, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth}}}
	}
	_, err := g.admin.CertificatesV1().CertificateSigningRequests().Create(ctx, request("bad", "system:masters"), metav1.CreateOptions{})
	isForbidden(t, err, `certificatesigningrequests.certificates.k8s.io "bad" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed`)
	csr, err := g.admin.CertificatesV1().CertificateSigningRequests().Create(ctx, request("good", "devs"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "approver"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{certificatesv1.GroupName}, Resources: []string{"certificatesigningrequests", "certificatesigningrequests/approval"}, Verbs: []string{"get", "update"}}}}
	if _, err := g.admin.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "approver"},
		RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "approver"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "bob"}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test"}}
	bob := g.acting(rest.ImpersonationConfig{UserName: "bob"}).CertificatesV1().CertificateSigningRequests()
	_, err = bob.UpdateApproval(ctx, "good", csr, metav1.UpdateOptions{})
	isForbidden(t, err, `certificatesigningrequests.certificates.k8s.io "good" is forbidden: user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"`)
	role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{certificatesv1.GroupName}, Resources: []string{"signers"}, ResourceNames: []string{"kubernetes.io/*"}, Verbs: []string{"approve"}})
	if _, err := g.admin.RbacV1().ClusterRoles().Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err = bob.UpdateApproval(ctx, "good", csr, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
}
