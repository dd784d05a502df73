// Package serviceaccount gives every namespace what pods in it count on: the ServiceAccount "default", and the ConfigMap "kube-root-ca.crt", whose certificate
// tells them which API server to trust. Both come back when they are removed, and the ConfigMap when it is changed.
package serviceaccount

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// Names of what every namespace has.
const (
	DefaultAccount  = "default"
	RootCAConfigMap = "kube-root-ca.crt"
	rootCAKey       = "ca.crt"

	descriptionAnnotation = "kubernetes.io/description"
	description           = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or " +
		"kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)

// New is the controller of the default ServiceAccounts.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "serviceaccount", Component: "serviceaccount-controller",
		Inputs: []controllers.Input{
			{Kind: core.Namespace, Keys: controllers.Self},
			{Kind: core.ServiceAccount, Keys: named(DefaultAccount)},
		},
		Outputs: []controllers.Output{{Kind: core.ServiceAccount, Fields: "create default"}},
		Plan:    planAccount,
	}
}

// RootCA is the controller of the ConfigMaps that hold the certificate authority, PEM encoded.
func RootCA(pem []byte) controllers.Controller {
	data := map[string]string{rootCAKey: string(pem)}
	return controllers.Controller{
		Name: "rootca", Component: "root-ca-cert-publisher",
		Inputs: []controllers.Input{
			{Kind: core.Namespace, Keys: controllers.Self},
			{Kind: core.ConfigMap, Keys: named(RootCAConfigMap)},
		},
		Outputs: []controllers.Output{{Kind: core.ConfigMap, Fields: "create and data of kube-root-ca.crt"}},
		Plan: func(s controllers.Snapshot, key controllers.Key, _ time.Time) controllers.Plan {
			return planRootCA(s, key, data)
		},
	}
}

// named names the namespace of objects of one name, when they change or go.
func named(name string) func(controllers.Reader, *kinds.Kind, client.Change) []controllers.Key {
	return func(_ controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
		if obj := c.Object(); obj.GetName() == name && c.Old != nil {
			return []controllers.Key{{Name: obj.GetNamespace()}}
		}
		return nil
	}
}

func live(s controllers.Reader, name string) bool {
	ns, ok := controllers.As[*corev1.Namespace](s, core.Namespace, "", name)
	return ok && ns.DeletionTimestamp == nil && ns.Status.Phase != corev1.NamespaceTerminating
}

func planAccount(s controllers.Snapshot, key controllers.Key, _ time.Time) controllers.Plan {
	if !live(s, key.Name) {
		return controllers.Plan{}
	}
	if _, ok := s.Get(core.ServiceAccount, key.Name, DefaultAccount); ok {
		return controllers.Plan{}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: DefaultAccount, Namespace: key.Name}}
	return controllers.Plan{Creates: []controllers.Create{{Kind: core.ServiceAccount, Object: account, Exists: true}}}
}

func planRootCA(s controllers.Snapshot, key controllers.Key, data map[string]string) controllers.Plan {
	if !live(s, key.Name) {
		return controllers.Plan{}
	}
	have, ok := controllers.As[*corev1.ConfigMap](s, core.ConfigMap, key.Name, RootCAConfigMap)
	if !ok {
		config := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: RootCAConfigMap, Namespace: key.Name, Annotations: map[string]string{descriptionAnnotation: description}},
			Data:       data,
		}
		return controllers.Plan{Creates: []controllers.Create{{Kind: core.ConfigMap, Object: config}}}
	}
	if equality.Semantic.DeepEqual(have.Data, data) && len(have.BinaryData) == 0 && have.Annotations[descriptionAnnotation] != "" {
		return controllers.Plan{}
	}
	updated := have.DeepCopy()
	updated.Data, updated.BinaryData = data, nil
	if updated.Annotations == nil {
		updated.Annotations = map[string]string{}
	}
	updated.Annotations[descriptionAnnotation] = description
	return controllers.Plan{Updates: []controllers.Update{{Kind: core.ConfigMap, Object: updated}}}
}
