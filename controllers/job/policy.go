package job

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// match is what a policy makes of a failed pod.
type match struct {
	action batchv1.PodFailurePolicyAction // "" when no rule is about it
	counts bool                           // towards backoffLimit
	// message says why the Job fails, for the action FailJob.
	message string
}

// matchFailure finds the first rule that a failed pod meets.
func matchFailure(policy *batchv1.PodFailurePolicy, pod *corev1.Pod) match {
	if policy == nil {
		return match{counts: true}
	}
	for i := range policy.Rules {
		rule := &policy.Rules[i]
		why := ""
		switch {
		case rule.OnExitCodes != nil:
			if c := exitedWith(pod, rule.OnExitCodes); c != nil {
				why = fmt.Sprintf("Container %s for pod %s/%s failed with exit code %v", c.Name, pod.Namespace, pod.Name, c.State.Terminated.ExitCode)
			}
		case rule.OnPodConditions != nil:
			if c := hasOneOf(pod, rule.OnPodConditions); c != nil {
				why = fmt.Sprintf("Pod %s/%s has condition %v", pod.Namespace, pod.Name, c.Type)
			}
		}
		if why == "" {
			continue
		}
		switch rule.Action {
		case batchv1.PodFailurePolicyActionIgnore:
			return match{action: rule.Action}
		case batchv1.PodFailurePolicyActionFailIndex, batchv1.PodFailurePolicyActionCount:
			return match{action: rule.Action, counts: true}
		case batchv1.PodFailurePolicyActionFailJob:
			return match{action: rule.Action, counts: true, message: fmt.Sprintf("%s matching %v rule at index %d", why, rule.Action, i)}
		}
	}
	return match{counts: true}
}

// exitedWith is the first container that ended with a code that the rule means. A code of zero is no failure.
func exitedWith(pod *corev1.Pod, rule *batchv1.PodFailurePolicyOnExitCodesRequirement) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			c := &list[i]
			if c.State.Terminated == nil || c.State.Terminated.ExitCode == 0 || rule.ContainerName != nil && *rule.ContainerName != c.Name {
				continue
			}
			in := slices.Contains(rule.Values, c.State.Terminated.ExitCode)
			if rule.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && in || rule.Operator == batchv1.PodFailurePolicyOnExitCodesOpNotIn && !in {
				return c
			}
		}
	}
	return nil
}

func hasOneOf(pod *corev1.Pod, patterns []batchv1.PodFailurePolicyOnPodConditionsPattern) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		for _, p := range patterns {
			if c.Type == p.Type && c.Status == p.Status {
				return c
			}
		}
	}
	return nil
}

// failMessage is why a pod's failure fails the Job, or empty.
func (w *work) failMessage() string {
	if w.job.Spec.PodFailurePolicy == nil {
		return ""
	}
	for _, pod := range w.pods {
		if !w.podFailed(pod) {
			continue
		}
		if message := matchFailure(w.job.Spec.PodFailurePolicy, pod).message; message != "" {
			return message
		}
	}
	return ""
}

// matchSuccess says which rule of a success policy is met, or "".
func matchSuccess(policy *batchv1.SuccessPolicy, completions int, succeeded intervals) string {
	if policy == nil || len(succeeded) == 0 {
		return ""
	}
	for i, rule := range policy.Rules {
		met := false
		if rule.SucceededIndexes == nil {
			met = rule.SucceededCount != nil && succeeded.total() >= int(*rule.SucceededCount)
		} else if wanted := parseIntervals(*rule.SucceededIndexes, completions); len(wanted) > 0 {
			have := 0
			for _, v := range wanted {
				for _, s := range succeeded {
					have += max(0, min(v[1], s[1])-max(v[0], s[0])+1)
				}
			}
			met = have == wanted.total() || rule.SucceededCount != nil && have >= int(*rule.SucceededCount)
		}
		if met {
			return fmt.Sprintf("Matched rules at index %d", i)
		}
	}
	return ""
}
