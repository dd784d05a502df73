// Package history keeps the templates that a workload has had, as ControllerRevisions: what StatefulSet and DaemonSet share. It is pure; its users plan the
// writes, and own them. Data, names and numbers are upstream's, so that kubectl rollout reads and undoes them and a history begun elsewhere goes on.
package history

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// Of is the revisions of an owner, and those without a controller that match its selector, oldest first.
func Of(s controllers.Reader, owner kinds.Object, selector labels.Selector) []*appsv1.ControllerRevision {
	list := client.All[*appsv1.ControllerRevision](s.Owned(apps.ControllerRevision, owner.GetNamespace(), owner.GetUID()))
	list = slices.DeleteFunc(list, func(r *appsv1.ControllerRevision) bool { return !metav1.IsControlledBy(r, owner) })
	for _, r := range client.All[*appsv1.ControllerRevision](s.List(apps.ControllerRevision, owner.GetNamespace(), selector)) {
		if metav1.GetControllerOfNoCopy(r) == nil {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// New is the revision that stands for a template of an owner. Its hash goes into a label.
func New(owner kinds.Object, k *kinds.Kind, template *corev1.PodTemplateSpec, number int64, collisions *int32, label string) (*appsv1.ControllerRevision, error) {
	data, err := encode(template)
	if err != nil {
		return nil, err
	}
	h := fnv.New32()
	h.Write(data)
	if collisions != nil {
		h.Write([]byte(strconv.FormatInt(int64(*collisions), 10)))
	}
	hash := rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
	r := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Name: owner.GetName()[:min(len(owner.GetName()), 223)] + "-" + hash, Namespace: owner.GetNamespace(), Labels: maps.Clone(template.Labels),
			Annotations: maps.Clone(owner.GetAnnotations()), OwnerReferences: []metav1.OwnerReference{controllers.ControllerRef(owner, k)},
		},
		Data: runtime.RawExtension{Raw: data}, Revision: number,
	}
	if r.Labels == nil {
		r.Labels = map[string]string{}
	}
	r.Labels[label] = hash
	return r, nil
}

// encode makes the patch that brings a template back.
func encode(t *corev1.PodTemplateSpec) ([]byte, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	var template map[string]any
	if err := json.Unmarshal(data, &template); err != nil {
		return nil, err
	}
	template["$patch"] = "replace"
	return json.Marshal(map[string]any{"spec": map[string]any{"template": template}})
}

// Template is the template that a revision stands for, with defaults.
func Template(r *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, error) {
	var patch struct {
		Spec struct {
			Template *corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &patch); err != nil {
		return nil, fmt.Errorf("ControllerRevision %s/%s: %w", r.Namespace, r.Name, err)
	}
	if patch.Spec.Template == nil {
		return nil, fmt.Errorf("ControllerRevision %s/%s holds no template", r.Namespace, r.Name)
	}
	podspec.SetTemplateDefaults(patch.Spec.Template)
	return patch.Spec.Template, nil
}

// Next is the number of the next revision.
func Next(sorted []*appsv1.ControllerRevision) int64 {
	if len(sorted) == 0 {
		return 1
	}
	return sorted[len(sorted)-1].Revision + 1
}

// Find is the newest revision that stands for the same template as want, or nil. The newest of all is also compared by meaning: what was written by another
// version may have other defaults in it.
func Find(sorted []*appsv1.ControllerRevision, want *appsv1.ControllerRevision, template *corev1.PodTemplateSpec) *appsv1.ControllerRevision {
	for _, r := range slices.Backward(sorted) {
		if Equal(r, want) {
			return r
		}
	}
	if len(sorted) > 0 {
		newest := sorted[len(sorted)-1]
		if t, err := Template(newest); err == nil && equality.Semantic.DeepEqual(t, template) {
			return newest
		}
	}
	return nil
}

// Equal reports whether two revisions hold the same data. The order of fields in it may differ, where it was read and written again.
func Equal(a, b *appsv1.ControllerRevision) bool {
	if bytes.Equal(a.Data.Raw, b.Data.Raw) {
		return true
	}
	var x, y any
	return json.Unmarshal(a.Data.Raw, &x) == nil && json.Unmarshal(b.Data.Raw, &y) == nil && equality.Semantic.DeepEqual(x, y)
}

// Number plans to give a revision a number, for it is the newest again.
func Number(r *appsv1.ControllerRevision, number int64) controllers.Update {
	updated := r.DeepCopy()
	updated.Revision = number
	return controllers.Update{Kind: apps.ControllerRevision, Object: updated}
}

// Surplus plans the deletion of the oldest revisions beyond a limit. Those that are in use do not count and stay. A negative limit keeps all.
func Surplus(sorted []*appsv1.ControllerRevision, limit *int32, inUse func(r *appsv1.ControllerRevision) bool) []controllers.Delete {
	old := slices.DeleteFunc(slices.Clone(sorted), inUse)
	if limit == nil || *limit < 0 || len(old) <= int(*limit) {
		return nil
	}
	var deletes []controllers.Delete
	for _, r := range old[:len(old)-int(*limit)] {
		deletes = append(deletes, controllers.DeleteOf(apps.ControllerRevision, r))
	}
	return deletes
}

// Taken is what the name of a new revision that is taken means.
type Taken int

const (
	Ours      Taken = iota // it is the very revision, from a create whose answer was lost, or which the cache did not show
	Unseen                 // it cannot be seen yet
	Collision              // it is another one: the collision count has to be raised, which changes the name
)

// NameTaken says what it means that a revision's name is taken.
func NameTaken(s controllers.Reader, owner kinds.Object, r *appsv1.ControllerRevision) Taken {
	there, ok := controllers.As[*appsv1.ControllerRevision](s, apps.ControllerRevision, r.Namespace, r.Name)
	switch {
	case !ok:
		return Unseen
	case metav1.IsControlledBy(there, owner) && Equal(there, r):
		return Ours
	}
	return Collision
}
