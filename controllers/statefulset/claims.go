package statefulset

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

// retention is what becomes of claims when the set is deleted, and when it is scaled below them.
func retention(set *appsv1.StatefulSet) (deleted, scaled bool) {
	p := set.Spec.PersistentVolumeClaimRetentionPolicy
	if p == nil {
		return false, false
	}
	return p.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType, p.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
}

// newClaim is a claim of an ordinal, owned as the retention policy wants it for a pod that is wanted.
func newClaim(set *appsv1.StatefulSet, template *corev1.PersistentVolumeClaim, ordinal int) *corev1.PersistentVolumeClaim {
	c := template.DeepCopy()
	c.TypeMeta, c.Name, c.Namespace, c.Status = metav1.TypeMeta{}, claimName(set, template, ordinal), set.Namespace, corev1.PersistentVolumeClaimStatus{}
	if c.Labels = maps.Clone(c.Labels); c.Labels == nil {
		c.Labels = map[string]string{}
	}
	maps.Copy(c.Labels, set.Spec.Selector.MatchLabels)
	if deleted, _ := retention(set); deleted {
		c.OwnerReferences = append(c.OwnerReferences, controllers.ControllerRef(set, apps.StatefulSet))
	}
	return c
}

// claimState is what there is to know before a pod can have its claims.
type claimState struct {
	missing []*corev1.PersistentVolumeClaim
	// going is the name of a claim that is being deleted, or "".
	going string
	// stale: a claim belongs to a pod of this name that was scaled away, and goes with it.
	stale bool
	// astray are the claims whose owners are not those that the retention policy wants, with those owners.
	astray []*corev1.PersistentVolumeClaim
	// foreign are the names of claims that something else controls, although the policy wants to.
	foreign []string
}

// claimsOf looks at the claims of an ordinal. uid is that of its pod, "" when there is none yet.
func claimsOf(s controllers.Reader, set *appsv1.StatefulSet, ordinal int, uid types.UID) claimState {
	var st claimState
	pod := &metav1.ObjectMeta{Name: podName(set, ordinal), Namespace: set.Namespace, UID: uid}
	_, scaled := retention(set)
	for i := range set.Spec.VolumeClaimTemplates {
		t := &set.Spec.VolumeClaimTemplates[i]
		c, ok := controllers.As[*corev1.PersistentVolumeClaim](s, core.PersistentVolumeClaim, set.Namespace, claimName(set, t, ordinal))
		switch {
		case !ok:
			st.missing = append(st.missing, newClaim(set, t, ordinal))
			continue
		case scaled && slices.ContainsFunc(c.OwnerReferences, func(r metav1.OwnerReference) bool { return named(r, core.Pod, pod) && r.UID != uid }):
			st.stale = true
		}
		if c.DeletionTimestamp != nil {
			st.going = c.Name
			continue
		}
		refs, foreign := claimOwners(c, set, pod, inRange(set, ordinal))
		if foreign {
			st.foreign = append(st.foreign, c.Name)
		}
		if refs != nil {
			c = c.DeepCopy()
			c.OwnerReferences = *refs
			st.astray = append(st.astray, c)
		}
	}
	return st
}

func named(r metav1.OwnerReference, k *kinds.Kind, obj metav1.Object) bool {
	return r.Name == obj.GetName() && kinds.IsKind(k, r.APIVersion, r.Kind)
}

// claimOwners is the owners a claim ought to have, nil when it has them:
//
//	when deleted, when scaled   wanted pod   pod that is scaled away
//	retain        retain        none         none
//	delete        retain        the set      the set
//	retain        delete        none         the pod
//	delete        delete        the set      the pod
//
// Claims with owners of an earlier set or pod of the same name are left to the garbage collector. foreign: something else controls the claim; then it alone does.
func claimOwners(c *corev1.PersistentVolumeClaim, set *appsv1.StatefulSet, pod metav1.Object, wanted bool) (refs *[]metav1.OwnerReference, foreign bool) {
	deleted, scaled := retention(set)
	var want []metav1.OwnerReference
	switch {
	case scaled && !wanted:
		want = []metav1.OwnerReference{*metav1.NewControllerRef(pod, core.Pod.GVK())}
	case deleted:
		want = []metav1.OwnerReference{controllers.ControllerRef(set, apps.StatefulSet)}
	}
	var others, ours []metav1.OwnerReference
	for _, r := range c.OwnerReferences {
		isSet, isPod := named(r, apps.StatefulSet, set), named(r, core.Pod, pod)
		switch {
		case isSet && r.UID != set.UID || isPod && r.UID != pod.GetUID():
			return nil, false
		case isSet, isPod:
			ours = append(ours, r)
		default:
			others = append(others, r)
			foreign = foreign || (deleted || scaled) && r.Controller != nil && *r.Controller
		}
	}
	if foreign {
		want = nil
	}
	if len(ours) == len(want) && (len(want) == 0 || ours[0].UID == want[0].UID && ours[0].Controller != nil && *ours[0].Controller) {
		return nil, foreign
	}
	all := append(others, want...)
	return &all, foreign
}

func conflicting(set *appsv1.StatefulSet, claim string) controllers.Event {
	return controllers.Event{
		Kind: apps.StatefulSet, About: set, Type: corev1.EventTypeWarning, Reason: "ConflictingController",
		Message: fmt.Sprintf("PersistentVolumeClaim %s has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim", claim),
	}
}
