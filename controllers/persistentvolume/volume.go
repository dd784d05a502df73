package persistentvolume

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/volume"
)

// planVolume says in a volume's status how it stands with its claim, and takes up what its claim leaves.
func planVolume(s controllers.Snapshot, key controllers.Key) controllers.Plan {
	v, ok := controllers.As[*corev1.PersistentVolume](s, core.PersistentVolume, "", key.Name)
	if !ok {
		return controllers.Plan{}
	}
	ref := v.Spec.ClaimRef
	if ref == nil || ref.UID == "" { // free, or reserved
		return phase(v, corev1.VolumeAvailable, "", nil)
	}
	c, ok := controllers.As[*corev1.PersistentVolumeClaim](s, core.PersistentVolumeClaim, ref.Namespace, ref.Name)
	switch {
	case !ok || c.UID != ref.UID:
		p := release(v)
		if len(p.StatusUpdates) == 0 {
			return p
		}
		// The claim may only not show yet: a volume must not be taken from it.
		p.Requires = []controllers.Require{{Kind: core.PersistentVolumeClaim, Namespace: ref.Namespace, Name: ref.Name, UID: ref.UID, Absent: true}}
		return p
	case c.Spec.VolumeName == v.Name:
		return phase(v, corev1.VolumeBound, "", nil)
	case c.Spec.VolumeName == "":
		return mismatch(s, v, c) // or the claim's plan goes on with the binding
	case metav1.HasAnnotation(v.ObjectMeta, volume.ProvisionedBy) && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete:
		return release(v) // made for a claim that has got another one
	}
	return unbind(v)
}

// mismatch tells both sides why the claim that a volume is for cannot take it.
func mismatch(s controllers.Snapshot, v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) controllers.Plan {
	if volume.Mode(v.Spec.VolumeMode) == volume.Mode(c.Spec.VolumeMode) {
		return controllers.Plan{}
	}
	p := controllers.Plan{Remember: c.UID}
	if s.Memory != c.UID {
		p.Events = []controllers.Event{
			event(core.PersistentVolume, v, corev1.EventTypeWarning, "VolumeMismatch",
				fmt.Sprintf("Cannot bind PersistentVolume to requested PersistentVolumeClaim %q due to incompatible volumeMode.", c.Name)),
			event(core.PersistentVolumeClaim, c, corev1.EventTypeWarning, "VolumeMismatch",
				fmt.Sprintf("Cannot bind PersistentVolume %q to requested PersistentVolumeClaim due to incompatible volumeMode.", v.Name)),
		}
	}
	return p
}

// release says that a volume's claim is gone, and what the reclaim policy makes of that. Who made a volume deletes it; what nobody can do fails.
func release(v *corev1.PersistentVolume) controllers.Plan {
	failed := func(reason, text string) controllers.Plan {
		e := event(core.PersistentVolume, v, corev1.EventTypeWarning, reason, text)
		return phase(v, corev1.VolumeFailed, text, &e)
	}
	if v.Status.Phase == corev1.VolumeFailed {
		return controllers.Plan{}
	}
	if v.Status.Phase != corev1.VolumeReleased {
		return phase(v, corev1.VolumeReleased, "", nil)
	}
	switch policy := v.Spec.PersistentVolumeReclaimPolicy; {
	case policy == corev1.PersistentVolumeReclaimRecycle:
		return failed("VolumeFailedRecycle", "No recycler plugin found for the volume!")
	case policy == corev1.PersistentVolumeReclaimDelete && v.Annotations[volume.ProvisionedBy] == "" && v.Spec.CSI == nil:
		return failed("VolumeFailedDelete", fmt.Sprintf("error getting deleter volume plugin for volume %q: no deletable volume plugin matched", v.Name))
	}
	return controllers.Plan{}
}

// unbind takes a volume back from a claim that has got another one. What a user reserved stays reserved.
func unbind(v *corev1.PersistentVolume) controllers.Plan {
	updated := v.DeepCopy()
	if metav1.HasAnnotation(v.ObjectMeta, volume.BoundByController) {
		updated.Spec.ClaimRef = nil
		delete(updated.Annotations, volume.BoundByController)
	} else {
		updated.Spec.ClaimRef.UID = ""
	}
	return controllers.Plan{Updates: []controllers.Update{{Kind: core.PersistentVolume, Object: updated}}}
}

func phase(v *corev1.PersistentVolume, to corev1.PersistentVolumePhase, message string, done *controllers.Event) controllers.Plan {
	if v.Status.Phase == to {
		return controllers.Plan{}
	}
	updated := v.DeepCopy()
	updated.Status.Phase, updated.Status.Message, updated.Status.Reason = to, message, ""
	return controllers.Plan{StatusUpdates: []controllers.Update{{Kind: core.PersistentVolume, Object: updated, Done: done}}}
}
