package volumeprotection

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

func planClaim(s controllers.Snapshot, key controllers.Key, _ time.Time) controllers.Plan {
	claim, ok := controllers.As[*corev1.PersistentVolumeClaim](s, core.PersistentVolumeClaim, key.Namespace, key.Name)
	if !ok {
		return controllers.Plan{}
	}
	p := protect(core.PersistentVolumeClaim, claim, claimFinalizer, func() bool {
		return slices.ContainsFunc(client.All[*corev1.Pod](s.List(core.Pod, claim.Namespace, nil)), func(p *corev1.Pod) bool { return uses(p, claim) })
	})
	if len(p.Updates) > 0 && claim.DeletionTimestamp != nil {
		// A cache may not show a pod yet that has come to use the claim.
		p.Requires = []controllers.Require{{
			Kind: core.Pod, Namespace: claim.Namespace, Absent: true, Such: func(obj kinds.Object) bool { return uses(obj.(*corev1.Pod), claim) },
		}}
	}
	return p
}

func planVolume(s controllers.Snapshot, key controllers.Key, _ time.Time) controllers.Plan {
	volume, ok := controllers.As[*corev1.PersistentVolume](s, core.PersistentVolume, "", key.Name)
	if !ok {
		return controllers.Plan{}
	}
	return protect(core.PersistentVolume, volume, volumeFinalizer, func() bool { return volume.Status.Phase == corev1.VolumeBound })
}

// protect has the finalizer on an object, and takes it away from one that is to go when it is not in use.
func protect(k *kinds.Kind, obj kinds.Object, finalizer string, inUse func() bool) controllers.Plan {
	has := slices.Contains(obj.GetFinalizers(), finalizer)
	going := obj.GetDeletionTimestamp() != nil
	if has != going || going && inUse() {
		return controllers.Plan{}
	}
	updated := obj.DeepCopyObject().(kinds.Object)
	if going {
		updated.SetFinalizers(slices.DeleteFunc(updated.GetFinalizers(), func(f string) bool { return f == finalizer }))
	} else {
		updated.SetFinalizers(append(updated.GetFinalizers(), finalizer))
	}
	return controllers.Plan{Updates: []controllers.Update{{Kind: k, Object: updated}}}
}
