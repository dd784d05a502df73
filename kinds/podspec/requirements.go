package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	resourcehelper "k8s.io/component-helpers/resource"
)

// claimNames is the set of claims a pod names.
func claimNames(claims []corev1.PodResourceClaim) sets.Set[string] {
	names := sets.Set[string]{}
	for i := range claims {
		if claims[i].Name != "" {
			names.Insert(claims[i].Name)
		}
	}
	return names
}

func (c *checker) resourceName(p *field.Path, name corev1.ResourceName) bool {
	if details := validation.IsQualifiedName(string(name)); len(details) > 0 {
		c.each(p, name, details)
		return false
	}
	if !strings.Contains(string(name), "/") && !isStandardResource(name) {
		c.invalid(p, name, "must be a standard resource type or fully qualified")
		return false
	}
	return true
}

func (c *checker) containerResourceName(p *field.Path, name corev1.ResourceName) {
	c.resourceName(p, name)
	switch {
	case !strings.Contains(string(name), "/"):
		if !isContainerResource(name) {
			c.invalid(p, name, "must be a standard resource for containers")
		}
	case !isNative(name) && !IsExtendedResource(name):
		c.invalid(p, name, "doesn't follow extended resource name standard")
	}
}

func (c *checker) podResourceName(p *field.Path, name corev1.ResourceName) {
	if c.resourceName(p, name) && !resourcehelper.IsSupportedPodLevelResource(name) {
		c.errs = append(c.errs, field.NotSupported(p, name, sets.List(resourcehelper.SupportedPodLevelResources())))
	}
}

func (c *checker) quantity(p *field.Path, name corev1.ResourceName, q resource.Quantity) {
	c.nonNegativeQuantity(p, q)
	if (isObjectCount(name) || IsExtendedResource(name)) && q.MilliValue()%1000 != 0 {
		c.invalid(p, q, "must be an integer")
	}
}

// requirements checks limits and requests; name is the rule for resource names.
func (c *checker) requirements(p *field.Path, r *corev1.ResourceRequirements, name func(*field.Path, corev1.ResourceName), claims sets.Set[string]) {
	if len(r.Limits)+len(r.Requests)+len(r.Claims) == 0 {
		return
	}
	cpuOrMemory, hugePages := false, false
	one := func(p *field.Path, n corev1.ResourceName, q resource.Quantity) {
		name(p, n)
		c.quantity(p, n, q)
	}
	pages := func(p *field.Path, n corev1.ResourceName, q resource.Quantity) {
		if isHugePages(n) {
			hugePages = true
			if !c.indivisibleHugePages && !hugePagesDivisible(n, q) {
				c.invalid(p, q.String(), fmt.Sprintf("%s is not positive integer multiple of %s", q.String(), n))
			}
		}
		if n == corev1.ResourceCPU || n == corev1.ResourceMemory {
			cpuOrMemory = true
		}
	}
	limits, requests := p.Child("limits"), p.Child("requests")
	for _, n := range sortedNames(r.Limits) {
		key := limits.Key(string(n))
		one(key, n, r.Limits[n])
		pages(key, n, r.Limits[n])
	}
	for _, n := range sortedNames(r.Requests) {
		key, q := requests.Key(string(n)), r.Requests[n]
		one(key, n, q)
		limit, limited := r.Limits[n]
		switch {
		case limited && !overcommitAllowed(n) && q.Cmp(limit) != 0:
			c.invalid(requests, q.String(), fmt.Sprintf("must be equal to %s limit of %s", n, limit.String()))
		case limited && q.Cmp(limit) > 0:
			c.invalid(requests, q.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", n, limit.String()))
		case !limited && !overcommitAllowed(n):
			c.required(limits, "Limit must be set for non overcommitable resources")
		}
		pages(key, n, q)
	}
	if hugePages && !cpuOrMemory {
		c.forbidden(p, "HugePages require cpu or memory")
	}
	c.claimRequests(p.Child("claims"), r.Claims, claims)
}

func sortedNames(list corev1.ResourceList) []corev1.ResourceName {
	if len(list) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(list))
}

// claimRequests checks that a container's claims are claims of the pod, each (claim, request) once, and a whole claim not beside its parts.
func (c *checker) claimRequests(p *field.Path, claims []corev1.ResourceClaim, names sets.Set[string]) {
	seen := sets.Set[string]{}
	for i, claim := range claims {
		at := p.Index(i)
		if claim.Name == "" {
			c.required(at, "")
		} else if seen.Has(claim.Name) {
			c.duplicate(at, claim.Name)
		} else {
			key := claim.Name
			if claim.Request != "" {
				c.dnsLabel(at.Child("request"), claim.Request)
				key += "/" + claim.Request
			}
			if seen.Has(key) {
				c.duplicate(at, key)
			} else if claim.Request == "" {
				for other := range seen {
					if strings.HasPrefix(other, claim.Name+"/") {
						c.duplicate(at, claim.Name)
					}
				}
			}
			seen.Insert(key)
		}
		if claim.Name != "" && !names.Has(claim.Name) {
			err := field.NotFound(at, claim.Name)
			err.Detail = "must be one of the names in pod.spec.resourceClaims"
			if len(names) == 0 {
				err.Detail += " which is empty"
			} else {
				err.Detail += ": " + strings.Join(sets.List(names), ", ")
			}
			c.errs = append(c.errs, err)
		}
	}
}

// podResources checks resources of the pod as a whole, also against those of its containers.
func (c *checker) podResources(p *field.Path, spec *corev1.PodSpec, claims sets.Set[string]) {
	r := spec.Resources
	if r == nil {
		return
	}
	p = p.Child("resources")
	if isWindows(spec) {
		c.forbidden(p, "may not be set for a windows pod")
		return
	}
	if r.Claims != nil {
		c.forbidden(p.Child("claims"), "claims may not be set for Resources at pod-level")
	}
	c.requirements(p, r, c.podResourceName, claims)

	pod := &corev1.Pod{Spec: *spec}
	sum := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	for _, n := range sortedNames(sum) {
		if q, of := r.Requests[n], sum[n]; has(r.Requests, n) && of.Cmp(q) > 0 {
			c.invalid(p.Child("requests").Key(string(n)), q.String(), "must be greater than or equal to aggregate container requests of "+of.String())
		}
	}
	sum = resourcehelper.AggregateContainerLimits(pod, resourcehelper.PodResourcesOptions{})
	for _, n := range sortedNames(sum) {
		if q, of := r.Limits[n], sum[n]; isHugePages(n) && has(r.Limits, n) && of.Cmp(q) > 0 {
			c.invalid(p.Child("limits").Key(string(n)), q.String(), "must be greater than or equal to aggregate container limits of "+of.String())
		}
	}
	for i := range spec.Containers {
		limits := spec.Containers[i].Resources.Limits
		for _, n := range sortedNames(limits) {
			if q, max := limits[n], r.Limits[n]; has(r.Limits, n) && q.Cmp(max) > 0 {
				c.invalid(p.Child("containers").Index(i).Key(string(n)).Child("limits"), q.String(), "must be less than or equal to pod limits of "+max.String())
			}
		}
	}
}
