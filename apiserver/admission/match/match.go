package match

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// Criteria is what a webhook or a policy asks of requests, ready for use.
type Criteria struct {
	Rules []admissionv1.RuleWithOperations
	// Names of each rule; a nil or empty list is all. May be nil.
	Names              [][]string
	Exclude            []admissionv1.RuleWithOperations
	ExcludeNames       [][]string
	Equivalent         bool
	Namespaces, Object labels.Selector
}

// FromResources makes criteria of a policy's.
func FromResources(m *admissionv1.MatchResources) (*Criteria, error) {
	c := &Criteria{}
	for _, r := range m.ResourceRules {
		c.Rules, c.Names = append(c.Rules, r.RuleWithOperations), append(c.Names, r.ResourceNames)
	}
	for _, r := range m.ExcludeResourceRules {
		c.Exclude, c.ExcludeNames = append(c.Exclude, r.RuleWithOperations), append(c.ExcludeNames, r.ResourceNames)
	}
	return c, c.complete(m.MatchPolicy, m.NamespaceSelector, m.ObjectSelector)
}

// FromWebhook makes criteria of a webhook's.
func FromWebhook(list []admissionv1.RuleWithOperations, policy *admissionv1.MatchPolicyType, namespaces, object *metav1.LabelSelector) (*Criteria, error) {
	c := &Criteria{Rules: list}
	return c, c.complete(policy, namespaces, object)
}

func (c *Criteria) complete(policy *admissionv1.MatchPolicyType, namespaces, object *metav1.LabelSelector) (err error) {
	c.Equivalent = policy == nil || *policy == admissionv1.Equivalent
	if namespaces == nil {
		namespaces = &metav1.LabelSelector{}
	}
	if object == nil {
		object = &metav1.LabelSelector{}
	}
	if c.Namespaces, err = metav1.LabelSelectorAsSelector(namespaces); err != nil {
		return err
	}
	c.Object, err = metav1.LabelSelectorAsSelector(object)
	return err
}

// Match says in which version a request meets the criteria; nil: it does not. all: no rules are all requests, as for a binding.
func (c *Criteria) Match(a *Attributes, read admission.Reader, all bool) (*Invocation, error) {
	// The rules are looked at first: they cost nothing, and most requests are none of them.
	var out *Invocation
	if len(c.Rules) == 0 && all {
		out = a.in(a.Request.Served)
	} else if out = c.invocation(a, c.Rules, c.Names); out == nil {
		return nil, nil
	}
	if len(c.Exclude) > 0 && c.invocation(a, c.Exclude, c.ExcludeNames) != nil {
		return nil, nil
	}
	if !c.Object.Empty() && !c.matchesObject(out) {
		return nil, nil
	}
	ok, err := c.matchesNamespace(a.Request, read)
	if err != nil || !ok {
		return nil, err
	}
	return out, nil
}

func (a *Attributes) in(s *kinds.Served) *Invocation {
	kind := a.kind
	if other(a.Request) == nil {
		kind = s.GroupVersion().WithKind(a.Request.Kind.Kind)
	}
	return &Invocation{Attributes: a, Served: s, Kind: kind}
}

// as is the attributes with the resource of another version.
type as struct {
	*Attributes
	resource schema.GroupVersionResource
}

func (a as) GetResource() schema.GroupVersionResource { return a.resource }

func (c *Criteria) invocation(a *Attributes, list []admissionv1.RuleWithOperations, names [][]string) *Invocation {
	for i := range list {
		m := rules.Matcher{Rule: list[i], Attr: a}
		if m.Matches() && named(names, i, a.GetName()) {
			return a.in(a.Request.Served)
		}
	}
	if !c.Equivalent || len(a.Request.Kind.Served) < 2 {
		return nil
	}
	for i := range list {
		for _, s := range a.Request.Kind.Served {
			if s == a.Request.Served {
				continue
			}
			m := rules.Matcher{Rule: list[i], Attr: as{a, s.GroupVersion().WithResource(a.Request.Kind.Plural)}}
			if m.Matches() && named(names, i, a.GetName()) {
				return a.in(s)
			}
		}
	}
	return nil
}

func named(names [][]string, i int, name string) bool {
	if i >= len(names) || len(names[i]) == 0 {
		return true
	}
	for _, n := range names[i] {
		if n == name {
			return true
		}
	}
	return false
}

func (c *Criteria) matchesObject(i *Invocation) bool {
	has := func(obj runtime.Object, err error) bool {
		if obj == nil || err != nil {
			return false
		}
		m, err := meta.Accessor(obj)
		return err == nil && c.Object.Matches(labels.Set(m.GetLabels()))
	}
	return has(i.Object()) || has(i.OldObject())
}

func (c *Criteria) matchesNamespace(r *admission.Request, read admission.Reader) (bool, error) {
	if c.Namespaces.Empty() || r.Kind != core.Namespace && r.Namespace == "" {
		return true, nil
	}
	if r.Kind == core.Namespace && r.Subresource == "" && r.Object != nil {
		return c.Namespaces.Matches(labels.Set(r.Object.GetLabels())), nil
	}
	ns, err := Namespace(r, read)
	if err != nil {
		return false, err
	}
	return c.Namespaces.Matches(labels.Set(ns.GetLabels())), nil
}

// Namespace is the namespace that a request is in.
func Namespace(r *admission.Request, read admission.Reader) (kinds.Object, error) {
	name := r.Namespace
	if r.Kind == core.Namespace {
		name = r.Name
	}
	ns, ok := read.Peek(core.Namespace, "", name)
	if !ok {
		return nil, apierrors.NewNotFound(core.Namespace.GroupResource(), name)
	}
	return ns, nil
}
