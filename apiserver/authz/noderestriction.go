package authz

import (
	"context"
	"maps"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kubeletapis "k8s.io/kubelet/pkg/apis"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds/coordination"
	"github.com/tenet-run/tenet/kinds/core"
)

type nodeRestriction struct {
	authorizer *Authorizer
	read       Reader
}

// NodeRestriction keeps node agents to their own node and the pods on it, where it takes the object to see that.
func (z *Authorizer) NodeRestriction() admission.Plugin { return nodeRestriction{z, z.node.read} }

func (nodeRestriction) Name() string { return "NodeRestriction" }

// Mutate changes nothing: Kubernetes' plugin stands among those that mutate.
func (p nodeRestriction) Mutate(ctx context.Context, r *admission.Request) error {
	if r.Operation == admission.Connect {
		return nil
	}
	node, isNode := nodeOf(r.User)
	switch {
	case !isNode:
		return nil
	case node == "":
		return admission.Forbidden(r, "could not determine node from user %q", r.User.GetName())
	}
	switch r.Kind {
	case core.Pod:
		switch r.Subresource {
		case "":
			return p.pod(r, node)
		case "status":
			return podStatus(r, node)
		case "eviction":
			if old, ok := r.Old.(*corev1.Pod); ok && old.Spec.NodeName != node {
				return admission.Forbidden(r, "node %s can only evict pods with spec.nodeName set to itself", node)
			}
			return nil
		}
		return admission.Forbidden(r, "unexpected pod subresource %q, only 'status' and 'eviction' are allowed", r.Subresource)
	case core.Node:
		return ownNode(r, node)
	case core.ServiceAccount:
		return p.token(ctx, r, node)
	case coordination.Lease:
		return ownLease(r, node)
	}
	if r.Kind.Plural == "csinodes" && r.Name != node {
		return admission.Forbidden(r, "can only access CSINode with the same name as the requesting node")
	}
	return nil
}

func (p nodeRestriction) pod(r *admission.Request, node string) error {
	switch r.Operation {
	case admission.Create:
		return p.mirror(r, r.Object.(*corev1.Pod), node)
	case admission.Delete:
		if r.Old.(*corev1.Pod).Spec.NodeName != node {
			return admission.Forbidden(r, "node %q can only delete pods with spec.nodeName set to itself", node)
		}
		return nil
	}
	return admission.Forbidden(r, "unexpected operation %q, node %q can only create and delete mirror pods", r.Operation, node)
}

// mirror: the only pods that a node makes are those that stand for its static ones.
func (p nodeRestriction) mirror(r *admission.Request, pod *corev1.Pod, node string) error {
	if !isMirror(pod) {
		return admission.Forbidden(r, "pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, node)
	}
	if pod.Spec.NodeName != node {
		return admission.Forbidden(r, "node %q can only create pods with spec.nodeName set to itself", node)
	}
	switch len(pod.OwnerReferences) {
	case 0:
		return admission.Forbidden(r, "node %q can only create pods with an owner reference set to itself", node)
	case 1:
	default:
		return admission.Forbidden(r, "node %q can only create pods with a single owner reference set to itself", node)
	}
	owner := pod.OwnerReferences[0]
	switch {
	case owner.APIVersion != "v1" || owner.Kind != "Node" || owner.Name != node:
		return admission.Forbidden(r, "node %q can only create pods with an owner reference set to itself", node)
	case owner.Controller == nil || !*owner.Controller:
		return admission.Forbidden(r, "node %q can only create pods with a controller owner reference set to itself", node)
	case owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion:
		return admission.Forbidden(r, "node %q must not set blockOwnerDeletion on an owner reference", node)
	}
	have, ok := p.read.Peek(core.Node, "", node)
	if !ok {
		return apierrors.NewNotFound(core.Node.GroupResource(), node)
	}
	if owner.UID != have.GetUID() {
		return admission.Forbidden(r, "node %s UID mismatch: expected %s got %s", node, owner.UID, have.GetUID())
	}
	resource := ""
	if pod.Spec.ServiceAccountName != "" {
		resource = "serviceaccounts"
	} else {
		references(pod, func(what named, _ string) bool {
			resource = map[named]string{namedSecret: "secrets", namedConfigMap: "configmaps", namedClaim: "persistentvolumeclaims"}[what]
			return true
		})
	}
	if resource == "" && len(pod.Spec.ResourceClaims) > 0 {
		resource = "resourceclaims"
	}
	if resource != "" {
		return admission.Forbidden(r, "node %q can not create pods that reference %s", node, resource)
	}
	return nil
}

func podStatus(r *admission.Request, node string) error {
	if r.Operation != admission.Update {
		return admission.Forbidden(r, "unexpected operation %q", r.Operation)
	}
	pod, old := r.Object.(*corev1.Pod), r.Old.(*corev1.Pod)
	switch {
	case old.Spec.NodeName != node:
		return admission.Forbidden(r, "node %q can only update pod status for pods with spec.nodeName set to itself", node)
	case !maps.Equal(old.Labels, pod.Labels):
		return admission.Forbidden(r, "node %q cannot update labels through pod status", node)
	case !equality.Semantic.DeepEqual(old.Status.ResourceClaimStatuses, pod.Status.ResourceClaimStatuses):
		return admission.Forbidden(r, "node %q cannot update resource claim statues", node)
	case !equality.Semantic.DeepEqual(old.Status.ExtendedResourceClaimStatus, pod.Status.ExtendedResourceClaimStatus):
		return admission.Forbidden(r, "node %q cannot update extended resource claim status", node)
	}
	return nil
}

func ownNode(r *admission.Request, name string) error {
	if r.Name != name {
		return admission.Forbidden(r, "node %q is not allowed to modify node %q", name, r.Name)
	}
	node, _ := r.Object.(*corev1.Node)
	switch r.Operation {
	case admission.Create:
		if node.Spec.ConfigSource != nil {
			return admission.Forbidden(r, "node %q is not allowed to create pods with a non-nil configSource", name)
		}
		if bad := forbiddenLabels(node.Labels, nil); len(bad) > 0 {
			return admission.Forbidden(r, "node %q is not allowed to set the following labels: %s", name, strings.Join(bad, ", "))
		}
	case admission.Update:
		old := r.Old.(*corev1.Node)
		if node.Spec.ConfigSource != nil && !equality.Semantic.DeepEqual(node.Spec.ConfigSource, old.Spec.ConfigSource) {
			return admission.Forbidden(r, "node %q is not allowed to update configSource to a new non-nil configSource", name)
		}
		if !equality.Semantic.DeepEqual(node.Spec.Taints, old.Spec.Taints) {
			return admission.Forbidden(r, "node %q is not allowed to modify taints", name)
		}
		if !equality.Semantic.DeepEqual(node.OwnerReferences, old.OwnerReferences) {
			return admission.Forbidden(r, "node %q is not allowed to modify ownerReferences", name)
		}
		if bad := forbiddenLabels(node.Labels, old.Labels); len(bad) > 0 {
			return admission.Forbidden(r, "is not allowed to modify labels: %s", strings.Join(bad, ", "))
		}
	}
	return nil
}

// ForbiddenNodeLabels are those of the labels that a node agent may not give its own node.
func ForbiddenNodeLabels(labels map[string]string) []string { return forbiddenLabels(labels, nil) }

// forbiddenLabels are those that changed and that a node may not give itself: they would draw pods to it.
func forbiddenLabels(now, before map[string]string) []string {
	if maps.Equal(now, before) {
		return nil
	}
	bad := map[string]bool{}
	look := func(a, b map[string]string) {
		for k, v := range a {
			if was, ok := b[k]; ok && was == v {
				continue
			}
			domain, _, ok := strings.Cut(k, "/")
			if !ok {
				domain = ""
			}
			in := func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) }
			if in(corev1.LabelNamespaceNodeRestriction) || (in("kubernetes.io") || in("k8s.io")) && !kubeletapis.IsKubeletLabel(k) {
				bad[k] = true
			}
		}
	}
	look(now, before)
	look(before, now)
	return slices.Sorted(maps.Keys(bad))
}

// token: a node gets tokens for its own pods only, and only those that they mount.
func (p nodeRestriction) token(ctx context.Context, r *admission.Request, node string) error {
	if r.Operation != admission.Create || r.Subresource != "token" {
		return nil
	}
	req := r.In.(*authenticationv1.TokenRequest)
	ref := req.Spec.BoundObjectRef
	switch {
	case ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "":
		return admission.Forbidden(r, "node requested token not bound to a pod")
	case ref.UID == "":
		return admission.Forbidden(r, "node requested token with a pod binding without a uid")
	}
	obj, ok := p.read.Peek(core.Pod, r.Namespace, ref.Name)
	if !ok {
		return apierrors.NewNotFound(core.Pod.GroupResource(), ref.Name)
	}
	pod := obj.(*corev1.Pod)
	switch {
	case ref.UID != pod.UID:
		return admission.Forbidden(r, "the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	case pod.Spec.NodeName != node:
		return admission.Forbidden(r, "node requested token bound to a pod scheduled on a different node")
	}
	return p.audience(ctx, r, req, pod)
}

func ownLease(r *admission.Request, node string) error {
	name := r.Name
	if r.Object != nil {
		name = r.Object.GetName()
	}
	switch {
	case r.Namespace != corev1.NamespaceNodeLease:
		return admission.Forbidden(r, "can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	case name != node:
		return admission.Forbidden(r, "can only access node lease with the same name as the requesting node")
	}
	return nil
}
