package podspec

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	requiredTerms  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferredTerms = "preferredDuringSchedulingIgnoredDuringExecution"
)

func (c *checker) affinity(p *field.Path, a *corev1.Affinity) {
	if a == nil {
		return
	}
	if n := a.NodeAffinity; n != nil {
		c.nodeAffinity(p.Child("nodeAffinity"), n)
	}
	if n := a.PodAffinity; n != nil {
		c.podAffinity(p.Child("podAffinity"), n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if n := a.PodAntiAffinity; n != nil {
		c.podAffinity(p.Child("podAntiAffinity"), n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

func (c *checker) nodeAffinity(p *field.Path, a *corev1.NodeAffinity) {
	if r := a.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
		c.nodeSelector(p.Child(requiredTerms), r, c.anyNodeLabelValue)
	}
	for i := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		t, at := &a.PreferredDuringSchedulingIgnoredDuringExecution[i], p.Child(preferredTerms).Index(i)
		c.weight(at, t.Weight)
		c.nodeSelectorTerm(at.Child("preference"), &t.Preference, true)
	}
}

// nodeSelector checks what is required of nodes. anyValue: values that are no label values pass.
func (c *checker) nodeSelector(p *field.Path, s *corev1.NodeSelector, anyValue bool) {
	at := p.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		c.required(at, "must have at least one node selector term")
	}
	for i := range s.NodeSelectorTerms {
		c.nodeSelectorTerm(at.Index(i), &s.NodeSelectorTerms[i], anyValue)
	}
}

// ValidateNodeSelector says what is wrong with what an object requires of nodes.
func ValidateNodeSelector(s *corev1.NodeSelector, anyValue bool, fld *field.Path) field.ErrorList {
	var c checker
	c.nodeSelector(fld, s, anyValue)
	return c.errs
}

// anyWrongValue reports values in a selector that are no label values.
func anyWrongValue(s *corev1.NodeSelector) bool {
	if s == nil {
		return false
	}
	var c checker
	for i := range s.NodeSelectorTerms {
		for _, r := range s.NodeSelectorTerms[i].MatchExpressions {
			c.labelValues(nil, r.Values)
		}
	}
	return len(c.errs) > 0
}

func (c *checker) weight(p *field.Path, w int32) {
	if w < 1 || w > 100 {
		c.invalid(p.Child("weight"), w, "must be in the range 1-100")
	}
}

func (c *checker) nodeSelectorTerm(p *field.Path, t *corev1.NodeSelectorTerm, anyValue bool) {
	for i := range t.MatchExpressions {
		c.nodeLabelRequirement(p.Child("matchExpressions").Index(i), &t.MatchExpressions[i], anyValue)
	}
	for i := range t.MatchFields {
		c.nodeFieldRequirement(p.Child("matchFields").Index(i), &t.MatchFields[i])
	}
}

func (c *checker) nodeLabelRequirement(p *field.Path, r *corev1.NodeSelectorRequirement, anyValue bool) {
	values := p.Child("values")
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			c.required(values, "must be specified when `operator` is 'In' or 'NotIn'")
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			c.forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			c.required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'")
		}
	default:
		c.invalid(p.Child("operator"), r.Operator, "not a valid selector operator")
	}
	c.labelName(p.Child("key"), r.Key)
	if !anyValue {
		c.labelValues(values, r.Values)
	}
}

func (c *checker) labelValues(p *field.Path, values []string) {
	for i, v := range values {
		c.each(p.Index(i), v, validation.IsValidLabelValue(v))
	}
}

func (c *checker) nodeFieldRequirement(p *field.Path, r *corev1.NodeSelectorRequirement) {
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) != 1 {
			c.required(p.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
		}
	default:
		c.invalid(p.Child("operator"), r.Operator, "not a valid selector operator")
	}
	if r.Key != metav1.ObjectNameField {
		c.invalid(p.Child("key"), r.Key, "not a valid field selector key")
		return
	}
	for i, v := range r.Values {
		c.dnsSubdomain(p.Child("values").Index(i), v)
	}
}

func (c *checker) labelName(p *field.Path, name string) {
	c.add(metavalidation.ValidateLabelName(name, p))
}

func (c *checker) podAffinity(p *field.Path, required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
	for i := range required {
		c.podAffinityTerm(p.Child(requiredTerms).Index(i), &required[i])
	}
	for i := range preferred {
		at := p.Child(preferredTerms).Index(i)
		c.weight(at, preferred[i].Weight)
		c.podAffinityTerm(at.Child("podAffinityTerm"), &preferred[i].PodAffinityTerm)
	}
}

func (c *checker) podAffinityTerm(p *field.Path, t *corev1.PodAffinityTerm) {
	c.podAffinitySelectors(p, t, c.anySelectorValue)
	for _, name := range t.Namespaces {
		c.each(p.Child("namespace"), name, validation.IsDNS1123Label(name))
	}
	c.matchLabelKeys(p, t.MatchLabelKeys, t.MismatchLabelKeys, t.LabelSelector)
	if t.TopologyKey == "" {
		c.required(p.Child("topologyKey"), "can not be empty")
	}
	c.labelName(p.Child("topologyKey"), t.TopologyKey)
}

func (c *checker) podAffinitySelectors(p *field.Path, t *corev1.PodAffinityTerm, anyValue bool) {
	c.labelSelector(p.Child("labelSelector"), t.LabelSelector, anyValue)
	c.labelSelector(p.Child("namespaceSelector"), t.NamespaceSelector, anyValue)
}

// matchLabelKeys checks keys whose values are taken from the pod's own labels. When it runs, the selector holds what was made of match already: a key
// that is there twice was also given by hand.
func (c *checker) matchLabelKeys(p *field.Path, match, mismatch []string, selector *metav1.LabelSelector) {
	names := func(p *field.Path, keys []string) {
		if len(keys) > 0 && selector == nil {
			c.forbidden(p, "must not be specified when labelSelector is not set")
			return
		}
		for i, key := range keys {
			c.labelName(p.Index(i), key)
		}
	}
	names(p.Child("matchLabelKeys"), match)
	names(p.Child("mismatchLabelKeys"), mismatch)
	if len(match) == 0 {
		return
	}
	if selector != nil {
		index, seen := map[string]int{}, sets.Set[string]{}
		for i, key := range match {
			index[key] = i
		}
		for key := range selector.MatchLabels {
			seen.Insert(key)
		}
		for _, e := range selector.MatchExpressions {
			if i, ok := index[e.Key]; ok && seen.Has(e.Key) {
				c.invalid(p.Index(i), e.Key, "exists in both matchLabelKeys and labelSelector")
			}
			seen.Insert(e.Key)
		}
	}
	not := sets.New(mismatch...)
	for i, key := range match {
		if not.Has(key) {
			c.invalid(p.Child("matchLabelKeys").Index(i), key, "exists in both matchLabelKeys and mismatchLabelKeys")
		}
	}
}
