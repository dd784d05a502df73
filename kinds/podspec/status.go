package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// ValidateStatus says what is wrong with a write to the status subresource. pod's spec is old's.
func ValidateStatus(pod, old *corev1.Pod) field.ErrorList {
	c := checker{leniency: lenientForPod(old)}
	c.annotationsKept(pod, old)
	c.annotations(metaPath.Child("annotations"), pod.Annotations, &pod.Spec)
	p, is, was := statusPath, &pod.Status, &old.Status
	c.conditions(p.Child("conditions"), is.Conditions)
	if pod.Spec.NodeName != old.Spec.NodeName {
		c.forbidden(p.Child("nodeName"), "may not be changed directly")
	}
	if nominated := is.NominatedNodeName; nominated != "" && nominated != was.NominatedNodeName {
		c.dnsSubdomain(p.Child("nominatedNodeName"), nominated)
		if old.Spec.NodeName != "" {
			c.forbidden(p.Child("nominatedNodeName"), "may not be set on pods that are already bound to a node")
		}
	}
	if is.ObservedGeneration < 0 {
		c.invalid(p.Child("observedGeneration"), is.ObservedGeneration, "must be a non-negative integer")
	}
	if is.QOSClass != was.QOSClass {
		c.invalid(p.Child("qosClass"), is.QOSClass, "field is immutable")
	}
	c.transitions(pod, old)
	c.claimStatuses(p.Child("resourceClaimStatuses"), is.ResourceClaimStatuses, pod.Spec.ResourceClaims)
	c.extendedClaim(p.Child("extendedResourceClaimStatus"), is.ExtendedResourceClaimStatus, &pod.Spec)
	ips := func(list []corev1.PodIP) (out []string) {
		for _, ip := range list {
			out = append(out, ip.IP)
		}
		return out
	}
	c.ips(p.Child("podIPs"), ips(is.PodIPs), ips(was.PodIPs), is.PodIPs)
	hostIPs := func(list []corev1.HostIP) (out []string) {
		for _, ip := range list {
			out = append(out, ip.IP)
		}
		return out
	}
	if len(is.HostIPs) > 0 && is.HostIP != is.HostIPs[0].IP {
		c.invalid(p.Child("hostIPs").Index(0).Child("ip"), is.HostIPs[0].IP, "must be equal to `hostIP`")
	}
	c.ips(p.Child("hostIPs"), hostIPs(is.HostIPs), hostIPs(was.HostIPs), is.HostIPs)
	for _, l := range statusLists(is) {
		c.containerUsers(p.Child(l.name), l.statuses, pod.Spec.OS)
	}
	c.allocatedResources(p.Child("containerStatuses"), is.ContainerStatuses, pod.Spec.Containers)
	c.allocatedResources(p.Child("initContainerStatuses"), is.InitContainerStatuses, pod.Spec.InitContainers)
	for i := range is.EphemeralContainerStatuses {
		if len(is.EphemeralContainerStatuses[i].AllocatedResourcesStatus) > 0 {
			c.forbidden(p.Child("ephemeralContainerStatuses").Index(i).Child("allocatedResourcesStatus"), "must not be specified in container status")
		}
	}
	return c.errs
}

type statusList struct {
	name     string
	statuses []corev1.ContainerStatus
}

func statusLists(s *corev1.PodStatus) []statusList {
	return []statusList{{"containerStatuses", s.ContainerStatuses}, {"initContainerStatuses", s.InitContainerStatuses}, {"ephemeralContainerStatuses", s.EphemeralContainerStatuses}}
}

func (c *checker) conditions(p *field.Path, conditions []corev1.PodCondition) {
	for i := range conditions {
		cond := &conditions[i]
		if cond.ObservedGeneration < 0 {
			c.invalid(p.Index(i).Child("observedGeneration"), cond.ObservedGeneration, "must be a non-negative integer")
		}
		switch cond.Type {
		case corev1.PodScheduled, corev1.PodReady, corev1.PodInitialized:
		default:
			c.qualifiedName(p.Index(i).Child("Type"), string(cond.Type))
		}
	}
}

// transitions: a container that has ended and is not to restart stays ended.
func (c *checker) transitions(pod, old *corev1.Pod) {
	spec := &old.Spec
	restartAll := func(ctr *corev1.Container) bool {
		return slices.ContainsFunc(ctr.RestartPolicyRules, func(r corev1.ContainerRestartRule) bool {
			return r.Action == corev1.ContainerRestartRuleActionRestartAllContainers
		})
	}
	check := func(p *field.Path, is, was []corev1.ContainerStatus, containers []corev1.Container) {
		for i := range was {
			if was[i].State.Terminated == nil {
				continue
			}
			for j := range is {
				if is[j].Name != was[i].Name || is[j].State.Terminated != nil {
					continue
				}
				allowed := false
				for k := range containers {
					if containers[k].Name == was[i].Name {
						allowed = ShouldRestart(spec, &containers[k], was[i].State.Terminated.ExitCode)
						break
					}
				}
				if !allowed {
					c.forbidden(p.Index(i).Child("state"), "may not be transitioned to non-terminated state")
				}
				break
			}
		}
	}
	if !slices.ContainsFunc(spec.Containers, func(ctr corev1.Container) bool { return restartAll(&ctr) }) &&
		!slices.ContainsFunc(spec.InitContainers, func(ctr corev1.Container) bool { return restartAll(&ctr) }) {
		check(statusPath.Child("containerStatuses"), pod.Status.ContainerStatuses, old.Status.ContainerStatuses, spec.Containers)
		check(statusPath.Child("initContainerStatuses"), pod.Status.InitContainerStatuses, old.Status.InitContainerStatuses, spec.InitContainers)
	}
	check(statusPath.Child("ephemeralContainerStatuses"), pod.Status.EphemeralContainerStatuses, old.Status.EphemeralContainerStatuses, nil)
}

// ShouldRestart reports whether a container that ended with a code is to be started again: by its rules, by its own policy, by the pod's.
func ShouldRestart(spec *corev1.PodSpec, ctr *corev1.Container, code int32) bool {
	policy := corev1.ContainerRestartPolicy(spec.RestartPolicy)
	if ctr.RestartPolicy != nil {
		for _, rule := range ctr.RestartPolicyRules {
			if rule.ExitCodes == nil {
				continue
			}
			in := slices.Contains(rule.ExitCodes.Values, code)
			if in == (rule.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn) {
				return true
			}
		}
		policy = *ctr.RestartPolicy
	}
	switch policy {
	case corev1.ContainerRestartPolicyNever:
		return false
	case corev1.ContainerRestartPolicyOnFailure:
		return code != 0
	}
	return true
}

// ips: addresses that are new must be valid; two are one of each family. value is what the message shows.
func (c *checker) ips(p *field.Path, ips, old []string, value any) {
	for i, ip := range ips {
		c.ip(p.Index(i), ip, old)
	}
	if len(ips) < 2 {
		return
	}
	dual, err := netutils.IsDualStackIPStrings(ips)
	if err != nil {
		c.errs = append(c.errs, field.InternalError(p, fmt.Errorf("failed to check for dual stack with error:%v", err)))
	}
	if !dual || len(ips) > 2 {
		c.invalid(p, value, "may specify no more than one IP for each IP family")
	}
}

func (c *checker) claimStatuses(p *field.Path, statuses []corev1.PodResourceClaimStatus, claims []corev1.PodResourceClaim) {
	names, seen := claimNames(claims), sets.Set[string]{}
	for i, s := range statuses {
		at := p.Index(i)
		if !names.Has(s.Name) {
			c.invalid(at.Child("name"), s.Name, "must match the name of an entry in `spec.resourceClaims`")
		}
		if seen.Has(s.Name) {
			c.duplicate(at.Child("name"), s.Name)
		}
		seen.Insert(s.Name)
		if s.ResourceClaimName != nil {
			c.dnsSubdomain(at.Child("resourceClaimName"), *s.ResourceClaimName)
		}
	}
}

func (c *checker) extendedClaim(p *field.Path, s *corev1.PodExtendedResourceClaimStatus, spec *corev1.PodSpec) {
	if s == nil {
		return
	}
	containers := map[string]*corev1.Container{}
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			containers[list[i].Name] = &list[i]
		}
	}
	mappings := p.Child("requestMappings")
	if len(s.RequestMappings) == 0 {
		c.required(mappings, "at least one request mapping is required")
	}
	seen := sets.Set[corev1.ContainerExtendedResourceRequest]{}
	for i, m := range s.RequestMappings {
		at := mappings.Index(i)
		if ctr := containers[m.ContainerName]; ctr == nil {
			c.invalid(at.Child("containerName"), m.ContainerName, "must match the name of an entry in spec.initContainers.name or spec.containers.name")
		} else if !has(ctr.Resources.Requests, corev1.ResourceName(m.ResourceName)) {
			c.invalid(at.Child("resourceName"), m.ResourceName, "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests")
		}
		c.dnsLabel(p.Child("requestName"), m.RequestName)
		if seen.Has(m) {
			c.duplicate(at.Child("containerName"), m.ContainerName)
			c.duplicate(at.Child("resourceName"), m.ResourceName)
			c.duplicate(at.Child("requestName"), m.RequestName)
		}
		seen.Insert(m)
	}
	if s.ResourceClaimName == "" {
		c.required(p.Child("resourceClaimName"), "")
	} else {
		c.dnsSubdomain(p.Child("resourceClaimName"), s.ResourceClaimName)
	}
}

func (c *checker) containerUsers(p *field.Path, statuses []corev1.ContainerStatus, os *corev1.PodOS) {
	for i := range statuses {
		if statuses[i].User == nil || statuses[i].User.Linux == nil {
			continue
		}
		at, user := p.Index(i).Child("user", "linux"), statuses[i].User.Linux
		switch {
		case os != nil && os.Name == corev1.Windows:
			c.forbidden(at, "cannot be set for a windows pod")
		case os == nil || os.Name == corev1.Linux:
			c.user(at.Child("uid"), &user.UID)
			c.group(at.Child("gid"), &user.GID)
			for g := range user.SupplementalGroups {
				c.group(at.Child("supplementalGroups").Index(g), &user.SupplementalGroups[g])
			}
		}
	}
}

// allocatedResources checks the health of devices: they are a container's, each once.
func (c *checker) allocatedResources(p *field.Path, statuses []corev1.ContainerStatus, containers []corev1.Container) {
	for i := range statuses {
		for j, r := range statuses[i].AllocatedResourcesStatus {
			at := p.Index(i).Child("allocatedResourcesStatus").Index(j)
			k := slices.IndexFunc(containers, func(ctr corev1.Container) bool { return ctr.Name == statuses[i].Name })
			if k >= 0 {
				c.allocatedResource(at.Child("name"), r.Name, &containers[k].Resources)
			}
			seen := sets.Set[corev1.ResourceID]{}
			for n, h := range r.Resources {
				at := at.Child("resources").Index(n)
				oneOf(c, at.Child("health"), h.Health, corev1.ResourceHealthStatusHealthy, corev1.ResourceHealthStatusUnhealthy, corev1.ResourceHealthStatusUnknown)
				if h.Message != nil && *h.Message == "" {
					c.required(at.Child("message"), "must be non-empty if specified")
				} else if h.Message != nil && len(*h.Message) > corev1.ResourceHealthMessageMaxLength {
					c.tooLong(at.Child("message"), corev1.ResourceHealthMessageMaxLength)
				}
				if seen.Has(h.ResourceID) {
					c.duplicate(at.Child("resourceID"), h.ResourceID)
				}
				seen.Insert(h.ResourceID)
			}
		}
	}
}

func (c *checker) allocatedResource(p *field.Path, name corev1.ResourceName, r *corev1.ResourceRequirements) {
	if !strings.HasPrefix(string(name), "claim:") {
		if !has(r.Requests, name) {
			c.invalid(p, name, "must match one of the container's resource requests")
		}
		return
	}
	for _, claim := range r.Claims {
		of := "claim:" + claim.Name
		if claim.Request != "" {
			of += "/" + claim.Request
		}
		if of == string(name) {
			return
		}
	}
	c.invalid(p, name, "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty")
}
