package statefulset

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestNamesOfPods(t *testing.T) {
	for name, want := range map[string]int{"web-0": 0, "web-10": 10, "my-web-3": 3, "web": -1, "web-": -1, "web-a": -1, "-1": -1, "web--1": 1, "web-+1": -1, "web-99999999999": -1} {
		set, got := nameParts(name)
		if got != want || (want < 0) != (set == "") {
			t.Errorf("%s: got %q and %d, want ordinal %d", name, set, got, want)
		}
	}
}

// TestClaimOwners: the table at claimOwners, from every state a claim may be in.
func TestClaimOwners(t *testing.T) {
	yes, no := true, false
	ref := func(kind, name string, uid types.UID, controller *bool) metav1.OwnerReference {
		version := "v1"
		if kind == "StatefulSet" {
			version = "apps/v1"
		}
		return metav1.OwnerReference{APIVersion: version, Kind: kind, Name: name, UID: uid, Controller: controller}
	}
	set, pod := ref("StatefulSet", "web", "set", &yes), ref("Pod", "web-0", "pod", &yes)
	other, bystander := ref("Thing", "other", "other", &yes), ref("Thing", "friend", "friend", &no)
	refs := func(r ...metav1.OwnerReference) []metav1.OwnerReference { return r }
	const retain, remove = appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	for _, c := range []struct {
		why             string
		deleted, scaled appsv1.PersistentVolumeClaimRetentionPolicyType
		have            []metav1.OwnerReference
		wanted, away    string // owners then, for a pod that is wanted, and for one that is scaled away; "=": as they are
		foreign         bool
	}{
		{"kept", retain, retain, nil, "=", "=", false},
		{"kept again", retain, retain, refs(set), "", "", false},
		{"kept, whoever else owns it", retain, retain, refs(other), "=", "=", false},
		{"goes with the set", remove, retain, nil, "web", "web", false},
		{"goes with the set already", remove, retain, refs(set), "=", "=", false},
		{"goes with the pod", retain, remove, nil, "=", "web-0", false},
		{"went with the set", retain, remove, refs(set), "", "web-0", false},
		{"goes with either", remove, remove, refs(pod), "web", "=", false},
		{"goes with either, from the set's", remove, remove, refs(set), "=", "web-0", false},
		{"others stay", remove, remove, refs(bystander, pod), "friend web", "=", false},
		{"an owner that does not control", remove, retain, refs(ref("StatefulSet", "web", "set", nil)), "web", "web", false},
		{"of a set before this one", remove, remove, refs(ref("StatefulSet", "web", "before", &yes)), "=", "=", false},
		{"of a pod before this one", remove, remove, refs(ref("Pod", "web-0", "before", &yes)), "=", "=", false},
		{"somebody else controls it", remove, remove, refs(other), "=", "=", true},
		{"somebody else controls it too", remove, remove, refs(other, set), "other", "other", true},
	} {
		for wanted, want := range map[bool]string{true: c.wanted, false: c.away} {
			s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "set"}}
			s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: c.deleted, WhenScaled: c.scaled}
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{OwnerReferences: c.have}}
			then, foreign := claimOwners(claim, s, &metav1.ObjectMeta{Name: "web-0", UID: "pod"}, wanted)
			got := "="
			if then != nil {
				var names []string
				for _, r := range *then {
					names = append(names, r.Name)
				}
				got = strings.Join(names, " ")
				claim.OwnerReferences = *then
				if again, _ := claimOwners(claim, s, &metav1.ObjectMeta{Name: "web-0", UID: "pod"}, wanted); again != nil {
					t.Errorf("%s (wanted: %v): does not settle", c.why, wanted)
				}
			}
			if got != want || foreign != c.foreign {
				t.Errorf("%s (wanted: %v): got %q, foreign %v; want %q, %v", c.why, wanted, got, foreign, want, c.foreign)
			}
		}
	}
}
