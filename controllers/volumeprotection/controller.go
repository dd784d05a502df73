// Package volumeprotection keeps volumes from being deleted while they are in use: claims while pods use them, volumes while they are bound.
//
// Its two controllers own a finalizer each. Admission puts it on new objects already; those that have none get it here.
package volumeprotection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

const (
	claimFinalizer  = "kubernetes.io/pvc-protection"
	volumeFinalizer = "kubernetes.io/pv-protection"
)

// Claims is the controller of claims.
func Claims() controllers.Controller {
	return controllers.Controller{
		Name: "pvc-protection", Component: "persistentvolume-controller",
		Inputs: []controllers.Input{
			{Kind: core.PersistentVolumeClaim, Keys: controllers.Self},
			{Kind: core.Pod, Keys: podKeys},
		},
		Outputs: []controllers.Output{{Kind: core.PersistentVolumeClaim, Fields: "metadata.finalizers[" + claimFinalizer + "]"}},
		Plan:    planClaim,
	}
}

// Volumes is the controller of volumes.
func Volumes() controllers.Controller {
	return controllers.Controller{
		Name: "pv-protection", Component: "persistentvolume-controller",
		Inputs:  []controllers.Input{{Kind: core.PersistentVolume, Keys: controllers.Self}},
		Outputs: []controllers.Output{{Kind: core.PersistentVolume, Fields: "metadata.finalizers[" + volumeFinalizer + "]"}},
		Plan:    planVolume,
	}
}

// podKeys names the claims of a pod that wait for it to be gone. A pod that starts to use a claim lets nothing go.
func podKeys(r controllers.Reader, _ *kinds.Kind, c client.Change) []controllers.Key {
	pod := c.Object().(*corev1.Pod)
	if c.Old == nil || c.New != nil && pod.DeletionTimestamp == nil {
		return nil
	}
	var keys []controllers.Key
	for i := range pod.Spec.Volumes {
		name := claimOf(pod, &pod.Spec.Volumes[i])
		if name == "" {
			continue
		}
		if claim, ok := r.Get(core.PersistentVolumeClaim, pod.Namespace, name); ok && claim.GetDeletionTimestamp() != nil {
			keys = append(keys, controllers.KeyOf(claim))
		}
	}
	return keys
}

// claimOf is the name of the claim that a volume uses, or of the one that was made for it.
func claimOf(pod *corev1.Pod, v *corev1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return pod.Name + "-" + v.Name
	}
	return ""
}

// uses reports whether a pod keeps a claim. One that is on no node yet does not: a node does not start a pod whose claim is being deleted. Nor does one that has
// been shut down and only waits for its finalizers, which may wait for the claim to go.
func uses(pod *corev1.Pod, claim *corev1.PersistentVolumeClaim) bool {
	if pod.Spec.NodeName == "" {
		return false
	}
	down := pod.DeletionTimestamp != nil && pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds == 0
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return claimOf(pod, &v) == claim.Name && (v.PersistentVolumeClaim != nil || !down && metav1.IsControlledBy(claim, pod))
	})
}
