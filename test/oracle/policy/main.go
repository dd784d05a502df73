// Command policy writes down what Kubernetes grants in a new cluster (bootstrappolicy): the data of apiserver/authz/policy.
//
//	cd test/oracle && go run ./policy [-check]
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

const file = "../../apiserver/authz/policy/policy.gz"

func main() {
	check := flag.Bool("check", false, "compare with the file instead of writing it")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "policy:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	var plain bytes.Buffer
	roles, bindings := &rbacv1.RoleList{}, &rbacv1.RoleBindingList{}
	byNamespace := bootstrappolicy.NamespaceRoles()
	for _, ns := range slices.Sorted(maps.Keys(byNamespace)) {
		roles.Items = append(roles.Items, byNamespace[ns]...)
	}
	bindingsByNamespace := bootstrappolicy.NamespaceRoleBindings()
	for _, ns := range slices.Sorted(maps.Keys(bindingsByNamespace)) {
		bindings.Items = append(bindings.Items, bindingsByNamespace[ns]...)
	}
	for _, list := range []interface{ Marshal() ([]byte, error) }{
		&rbacv1.ClusterRoleList{Items: append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...)},
		&rbacv1.ClusterRoleBindingList{Items: append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...)},
		roles, bindings,
		&rbacv1.ClusterRole{Rules: bootstrappolicy.NodeRules()},
	} {
		data, err := list.Marshal()
		if err != nil {
			return err
		}
		if err := binary.Write(&plain, binary.BigEndian, uint32(len(data))); err != nil {
			return err
		}
		plain.Write(data)
	}
	if check {
		have, err := os.Open(file)
		if err != nil {
			return err
		}
		defer have.Close()
		r, err := gzip.NewReader(have)
		if err != nil {
			return err
		}
		var was bytes.Buffer
		if _, err := was.ReadFrom(r); err != nil {
			return err
		}
		if !bytes.Equal(was.Bytes(), plain.Bytes()) {
			return fmt.Errorf("%s is not what Kubernetes grants: run without -check", file)
		}
		return nil
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(plain.Bytes()); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	fmt.Printf("%d bytes, %d packed\n", plain.Len(), packed.Len())
	return os.WriteFile(file, packed.Bytes(), 0o644)
}
