package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"strconv"
)

func (c *checker) tolerations(p *field.Path, tolerations []corev1.Toleration) {
	for i := range tolerations {
		t, at := &tolerations[i], p.Index(i)
		if t.Key != "" {
			c.labelName(at.Child("key"), t.Key)
		} else if t.Operator != corev1.TolerationOpExists {
			c.invalid(at.Child("operator"), t.Operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"")
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			c.invalid(at.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
		}
		switch t.Operator {
		case corev1.TolerationOpEqual, "":
			if details := validation.IsValidLabelValue(t.Value); len(details) > 0 {
				c.invalid(at.Child("operator"), t.Value, strings.Join(details, ";"))
			}
		case corev1.TolerationOpExists:
			if t.Value != "" {
				c.invalid(at.Child("operator"), t.Value, "value must be empty when `operator` is 'Exists'")
			}
		case corev1.TolerationOpLt, corev1.TolerationOpGt:
			if !c.comparingTolerations {
				c.errs = append(c.errs, field.NotSupported(at.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual,
					corev1.TolerationOpExists, corev1.TolerationOpLt, corev1.TolerationOpGt}))
				break
			}
			c.each(at.Child("value"), t.Value, content.IsDecimalInteger(t.Value))
			if _, err := strconv.ParseInt(t.Value, 10, 64); err != nil {
				c.invalid(at.Child("value"), t.Value, err.Error())
			}
		default:
			oneOf(c, at.Child("operator"), t.Operator, corev1.TolerationOpEqual, corev1.TolerationOpExists)
		}
		if t.Effect != "" {
			oneOf(c, at.Child("effect"), t.Effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
		}
	}
}

func (c *checker) topologySpread(p *field.Path, constraints []corev1.TopologySpreadConstraint) {
	for i := range constraints {
		t, at := &constraints[i], p.Index(i)
		c.positive(at.Child("maxSkew"), int64(t.MaxSkew))
		if t.TopologyKey == "" {
			c.required(at.Child("topologyKey"), "can not be empty")
		}
		oneOf(c, at.Child("whenUnsatisfiable"), t.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)
		for _, later := range constraints[i+1:] {
			if later.TopologyKey == t.TopologyKey && later.WhenUnsatisfiable == t.WhenUnsatisfiable {
				c.duplicate(at.Child("{topologyKey, whenUnsatisfiable}"), fmt.Sprintf("{%v, %v}", t.TopologyKey, t.WhenUnsatisfiable))
				break
			}
		}
		if t.MinDomains != nil {
			c.positive(at.Child("minDomains"), int64(*t.MinDomains))
			if t.WhenUnsatisfiable != corev1.DoNotSchedule {
				c.invalid(at.Child("minDomains"), t.MinDomains, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, t.WhenUnsatisfiable))
			}
		}
		for name, policy := range inclusionPolicies(t) {
			oneOf(c, at.Child(name), *policy, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)
		}
		if c.oldMatchLabelKeys {
			c.matchLabelKeysAsBefore(at.Child("matchLabelKeys"), t)
		} else {
			c.matchLabelKeys(at, t.MatchLabelKeys, nil, t.LabelSelector)
		}
		if !c.anySpreadSelector {
			c.labelSelector(at.Child("labelSelector"), t.LabelSelector, false)
		}
	}
}

func inclusionPolicies(t *corev1.TopologySpreadConstraint) func(func(string, *corev1.NodeInclusionPolicy) bool) {
	return func(yield func(string, *corev1.NodeInclusionPolicy) bool) {
		if t.NodeAffinityPolicy != nil && !yield("nodeAffinityPolicy", t.NodeAffinityPolicy) {
			return
		}
		if t.NodeTaintsPolicy != nil {
			yield("nodeTaintsPolicy", t.NodeTaintsPolicy)
		}
	}
}

// matchLabelKeysAsBefore is the rule of 1.33 and before, when keys were not merged into the selector, for objects made under it.
func (c *checker) matchLabelKeysAsBefore(p *field.Path, t *corev1.TopologySpreadConstraint) {
	if len(t.MatchLabelKeys) == 0 {
		return
	}
	keys := sets.Set[string]{}
	if t.LabelSelector != nil {
		for key := range t.LabelSelector.MatchLabels {
			keys.Insert(key)
		}
		for _, e := range t.LabelSelector.MatchExpressions {
			keys.Insert(e.Key)
		}
	} else {
		c.forbidden(p, "must not be specified when labelSelector is not set")
	}
	for i, key := range t.MatchLabelKeys {
		c.labelName(p.Index(i), key)
		if keys.Has(key) {
			c.invalid(p.Index(i), key, "exists in both matchLabelKeys and labelSelector")
		}
	}
}

func (c *checker) schedulingGates(p *field.Path, gates []corev1.PodSchedulingGate) {
	seen := sets.Set[string]{}
	for i, gate := range gates {
		c.qualifiedName(p.Index(i), gate.Name)
		if seen.Has(gate.Name) {
			c.duplicate(p.Index(i), gate.Name)
		}
		seen.Insert(gate.Name)
	}
}

// resourceClaims checks the pod's own list of claims. Mirror pods have none: what they need must be on the node.
func (c *checker) resourceClaims(p *field.Path, claims []corev1.PodResourceClaim, mirror bool) {
	seen := sets.Set[string]{}
	for i := range claims {
		claim, at := &claims[i], p.Index(i)
		if mirror {
			c.forbidden(field.NewPath(""), "static pods do not support resource claims")
			continue
		}
		switch {
		case claim.Name == "":
			c.required(at.Child("name"), "")
		case seen.Has(claim.Name):
			c.duplicate(at.Child("name"), claim.Name)
		default:
			c.dnsLabel(at.Child("name"), claim.Name)
			seen.Insert(claim.Name)
		}
		if claim.ResourceClaimName != nil && claim.ResourceClaimTemplateName != nil {
			c.invalid(at, *claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
		}
		if claim.ResourceClaimName == nil && claim.ResourceClaimTemplateName == nil {
			c.invalid(at, *claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
		}
		if name := claim.ResourceClaimName; name != nil {
			c.dnsSubdomain(at.Child("resourceClaimName"), *name)
		}
		if name := claim.ResourceClaimTemplateName; name != nil {
			c.dnsSubdomain(at.Child("resourceClaimTemplateName"), *name)
		}
	}
}
