// Package persistentvolume binds PersistentVolumeClaims to PersistentVolumes, and says what becomes of volumes whose claims are gone.
//
// A binding is four writes, each a plan of its own: the volume names its claim, the volume is Bound, the claim names its volume, the claim is Bound. The first
// decides: it has the volume's version as precondition, so a volume is never given to two claims, and whatever is interrupted is taken up where it stands.
// Claims that wait for their first consumer are left to the scheduler, new volumes to provisioners, to whom an annotation says that they are asked.
package persistentvolume

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/kinds/storage"
	"github.com/tenet-run/tenet/kinds/volume"
)

// New is the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name: "persistentvolume-binder", Component: "persistentvolume-controller",
		Inputs: []controllers.Input{
			{Kind: core.PersistentVolumeClaim, Keys: claimKeys},
			{Kind: core.PersistentVolume, Keys: volumeKeys},
			{Kind: storage.StorageClass, Keys: classKeys},
		},
		Outputs: []controllers.Output{
			{Kind: core.PersistentVolume, Fields: "spec.claimRef; the scheduler's too, of volumes without"},
			{Kind: core.PersistentVolume, Fields: "status.phase"},
			{Kind: core.PersistentVolumeClaim, Fields: "spec.volumeName"},
			{Kind: core.PersistentVolumeClaim, Fields: "spec.storageClassName where there is none"},
			{Kind: core.PersistentVolumeClaim, Fields: "status"},
			{Kind: core.PersistentVolumeClaim, Fields: "metadata.annotations[pv.kubernetes.io/*, volume.kubernetes.io/storage-provisioner]"},
		},
		Plan: plan,
	}
}

func keyOf(k *kinds.Kind, namespace, name string) controllers.Key {
	return controllers.Key{Kind: k, Namespace: namespace, Name: name}
}

// claimKeys names the claim, and the volumes that it has, wants, or is wanted by.
func claimKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	claim := c.Object().(*corev1.PersistentVolumeClaim)
	keys := []controllers.Key{keyOf(k, claim.Namespace, claim.Name)}
	if old, ok := c.Old.(*corev1.PersistentVolumeClaim); ok && c.New != nil && old.Spec.VolumeName == claim.Spec.VolumeName {
		return keys // only what it is bound to, or that it is gone, matters to volumes
	}
	for _, v := range controllers.All[*corev1.PersistentVolume](r, core.PersistentVolume, "") {
		if ref := v.Spec.ClaimRef; v.Name == claim.Spec.VolumeName || ref != nil && ref.Namespace == claim.Namespace && ref.Name == claim.Name {
			keys = append(keys, keyOf(core.PersistentVolume, "", v.Name))
		}
	}
	return keys
}

// volumeKeys names the volume, its claim, and of one that may be given away the claims that look for one.
func volumeKeys(r controllers.Reader, k *kinds.Kind, c client.Change) []controllers.Key {
	v := c.Object().(*corev1.PersistentVolume)
	keys := []controllers.Key{keyOf(k, "", v.Name)}
	old, _ := c.Old.(*corev1.PersistentVolume)
	for _, state := range []*corev1.PersistentVolume{old, v} {
		if state != nil && state.Spec.ClaimRef != nil {
			keys = append(keys, keyOf(core.PersistentVolumeClaim, state.Spec.ClaimRef.Namespace, state.Spec.ClaimRef.Name))
		}
	}
	if v.Spec.ClaimRef != nil || c.New != nil && v.Status.Phase != corev1.VolumeAvailable {
		return keys
	}
	if old != nil && c.New != nil && old.Status.Phase == v.Status.Phase && equality.Semantic.DeepEqual(old.Spec, v.Spec) && equality.Semantic.DeepEqual(old.Labels, v.Labels) {
		return keys
	}
	for _, claim := range controllers.All[*corev1.PersistentVolumeClaim](r, core.PersistentVolumeClaim, "") {
		if claim.Spec.VolumeName == v.Name || claim.Spec.VolumeName == "" && volume.ClassOf(claim) == volume.ClassOfVolume(v) {
			keys = append(keys, keyOf(core.PersistentVolumeClaim, claim.Namespace, claim.Name))
		}
	}
	return keys
}

// classKeys names the claims that wait for a class to be there, or for a default one.
func classKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	class, ok := c.New.(*storagev1.StorageClass)
	if !ok {
		return nil
	}
	var keys []controllers.Key
	for _, claim := range controllers.All[*corev1.PersistentVolumeClaim](r, core.PersistentVolumeClaim, "") {
		if claim.Spec.VolumeName == "" && (volume.ClassOf(claim) == class.Name || volume.IsDefault(class) && !volume.HasClass(claim)) {
			keys = append(keys, keyOf(core.PersistentVolumeClaim, claim.Namespace, claim.Name))
		}
	}
	return keys
}
