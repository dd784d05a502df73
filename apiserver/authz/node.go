package authz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/authz/policy"
	"github.com/tenet-run/tenet/kinds/core"
)

// Reader is how the node authorizer sees what is on a node.
type Reader = admission.Reader

const nodeUserPrefix = "system:node:"

var errNodeRules = errors.New("node authorizer does not support user rule resolution")

// nodeOf is the name of the node that a user is the agent of; isNode is true for any member of system:nodes that is named as one.
func nodeOf(u user.Info) (name string, isNode bool) {
	name, ok := strings.CutPrefix(u.GetName(), nodeUserPrefix)
	if !ok || !slices.Contains(u.GetGroups(), user.NodesGroup) {
		return "", false
	}
	return name, true
}

// node lets node agents do what they need for their own node: read what the pods on it refer to, and little else. It keeps no graph: what is on a node is in
// the store's index of pods by node, a hundred at most.
type node struct {
	read  Reader
	rules func() []rbacv1.PolicyRule
}

func newNode(read Reader) *node {
	return &node{read: read, rules: sync.OnceValue(func() []rbacv1.PolicyRule {
		p, err := policy.Load()
		if err != nil {
			return nil // tested: cannot happen
		}
		return p.NodeRules
	})}
}

const (
	allow = authorizer.DecisionAllow
	pass  = authorizer.DecisionNoOpinion
)

// Authorize implements authorizer.Authorizer.
func (n *node) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	name, isNode := nodeOf(a.GetUser())
	switch {
	case !isNode:
		return pass, "", nil
	case name == "":
		return pass, fmt.Sprintf("unknown node for user %q", a.GetUser().GetName()), nil
	}
	if a.IsResourceRequest() {
		var d authorizer.Decision
		var why string
		switch a.GetAPIGroup() + "/" + a.GetResource() {
		case "/secrets", "/configmaps":
			d, why = n.readNamespaced(name, a)
		case "/persistentvolumeclaims":
			if a.GetSubresource() == "status" {
				d, why = n.updateStatus(name, a)
			} else {
				d, why = n.get(name, a)
			}
		case "/persistentvolumes", "resource.k8s.io/resourceclaims", "storage.k8s.io/volumeattachments":
			d, why = n.get(name, a)
		case "/serviceaccounts":
			d, why = n.serviceAccount(name, a)
		case "coordination.k8s.io/leases":
			d, why = lease(name, a)
		case "storage.k8s.io/csinodes":
			d, why = csiNode(name, a)
		case "resource.k8s.io/resourceslices":
			d, why = n.resourceSlice(name, a)
		case "/nodes":
			d, why = self(name, a)
		case "/pods":
			d, why = n.pod(name, a)
		case "certificates.k8s.io/podcertificaterequests":
		default:
			if allows(n.rules(), a) {
				d = allow
			} else {
				d = pass
			}
			return d, "", nil
		}
		if d == allow {
			return allow, "", nil
		}
		return pass, why, nil
	}
	if allows(n.rules(), a) {
		return allow, "", nil
	}
	return pass, "", nil
}

func (n *node) updateStatus(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	if v := a.GetVerb(); v != "update" && v != "patch" {
		return pass, "can only get/update/patch this type"
	}
	return n.related(name, a)
}

func (n *node) get(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	switch {
	case a.GetVerb() != "get":
		return pass, "can only get individual resources of this type"
	case a.GetSubresource() != "":
		return pass, "cannot get subresource"
	}
	return n.related(name, a)
}

func (n *node) readNamespaced(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	switch v := a.GetVerb(); {
	case v != "get" && v != "list" && v != "watch":
		return pass, "can only read resources of this type"
	case a.GetSubresource() != "":
		return pass, "cannot read subresource"
	case a.GetNamespace() == "":
		return pass, "can only read namespaced object of this type"
	}
	return n.related(name, a)
}

func (n *node) serviceAccount(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	switch {
	case a.GetVerb() == "get" && a.GetSubresource() == "":
		return n.readNamespaced(name, a)
	case a.GetVerb() != "create" || a.GetName() == "":
		return pass, "can only create tokens for individual service accounts"
	case a.GetSubresource() != "token":
		return pass, "can only create token subresource of serviceaccount"
	}
	return n.related(name, a)
}

func lease(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	switch v := a.GetVerb(); {
	case !ownVerb(v):
		return pass, "can only get, create, update, patch, or delete a node lease"
	case a.GetNamespace() != corev1.NamespaceNodeLease:
		return pass, fmt.Sprintf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	case v != "create" && a.GetName() != name:
		return pass, "can only access node lease with the same name as the requesting node"
	}
	return allow, ""
}

func csiNode(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	switch v := a.GetVerb(); {
	case !ownVerb(v):
		return pass, "can only get, create, update, patch, or delete a CSINode"
	case a.GetSubresource() != "":
		return pass, "cannot authorize CSINode subresources"
	case v != "create" && a.GetName() != name:
		return pass, "can only access CSINode with the same name as the requesting node"
	}
	return allow, ""
}

func ownVerb(v string) bool {
	return v == "get" || v == "create" || v == "update" || v == "patch" || v == "delete"
}

func (n *node) resourceSlice(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	if a.GetSubresource() != "" {
		return pass, "cannot authorize ResourceSlice subresources"
	}
	switch a.GetVerb() {
	case "create":
		return allow, ""
	case "get", "update", "patch", "delete":
		return n.related(name, a)
	case "watch", "list", "deletecollection":
		if selects(a, "spec.nodeName", name) {
			return allow, ""
		}
		return pass, "can only list/watch/deletecollection resourceslices with nodeName field selector"
	}
	return pass, "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection"
}

func self(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	v := a.GetVerb()
	switch a.GetSubresource() {
	case "":
		switch v {
		case "create", "update", "patch":
			return allow, ""
		case "get", "list", "watch":
			switch a.GetName() {
			case name:
				return allow, ""
			case "":
				return pass, fmt.Sprintf("node '%s' cannot read all nodes, only its own Node object", name)
			}
			return pass, fmt.Sprintf("node '%s' cannot read '%s', only its own Node object", name, a.GetName())
		}
	case "status":
		if v == "update" || v == "patch" {
			return allow, ""
		}
	}
	return pass, ""
}

func (n *node) pod(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	v := a.GetVerb()
	switch a.GetSubresource() {
	case "":
		switch v {
		case "get":
			return n.get(name, a)
		case "list", "watch":
			if selects(a, "spec.nodeName", name) {
				return allow, ""
			}
			if a.GetName() != "" {
				return n.related(name, a)
			}
			return pass, "can only list/watch pods with spec.nodeName field selector"
		case "create", "delete":
			return allow, ""
		}
	case "status":
		if v == "update" || v == "patch" {
			return allow, ""
		}
	case "eviction":
		if v == "create" {
			return allow, ""
		}
	}
	return pass, ""
}

func selects(a authorizer.Attributes, field, value string) bool {
	reqs, _ := a.GetFieldSelector()
	for _, r := range reqs {
		if r.Field == field && r.Operator == selection.Equals && r.Value == value {
			return true
		}
	}
	return false
}

// related asks whether something has to do with the node.
func (n *node) related(name string, a authorizer.Attributes) (authorizer.Decision, string) {
	if a.GetName() == "" {
		return pass, "No Object name found"
	}
	if n.reaches(name, a.GetResource(), a.GetNamespace(), a.GetName()) {
		return allow, ""
	}
	return pass, fmt.Sprintf("no relationship found between node '%s' and this object", name)
}

// pods calls f with the pods on a node, of one namespace or all ("").
func (n *node) pods(node, namespace string, f func(*corev1.Pod) bool) bool {
	return slices.ContainsFunc(n.read.PeekField(core.Pod, namespace, "spec.nodeName", node), func(o object) bool { return f(o.(*corev1.Pod)) })
}
