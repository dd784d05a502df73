package namespace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers"
)

// conditions says what a terminating namespace waits for, in upstream's words. Discovery cannot fail here: the kinds are known.
func conditions(have []corev1.NamespaceCondition, left []remaining, out controllers.Outcome, now time.Time) []corev1.NamespaceCondition {
	list := []corev1.NamespaceCondition{
		{Type: corev1.NamespaceDeletionDiscoveryFailure, Reason: "ResourcesDiscovered", Message: "All resources successfully discovered"},
		{Type: corev1.NamespaceDeletionGVParsingFailure, Reason: "ParsedGroupVersions", Message: "All legacy kube types successfully parsed"},
		{Type: corev1.NamespaceDeletionContentFailure, Reason: "ContentDeleted", Message: "All content successfully deleted, may be waiting on finalization"},
		{Type: corev1.NamespaceContentRemaining, Reason: "ContentRemoved", Message: "All content successfully removed"},
		{Type: corev1.NamespaceFinalizersRemaining, Reason: "ContentHasNoFinalizers", Message: "All content-preserving finalizers finished"},
	}
	state := func(i int, reason, message string) {
		list[i].Status, list[i].Reason, list[i].Message = corev1.ConditionTrue, reason, message
	}
	if failed := failures(out); len(failed) > 0 {
		state(2, "ContentDeletionFailed", fmt.Sprintf("Failed to delete all resource types, %d remaining: %s", len(failed), strings.Join(failed, ", ")))
	}
	var content []string
	byFinalizer := map[string]int{}
	for _, l := range left {
		content = append(content, fmt.Sprintf("%s.%s has %d resource instances", l.kind.Plural, l.kind.Served[0].Group, len(l.objs)))
		for _, obj := range l.objs {
			for _, f := range obj.GetFinalizers() {
				byFinalizer[f]++
			}
		}
	}
	if len(content) > 0 {
		slices.Sort(content)
		state(3, "SomeResourcesRemain", "Some resources are remaining: "+strings.Join(content, ", "))
	}
	if len(byFinalizer) > 0 {
		var text []string
		for f, n := range byFinalizer {
			text = append(text, fmt.Sprintf("%s in %d resource instances", f, n))
		}
		slices.Sort(text)
		state(4, "SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "+strings.Join(text, ", "))
	}
	all := slices.Clone(have)
	for _, c := range list {
		if c.Status == "" {
			c.Status = corev1.ConditionFalse
		}
		c.LastTransitionTime = metav1.NewTime(now)
		i := slices.IndexFunc(all, func(o corev1.NamespaceCondition) bool { return o.Type == c.Type })
		if i < 0 {
			all = append(all, c)
			continue
		}
		if all[i].Status == c.Status {
			c.LastTransitionTime = all[i].LastTransitionTime
		}
		all[i] = c
	}
	return all
}

func failures(out controllers.Outcome) []string {
	if out.Err == nil || controllers.Stale(out.Err) {
		return nil
	}
	var texts []string
	for _, err := range out.Failed {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if len(texts) == 0 {
		texts = append(texts, out.Err.Error())
	}
	slices.Sort(texts)
	return texts
}
