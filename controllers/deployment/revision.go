package deployment

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/dump"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/apps"
)

// Annotations that kubectl reads.
const (
	revisionAnnotation        = "deployment.kubernetes.io/revision"
	revisionHistoryAnnotation = "deployment.kubernetes.io/revision-history"
	desiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas"
	maxReplicasAnnotation     = "deployment.kubernetes.io/max-replicas"

	maxRevisionHistory = 2000 // characters of revision-history
)

// ownAnnotations are not copied from a Deployment to its ReplicaSets.
var ownAnnotations = map[string]bool{
	corev1.LastAppliedConfigAnnotation: true, appsv1.DeprecatedRollbackTo: true,
	revisionAnnotation: true, revisionHistoryAnnotation: true, desiredReplicasAnnotation: true, maxReplicasAnnotation: true,
}

// recordRevision brings the current ReplicaSet's annotations and the Deployment's revision up to date. It reports whether the ReplicaSet has to be written
// first; that brings the next plan.
func (r *rollout) recordRevision() bool {
	if r.current == nil {
		return false
	}
	next := r.current.DeepCopy()
	if annotate(next, r.d, r.nextRevision()) || next.Spec.MinReadySeconds != r.d.Spec.MinReadySeconds {
		next.Spec.MinReadySeconds = r.d.Spec.MinReadySeconds
		r.p.Updates = append(r.p.Updates, controllers.Update{Kind: apps.ReplicaSet, Object: next})
		return true
	}
	r.setRevision(r.current.Annotations[revisionAnnotation])
	if hasDeadline(r.d) && condition(&r.d.Status, appsv1.DeploymentProgressing) == nil {
		r.progress(&r.d.Status, corev1.ConditionTrue, "FoundNewReplicaSet", fmt.Sprintf("Found new replica set %q", r.current.Name))
	}
	return false
}

func (r *rollout) nextRevision() int64 {
	highest := int64(0)
	for _, rs := range r.old {
		highest = max(highest, revision(rs))
	}
	return highest + 1
}

func (r *rollout) setRevision(revision string) {
	if r.d.Annotations[revisionAnnotation] != revision {
		if r.d.Annotations == nil {
			r.d.Annotations = map[string]string{}
		}
		r.d.Annotations[revisionAnnotation] = revision
	}
}

// annotate copies the Deployment's annotations to its current ReplicaSet and raises its revision, keeping the one it had as history: it is rolled back to.
func annotate(rs *appsv1.ReplicaSet, d *appsv1.Deployment, next int64) bool {
	before := maps.Clone(rs.Annotations)
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	for k, v := range d.Annotations {
		if !ownAnnotations[k] {
			rs.Annotations[k] = v
		}
	}
	had, numbered := rs.Annotations[revisionAnnotation]
	if _, err := strconv.ParseInt(had, 10, 64); had != "" && err != nil {
		return !maps.Equal(before, rs.Annotations) // not ours to overwrite
	}
	if revision(rs) < next {
		rs.Annotations[revisionAnnotation] = strconv.FormatInt(next, 10)
		if numbered {
			rs.Annotations[revisionHistoryAnnotation] = appendHistory(rs.Annotations[revisionHistoryAnnotation], had)
		}
	}
	return !maps.Equal(before, rs.Annotations)
}

// appendHistory adds a revision to a list, dropping the oldest ones beyond the length that is kept.
func appendHistory(history, revision string) string {
	if history == "" {
		return revision
	}
	for len(history)+1+len(revision) > maxRevisionHistory {
		_, rest, ok := strings.Cut(history, ",")
		if !ok {
			return revision
		}
		history = rest
	}
	return history + "," + revision
}

// create plans a ReplicaSet for the Deployment's template.
func (r *rollout) create() {
	template := *r.d.Spec.Template.DeepCopy()
	hash := templateHash(&template, r.d.Status.CollisionCount)
	template.Labels = withLabel(template.Labels, hash)
	selector := r.d.Spec.Selector.DeepCopy()
	selector.MatchLabels = withLabel(selector.MatchLabels, hash)
	size := r.newReplicas(nil)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: replicaSetName(r.d.Name, hash), Namespace: r.d.Namespace, Labels: maps.Clone(template.Labels),
			OwnerReferences: []metav1.OwnerReference{controllers.ControllerRef(r.d, apps.Deployment)},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &size, MinReadySeconds: r.d.Spec.MinReadySeconds, Selector: selector, Template: template},
	}
	annotate(rs, r.d, r.nextRevision())
	annotateReplicas(rs, *r.d.Spec.Replicas, *r.d.Spec.Replicas+maxSurge(r.d))

	c := controllers.Create{Kind: apps.ReplicaSet, Object: rs, Exists: true}
	if size > 0 {
		c.Done = r.scalingEvent("up", rs.Name, 0, size)
	}
	r.p.Creates = []controllers.Create{c}
	r.p.Then = func(out controllers.Outcome) controllers.Plan { return r.created(rs, out) }
}

// created says in status how the creation of a ReplicaSet went.
func (r *rollout) created(rs *appsv1.ReplicaSet, out controllers.Outcome) controllers.Plan {
	r.p = controllers.Plan{}
	switch {
	case len(out.Exists) > 0 && out.Exists[0]:
		r.nameTaken(rs)
	case controllers.Stale(out.Err):
	case out.Err != nil:
		msg := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, out.Err)
		if hasDeadline(r.d) {
			r.progress(&r.d.Status, corev1.ConditionFalse, "ReplicaSetCreateError", msg)
			r.setStatus(r.d.Status)
		}
		r.event(corev1.EventTypeWarning, "ReplicaSetCreateError", msg)
	case len(out.Created) > 0 && out.Created[0] != nil:
		r.current = out.Created[0].(*appsv1.ReplicaSet)
		r.setRevision(r.current.Annotations[revisionAnnotation])
		if hasDeadline(r.d) {
			r.progress(&r.d.Status, corev1.ConditionTrue, "NewReplicaSetCreated", fmt.Sprintf("Created new replica set %q", rs.Name))
		}
		r.setStatus(r.rolloutStatus())
	}
	return r.p
}

// nameTaken: a ReplicaSet with our name is there. It is ours when a former create's answer was lost or the cache lags; otherwise two templates have one hash, and
// counting the collision changes ours.
func (r *rollout) nameTaken(rs *appsv1.ReplicaSet) {
	there, ok := controllers.As[*appsv1.ReplicaSet](r.s, apps.ReplicaSet, rs.Namespace, rs.Name)
	if !ok {
		r.p.Err = fmt.Errorf("ReplicaSet %s/%s exists, but is not seen yet", rs.Namespace, rs.Name)
		return
	}
	if metav1.IsControlledBy(there, r.d) && equalTemplate(&there.Spec.Template, &r.d.Spec.Template) {
		return
	}
	collisions := int32(1)
	if r.d.Status.CollisionCount != nil {
		collisions += *r.d.Status.CollisionCount
	}
	r.d.Status.CollisionCount = &collisions
	r.setStatus(r.d.Status)
}

// templateHash is upstream's, so that names look the same: FNV of the printed template.
func templateHash(t *corev1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%v", dump.ForHash(*t))
	if collisions != nil {
		var b [8]byte
		binary.LittleEndian.PutUint32(b[:], uint32(*collisions))
		h.Write(b[:])
	}
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}

func replicaSetName(deployment, hash string) string {
	return deployment[:min(len(deployment), validation.DNS1123SubdomainMaxLength-1-len(hash))] + "-" + hash
}

func withLabel(labels map[string]string, hash string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	out[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	return out
}

// equalTemplate compares templates but for the hash label.
func equalTemplate(a, b *corev1.PodTemplateSpec) bool {
	x, y := *a, *b
	x.Labels, y.Labels = withLabel(a.Labels, ""), withLabel(b.Labels, "")
	return equality.Semantic.DeepEqual(x, y)
}

// revision of a ReplicaSet; 0 when it has none, or none that is a number.
func revision(rs *appsv1.ReplicaSet) int64 {
	n, _ := strconv.ParseInt(rs.Annotations[revisionAnnotation], 10, 64)
	return n
}

func annotateReplicas(rs *appsv1.ReplicaSet, desired, most int32) bool {
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	changed := false
	for name, n := range map[string]int32{desiredReplicasAnnotation: desired, maxReplicasAnnotation: most} {
		if text := strconv.Itoa(int(n)); rs.Annotations[name] != text {
			rs.Annotations[name] = text
			changed = true
		}
	}
	return changed
}

func annotatedCount(rs *appsv1.ReplicaSet, name string) (int32, bool) {
	n, err := strconv.ParseUint(rs.Annotations[name], 10, 32)
	return int32(n), err == nil && n <= math.MaxInt32
}

// byAge sorts the oldest first.
func byAge(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

// byRevision sorts the lowest first.
func byRevision(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(cmp.Compare(revision(a), revision(b)), byAge(a, b))
}
