package podspec

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const onlyThese = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
	"`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n%v"

// ValidatePodUpdate says what is wrong with a change through the main resource. Images, a shorter deadline, further tolerations and fewer scheduling gates
// are all a pod may change; while it is gated also a narrower choice of nodes.
func ValidatePodUpdate(pod, old *corev1.Pod) field.ErrorList {
	c := checker{leniency: lenientForPod(old)}
	c.annotationsKept(pod, old)
	c.pod(pod)
	if !c.images(specPath.Child("containers"), pod.Spec.Containers, old.Spec.Containers) ||
		!c.images(specPath.Child("initContainers"), pod.Spec.InitContainers, old.Spec.InitContainers) ||
		!c.deadline(specPath.Child("activeDeadlineSeconds"), pod.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds) {
		return c.errs
	}
	c.onlyMoreTolerations(specPath.Child("tolerations"), pod.Spec.Tolerations, old.Spec.Tolerations)
	c.onlyFewerGates(specPath.Child("schedulingGates"), pod.Spec.SchedulingGates, old.Spec.SchedulingGates)
	if equality.Semantic.DeepEqual(pod.Spec, old.Spec) {
		return c.errs
	}

	// What may change is set back; then nothing may differ. The copy is as deep as what is written to.
	spec := pod.Spec
	spec.Containers = withImages(spec.Containers, old.Spec.Containers)
	spec.InitContainers = withImages(spec.InitContainers, old.Spec.InitContainers)
	spec.ActiveDeadlineSeconds = old.Spec.ActiveDeadlineSeconds
	spec.SchedulingGates = old.Spec.SchedulingGates
	spec.Tolerations = old.Spec.Tolerations
	if was, is := old.Spec.TerminationGracePeriodSeconds, spec.TerminationGracePeriodSeconds; was != nil && *was < 0 && is != nil && *is == 1 {
		spec.TerminationGracePeriodSeconds = was
	}
	if len(old.Spec.SchedulingGates) > 0 {
		c.gatedChanges(&spec, &old.Spec)
	}
	if !equality.Semantic.DeepEqual(spec, old.Spec) {
		c.forbidden(specPath, fmt.Sprintf(onlyThese, diff.Diff(old.Spec, spec)))
	}
	return c.errs
}

func lenientForPod(old *corev1.Pod) leniency {
	l := lenientFor(&old.Spec, old.Annotations)
	l.isPod = true
	return l
}

// annotationsKept refuses changes of the annotations that say what a pod is.
func (c *checker) annotationsKept(pod, old *corev1.Pod) {
	p := metaPath.Child("annotations")
	for _, k := range slices.Sorted(maps.Keys(old.Annotations)) {
		if v, ok := pod.Annotations[k]; ok && v == old.Annotations[k] {
			continue
		}
		if strings.HasPrefix(k, appArmorAnnotations) {
			c.forbidden(p.Key(k), "may not remove or update AppArmor annotations")
		}
		if k == mirrorAnnotation {
			c.forbidden(p.Key(k), "may not remove or update mirror pod annotation")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(pod.Annotations)) {
		if _, ok := old.Annotations[k]; ok {
			continue
		}
		if strings.HasPrefix(k, appArmorAnnotations) {
			c.forbidden(p.Key(k), "may not add AppArmor annotations")
		}
		if k == mirrorAnnotation {
			c.forbidden(p.Key(k), "may not add mirror pod annotation")
		}
	}
}

// images reports whether the lists can be compared further. The images themselves have been checked with the pod.
func (c *checker) images(p *field.Path, containers, old []corev1.Container) bool {
	if len(containers) != len(old) {
		c.forbidden(p, "pod updates may not add or remove containers")
		return false
	}
	return true
}

// deadline may be set, and set lower. false: do not look further.
func (c *checker) deadline(p *field.Path, seconds, old *int64) bool {
	switch {
	case seconds == nil:
		if old != nil {
			c.invalid(p, seconds, "must not update from a positive integer to nil value")
		}
	case *seconds < 0 || *seconds > math.MaxInt32:
		c.invalid(p, *seconds, validation.InclusiveRangeError(0, math.MaxInt32))
		return false
	case old != nil && *old < *seconds:
		c.invalid(p, *seconds, "must be less than or equal to previous value")
		return false
	}
	return true
}

func (c *checker) onlyMoreTolerations(p *field.Path, tolerations, old []corev1.Toleration) {
	for _, was := range old {
		kept := slices.ContainsFunc(tolerations, func(is corev1.Toleration) bool {
			is.TolerationSeconds = was.TolerationSeconds // may change
			return is == was
		})
		if !kept {
			c.forbidden(p, "existing toleration can not be modified except its tolerationSeconds")
			return
		}
	}
}

func (c *checker) onlyFewerGates(p *field.Path, gates, old []corev1.PodSchedulingGate) {
	for i, gate := range gates {
		if !slices.Contains(old, gate) && !slices.Contains(gates[i+1:], gate) { // the last of equal ones is reported
			c.forbidden(p.Index(i).Child("name"), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", gate.Name))
		}
	}
}

func withImages(containers, old []corev1.Container) []corev1.Container {
	if len(containers) == 0 {
		return nil
	}
	out := slices.Clone(containers)
	for i := range out {
		out[i].Image = old[i].Image
	}
	return out
}

// gatedChanges: a gated pod's node selector and required node affinity may become narrower. They are set back in spec.
func (c *checker) gatedChanges(spec, old *corev1.PodSpec) {
	for k, v := range old.NodeSelector {
		if is, ok := spec.NodeSelector[k]; !ok || is != v {
			c.invalid(specPath.Child("nodeSelector"), spec.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)")
			break
		}
	}
	spec.NodeSelector = old.NodeSelector

	var is, was *corev1.NodeAffinity
	if old.Affinity != nil {
		was = old.Affinity.NodeAffinity
	}
	if spec.Affinity != nil {
		is = spec.Affinity.NodeAffinity
	}
	if equality.Semantic.DeepEqual(was, is) {
		return
	}
	c.onlyNarrower(specPath.Child("affinity", "nodeAffinity", requiredTerms, "nodeSelectorTerms"), is, was)
	affinity := corev1.Affinity{}
	if spec.Affinity != nil {
		affinity = *spec.Affinity
	}
	affinity.NodeAffinity = was
	spec.Affinity = &affinity
	if affinity == (corev1.Affinity{}) && old.Affinity == nil {
		spec.Affinity = nil
	}
}

func (c *checker) onlyNarrower(p *field.Path, a, old *corev1.NodeAffinity) {
	if old == nil || old.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return
	}
	var terms []corev1.NodeSelectorTerm
	if a != nil && a.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		terms = a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	}
	oldTerms := old.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	if len(oldTerms) > 0 && len(oldTerms) != len(terms) {
		c.invalid(p, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
		return
	}
	for i := range oldTerms {
		is, was := &terms[i], &oldTerms[i]
		// An empty term matches nothing: any requirement would widen it.
		wasEmpty := len(was.MatchExpressions)+len(was.MatchFields) == 0
		if wasEmpty && len(is.MatchExpressions)+len(is.MatchFields) > 0 ||
			!startsWith(is.MatchExpressions, was.MatchExpressions) || !startsWith(is.MatchFields, was.MatchFields) {
			c.invalid(p.Index(i), *is, "only additions are allowed (no mutations or deletions)")
		}
	}
}

func startsWith(list, prefix []corev1.NodeSelectorRequirement) bool {
	return len(list) >= len(prefix) && (len(prefix) == 0 || equality.Semantic.DeepEqual(list[:len(prefix)], prefix))
}

// ValidateEphemeralContainers says what is wrong with a write to the ephemeralcontainers subresource: containers may be added, and nothing else.
func ValidateEphemeralContainers(pod, old *corev1.Pod) field.ErrorList {
	if _, mirror := old.Annotations[mirrorAnnotation]; mirror {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers")}
	}
	c := checker{leniency: lenientForPod(old)}
	c.annotationsKept(pod, old)
	c.pod(pod)
	p := specPath.Child("ephemeralContainers")
	for i := range old.Spec.EphemeralContainers {
		was := &old.Spec.EphemeralContainers[i]
		j := slices.IndexFunc(pod.Spec.EphemeralContainers, func(is corev1.EphemeralContainer) bool { return is.Name == was.Name })
		if j < 0 {
			c.forbidden(p, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", was.Name))
		} else if is := &pod.Spec.EphemeralContainers[j]; !equality.Semantic.DeepEqual(was, is) {
			c.forbidden(p, fmt.Sprintf("existing ephemeral containers %q may not be changed\n%v", was.Name, diff.Diff(*was, *is)))
		}
	}
	return c.errs
}
