package admission

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/networking"
	"github.com/tenet-run/tenet/kinds/storage"
)

// annotations by which a class is the default one, and by which objects name a class in the old way.
const (
	defaultStorageClass     = "storageclass.kubernetes.io/is-default-class"
	betaDefaultStorageClass = "storageclass.beta.kubernetes.io/is-default-class"
	ingressClassAnnotation  = "kubernetes.io/ingress.class"
)

// newestDefault is the name of the default class, the newest when there are several; "" when there is none.
func newestDefault(reader Reader, k *kinds.Kind, annotations ...string) string {
	var found []kinds.Object
	for _, obj := range reader.PeekList(k, "", nil) {
		if slices.ContainsFunc(annotations, func(a string) bool { return obj.GetAnnotations()[a] == "true" }) {
			found = append(found, obj)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.MinFunc(found, func(a, b kinds.Object) int {
		return cmp.Or(b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time), cmp.Compare(a.GetName(), b.GetName()))
	}).GetName()
}

type defaultClasses struct{ reader Reader }

// DefaultClasses is Kubernetes' DefaultStorageClass and DefaultIngressClass: claims and Ingresses that name no class get the default one, if there is one.
func DefaultClasses(reader Reader) Plugin { return defaultClasses{reader} }

func (defaultClasses) Name() string { return "DefaultClasses" }

func (p defaultClasses) Mutate(_ context.Context, r *Request) error {
	if r.Operation != Create || r.Subresource != "" {
		return nil
	}
	switch obj := r.Object.(type) {
	case *corev1.PersistentVolumeClaim:
		if _, named := obj.Annotations[corev1.BetaStorageClassAnnotation]; named || obj.Spec.StorageClassName != nil {
			return nil
		}
		if name := newestDefault(p.reader, storage.StorageClass, defaultStorageClass, betaDefaultStorageClass); name != "" {
			obj.Spec.StorageClassName = &name
		}
	case *networkingv1.Ingress:
		if _, named := obj.Annotations[ingressClassAnnotation]; named || obj.Spec.IngressClassName != nil {
			return nil
		}
		if name := newestDefault(p.reader, networking.IngressClass, networkingv1.AnnotationIsDefaultIngressClass); name != "" {
			obj.Spec.IngressClassName = &name
		}
	}
	return nil
}

type claimResize struct{ reader Reader }

// PersistentVolumeClaimResize lets only bound claims grow whose class allows it.
func PersistentVolumeClaimResize(reader Reader) Plugin { return claimResize{reader} }

func (claimResize) Name() string { return "PersistentVolumeClaimResize" }

func (p claimResize) Validate(_ context.Context, r *Request) error {
	if r.Kind != core.PersistentVolumeClaim || r.Operation != Update || r.Subresource != "" {
		return nil
	}
	claim, old := r.Object.(*corev1.PersistentVolumeClaim), r.Old.(*corev1.PersistentVolumeClaim)
	size, had := claim.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage]
	if size.Cmp(had) <= 0 {
		return nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		return Forbidden(r, "Only bound persistent volume claims can be expanded")
	}
	if name := className(claim); name != "" && name == className(old) {
		if obj, ok := p.reader.Peek(storage.StorageClass, "", name); ok {
			if may := obj.(*storagev1.StorageClass).AllowVolumeExpansion; may != nil && *may {
				return nil
			}
		}
	}
	return Forbidden(r, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
}

func className(c *corev1.PersistentVolumeClaim) string {
	if name, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return name
	}
	if c.Spec.StorageClassName != nil {
		return *c.Spec.StorageClassName
	}
	return ""
}
