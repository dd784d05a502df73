package persistentvolume

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/storage"
	"github.com/tenet-run/tenet/kinds/volume"
)

func plan(s controllers.Snapshot, key controllers.Key, _ time.Time) controllers.Plan {
	if key.Kind == core.PersistentVolume {
		return planVolume(s, key)
	}
	c, ok := controllers.As[*corev1.PersistentVolumeClaim](s, core.PersistentVolumeClaim, key.Namespace, key.Name)
	switch {
	case !ok:
		return controllers.Plan{}
	case metav1.HasAnnotation(c.ObjectMeta, volume.BindCompleted):
		return planBound(s, c)
	case c.Spec.VolumeName != "":
		return planNamed(s, c)
	}
	return planUnbound(s, c)
}

// planBound looks after a claim that was bound once: if it has lost its volume, its data is gone.
func planBound(s controllers.Snapshot, c *corev1.PersistentVolumeClaim) controllers.Plan {
	if c.Spec.VolumeName == "" {
		return lost(c, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!")
	}
	v, ok := controllers.As[*corev1.PersistentVolume](s, core.PersistentVolume, "", c.Spec.VolumeName)
	switch {
	case !ok:
		return lost(c, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
	case v.Spec.ClaimRef != nil && v.Spec.ClaimRef.UID != c.UID:
		return lost(c, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
	}
	return bind(v, c)
}

// planNamed binds a claim to the volume that it asks for.
func planNamed(s controllers.Snapshot, c *corev1.PersistentVolumeClaim) controllers.Plan {
	v, ok := controllers.As[*corev1.PersistentVolume](s, core.PersistentVolume, "", c.Spec.VolumeName)
	switch {
	case !ok:
		return pending(c, nil)
	case volume.IsFor(v, c):
		return bind(v, c)
	case v.Spec.ClaimRef != nil:
		return pending(c, say(s, c, corev1.EventTypeWarning, "FailedBinding", fmt.Sprintf("volume %q already bound to a different claim.", v.Name)))
	}
	if why := volume.Unfit(v, c); why != "" {
		return pending(c, say(s, c, corev1.EventTypeWarning, "VolumeMismatch", fmt.Sprintf("Cannot bind to requested volume %q: %s", v.Name, why)))
	}
	return bind(v, c)
}

// planUnbound finds a volume for a claim, or has one made.
func planUnbound(s controllers.Snapshot, c *corev1.PersistentVolumeClaim) controllers.Plan {
	name := volume.ClassOf(c)
	class, _ := controllers.As[*storagev1.StorageClass](s, storage.StorageClass, "", name)
	if v := volume.Best(c, controllers.All[*corev1.PersistentVolume](s, core.PersistentVolume, ""), volume.Waits(class), nil); v != nil {
		return bind(v, c)
	}
	if !volume.HasClass(c) {
		if d := volume.Default(controllers.All[*storagev1.StorageClass](s, storage.StorageClass, "")); d != nil {
			updated := c.DeepCopy()
			updated.Spec.StorageClassName = &d.Name
			return controllers.Plan{Updates: []controllers.Update{{Kind: core.PersistentVolumeClaim, Object: updated}}}
		}
	}
	warn := func(text string) controllers.Plan {
		return pending(c, say(s, c, corev1.EventTypeWarning, "ProvisioningFailed", text))
	}
	switch {
	case name == "":
		return pending(c, say(s, c, corev1.EventTypeNormal, "FailedBinding", "no persistent volumes available for this claim and no storage class is set"))
	case volume.Waits(class) && c.Annotations[volume.SelectedNode] == "":
		return pending(c, say(s, c, corev1.EventTypeNormal, "WaitForFirstConsumer", "waiting for first consumer to be created before binding"))
	case class == nil:
		return warn(fmt.Sprintf("storageclass.storage.k8s.io %q not found", name))
	case strings.HasPrefix(class.Provisioner, "kubernetes.io/"):
		return warn("no volume plugin matched name: " + class.Provisioner)
	}
	// Somebody else makes the volume, reserved for the claim, which brings the next plan.
	waiting := say(s, c, corev1.EventTypeNormal, "ExternalProvisioning", fmt.Sprintf("Waiting for a volume to be created either by the external provisioner '%s' "+
		"or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.", class.Provisioner))
	if c.Annotations[volume.Provisioner] == class.Provisioner {
		return pending(c, waiting)
	}
	updated := c.DeepCopy()
	metav1.SetMetaDataAnnotation(&updated.ObjectMeta, volume.Provisioner, class.Provisioner)
	metav1.SetMetaDataAnnotation(&updated.ObjectMeta, volume.BetaProvisioner, class.Provisioner)
	return controllers.Plan{Updates: []controllers.Update{{Kind: core.PersistentVolumeClaim, Object: updated}}}
}

// bind makes the next write of a binding.
func bind(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) controllers.Plan {
	if ref := v.Spec.ClaimRef; ref == nil || ref.UID != c.UID {
		updated := v.DeepCopy()
		if !volume.IsFor(v, c) {
			metav1.SetMetaDataAnnotation(&updated.ObjectMeta, volume.BoundByController, "yes")
		}
		updated.Spec.ClaimRef = &corev1.ObjectReference{
			Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion,
		}
		return controllers.Plan{Updates: []controllers.Update{{Kind: core.PersistentVolume, Object: updated}}}
	}
	if p := phase(v, corev1.VolumeBound, "", nil); len(p.StatusUpdates) > 0 {
		return p
	}
	if c.Spec.VolumeName != v.Name || !metav1.HasAnnotation(c.ObjectMeta, volume.BindCompleted) {
		updated := c.DeepCopy()
		if c.Spec.VolumeName != v.Name {
			updated.Spec.VolumeName = v.Name
			metav1.SetMetaDataAnnotation(&updated.ObjectMeta, volume.BoundByController, "yes")
		}
		metav1.SetMetaDataAnnotation(&updated.ObjectMeta, volume.BindCompleted, "yes")
		return controllers.Plan{Updates: []controllers.Update{{Kind: core.PersistentVolumeClaim, Object: updated}}}
	}
	status := *c.Status.DeepCopy()
	if status.AccessModes = v.Spec.AccessModes; status.Phase != corev1.ClaimBound {
		// Later the two may differ: the size of the file system need not be that of the device.
		status.Capacity, status.CurrentVolumeAttributesClassName = v.Spec.Capacity.DeepCopy(), v.Spec.VolumeAttributesClassName
	}
	status.Phase = corev1.ClaimBound
	return claimStatus(c, status, nil)
}

// pending says that a claim is not bound, and why, if that was not said before.
func pending(c *corev1.PersistentVolumeClaim, why *saying) controllers.Plan {
	p := unbound(c, corev1.ClaimPending, nil)
	if why != nil {
		p.Remember = why.text
		if why.new {
			p.Events = append(p.Events, why.event)
		}
	}
	return p
}

func lost(c *corev1.PersistentVolumeClaim, reason, text string) controllers.Plan {
	if c.Status.Phase == corev1.ClaimLost {
		return controllers.Plan{}
	}
	e := event(core.PersistentVolumeClaim, c, corev1.EventTypeWarning, reason, text)
	return unbound(c, corev1.ClaimLost, &e)
}

func unbound(c *corev1.PersistentVolumeClaim, phase corev1.PersistentVolumeClaimPhase, done *controllers.Event) controllers.Plan {
	status := *c.Status.DeepCopy()
	status.Phase, status.AccessModes, status.Capacity, status.CurrentVolumeAttributesClassName = phase, nil, nil, nil
	return claimStatus(c, status, done)
}

func claimStatus(c *corev1.PersistentVolumeClaim, status corev1.PersistentVolumeClaimStatus, done *controllers.Event) controllers.Plan {
	if equality.Semantic.DeepEqual(c.Status, status) {
		return controllers.Plan{}
	}
	updated := c.DeepCopy()
	updated.Status = status
	return controllers.Plan{StatusUpdates: []controllers.Update{{Kind: core.PersistentVolumeClaim, Object: updated, Done: done}}}
}

// saying is an event, and whether it was not said by the last plan already.
type saying struct {
	event controllers.Event
	text  string
	new   bool
}

func say(s controllers.Snapshot, c *corev1.PersistentVolumeClaim, kind, reason, text string) *saying {
	said, _ := s.Memory.(string)
	return &saying{event: event(core.PersistentVolumeClaim, c, kind, reason, text), text: text, new: said != text}
}

func event(k *kinds.Kind, about kinds.Object, kind, reason, text string) controllers.Event {
	return controllers.Event{Kind: k, About: about, Type: kind, Reason: reason, Message: text}
}
