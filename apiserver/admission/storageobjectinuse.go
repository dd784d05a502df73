package admission

import (
	"context"
	"slices"

	"github.com/tenet-run/tenet/kinds/core"
)

type storageObjectInUseProtection struct{}

// StorageObjectInUseProtection puts the finalizers on new claims and volumes that keep them while they are in use. A controller takes them away.
func StorageObjectInUseProtection() Plugin { return storageObjectInUseProtection{} }

func (storageObjectInUseProtection) Name() string { return "StorageObjectInUseProtection" }

func (storageObjectInUseProtection) Mutate(_ context.Context, r *Request) error {
	if r.Subresource != "" || r.Operation != Create {
		return nil
	}
	finalizer := ""
	switch r.Kind {
	case core.PersistentVolumeClaim:
		finalizer = "kubernetes.io/pvc-protection"
	case core.PersistentVolume:
		finalizer = "kubernetes.io/pv-protection"
	default:
		return nil
	}
	if f := r.Object.GetFinalizers(); !slices.Contains(f, finalizer) {
		r.Object.SetFinalizers(append(f, finalizer))
	}
	return nil
}
