package podspec

import (
	corev1 "k8s.io/api/core/v1"
)

// leniency is what a changed object may keep because the old one had it: rules that have become stricter, and features behind gates that are off, must
// not make stored objects unchangeable. The zero value is right for new templates.
type leniency struct {
	// isPod: this is a pod, not a template. Templates leave out what is set when a pod is made.
	isPod bool

	anyClaimSelector       bool // label values that are not valid, in selectors of claims
	anyDataSourceGroup     bool // data sources of groups that are no groups
	anyDeletionCost        bool // an annotation that is no number
	anySelectorValue       bool // label values that are not valid, in selectors of pod affinity
	anyNodeLabelValue      bool // the same in required node affinity
	anySpreadSelector      bool // selectors of topology spread that are not valid
	oldMatchLabelKeys      bool // matchLabelKeys of topology spread that only the rule of 1.33 lets pass
	anySELinuxChangePolicy bool // MountOption (gate SELinuxMount)
	comparingTolerations   bool // Lt and Gt (gate TaintTolerationComparisonOperators)
	hostSysctls            bool // sysctls of the host's namespaces
	indivisibleHugePages   bool // parts of a page
	initResizeRestart      bool // RestartContainer in an init container that is no sidecar
	nonLocalTokenPath      bool // absolute paths of projected tokens
	ownUsersDevices        bool // volume devices in a user namespace
	ownUsersHostNetwork    bool // a user namespace with the host's network (gate UserNamespacesHostNetworkSupport)
}

// lenientFor looks for what is wrong with old today.
func lenientFor(old *corev1.PodSpec, annotations map[string]string) leniency {
	var l leniency
	if cost, ok := annotations[corev1.PodDeletionCost]; ok {
		l.anyDeletionCost = !validDeletionCost(cost)
	}
	if old == nil {
		return l
	}
	wrong := func(check func(c *checker)) bool {
		c := checker{leniency: leniency{}}
		check(&c)
		return len(c.errs) > 0
	}
	if a := old.Affinity; a != nil {
		if n := a.NodeAffinity; n != nil && n.RequiredDuringSchedulingIgnoredDuringExecution != nil {
			l.anyNodeLabelValue = anyWrongValue(n.RequiredDuringSchedulingIgnoredDuringExecution)
		}
		forAffinityTerms(a, func(t *corev1.PodAffinityTerm) {
			l.anySelectorValue = l.anySelectorValue || wrong(func(c *checker) { c.podAffinitySelectors(nil, t, false) })
		})
	}
	for i := range old.TopologySpreadConstraints {
		t := &old.TopologySpreadConstraints[i]
		l.anySpreadSelector = l.anySpreadSelector || wrong(func(c *checker) { c.labelSelector(nil, t.LabelSelector, false) })
		l.oldMatchLabelKeys = l.oldMatchLabelKeys || wrong(func(c *checker) { c.matchLabelKeys(nil, t.MatchLabelKeys, nil, t.LabelSelector) })
	}
	for _, t := range old.Tolerations {
		l.comparingTolerations = l.comparingTolerations || t.Operator == corev1.TolerationOpLt || t.Operator == corev1.TolerationOpGt
	}
	for i := range old.Volumes {
		if old.Volumes[i].Projected == nil {
			continue
		}
		for _, s := range old.Volumes[i].Projected.Sources {
			if t := s.ServiceAccountToken; t != nil {
				l.nonLocalTokenPath = l.nonLocalTokenPath || wrong(func(c *checker) { c.keyPath(nil, t.Path) })
			}
		}
	}
	for i := range old.InitContainers {
		for _, policy := range old.InitContainers[i].ResizePolicy {
			l.initResizeRestart = l.initResizeRestart || policy.RestartPolicy == corev1.RestartContainer && !IsSidecar(&old.InitContainers[i])
		}
	}
	if sc := old.SecurityContext; sc != nil {
		l.anySELinuxChangePolicy = sc.SELinuxChangePolicy != nil
		for _, s := range sc.Sysctls {
			l.hostSysctls = l.hostSysctls || hostSysctl(s.Name, old) != ""
		}
	}
	if ownUsers(old) {
		l.ownUsersHostNetwork = old.HostNetwork
		l.ownUsersDevices = anyContainer(old, func(ctr *corev1.Container) bool { return len(ctr.VolumeDevices) > 0 })
	}
	l.indivisibleHugePages = partsOfPages(old.Overhead) || anyContainer(old, func(ctr *corev1.Container) bool {
		return partsOfPages(ctr.Resources.Limits) || partsOfPages(ctr.Resources.Requests)
	})
	return l
}

func partsOfPages(list corev1.ResourceList) bool {
	for name, q := range list {
		if isHugePages(name) && !hugePagesDivisible(name, q) {
			return true
		}
	}
	return false
}

// forAffinityTerms visits every term of pod affinity and anti-affinity, preferred ones first.
func forAffinityTerms(a *corev1.Affinity, visit func(*corev1.PodAffinityTerm)) {
	each := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range preferred {
			visit(&preferred[i].PodAffinityTerm)
		}
		for i := range required {
			visit(&required[i])
		}
	}
	if n := a.PodAffinity; n != nil {
		each(n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if n := a.PodAntiAffinity; n != nil {
		each(n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}
