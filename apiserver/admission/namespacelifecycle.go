package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/kinds/core"
)

// ImmortalNamespaces may not be deleted. (Kubernetes lets kube-node-lease go, whose loss takes the Leases of all nodes with it; Tenet does not.)
var ImmortalNamespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}

type namespaceLifecycle struct{ reader Reader }

// NamespaceLifecycle refuses what is created in a namespace that does not exist or is going away, and the deletion of the namespaces that the system lives in.
func NamespaceLifecycle(reader Reader) Plugin { return namespaceLifecycle{reader} }

func (namespaceLifecycle) Name() string { return "NamespaceLifecycle" }

// Mutate changes nothing; it comes before all that reads from the namespace.
func (p namespaceLifecycle) Mutate(_ context.Context, r *Request) error {
	if r.Operation != Create || r.Namespace == "" || r.Kind == core.Namespace {
		return nil
	}
	obj, ok := p.reader.Peek(core.Namespace, "", r.Namespace)
	if !ok {
		return apierrors.NewNotFound(core.Namespace.GroupResource(), r.Namespace)
	}
	if obj.(*corev1.Namespace).Status.Phase != corev1.NamespaceTerminating {
		return nil
	}
	err := Forbidden(r, "unable to create new content in namespace %s because it is being terminated", r.Namespace)
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{
			Type: corev1.NamespaceTerminatingCause, Message: fmt.Sprintf("namespace %s is being terminated", r.Namespace), Field: "metadata.namespace",
		})
	}
	return err
}

func (namespaceLifecycle) Validate(_ context.Context, r *Request) error {
	if r.Operation == Delete && r.Kind == core.Namespace && slices.Contains(ImmortalNamespaces, r.Name) {
		return Forbidden(r, "this namespace may not be deleted")
	}
	return nil
}
