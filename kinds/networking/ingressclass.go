package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// IngressClass names who serves Ingresses of the class.
var IngressClass = kinds.Define(kinds.Definition[*networkingv1.IngressClass, *networkingv1.IngressClassList]{
	Group: "networking.k8s.io", Version: "v1", Kind: "IngressClass", Plural: "ingressclasses",
	New:     func() *networkingv1.IngressClass { return &networkingv1.IngressClass{} },
	NewList: func() *networkingv1.IngressClassList { return &networkingv1.IngressClassList{} },
	Default: func(c *networkingv1.IngressClass) {
		if p := c.Spec.Parameters; p != nil && p.Scope == nil {
			cluster := networkingv1.IngressClassParametersReferenceScopeCluster
			p.Scope = &cluster
		}
	},
	Spec:     func(c *networkingv1.IngressClass) any { return c.Spec },
	Validate: validateIngressClass,
	ValidateUpdate: func(c, old *networkingv1.IngressClass) field.ErrorList {
		errs := apivalidation.ValidateImmutableField(c.Spec.Controller, old.Spec.Controller, field.NewPath("spec", "controller"))
		return append(errs, validateIngressClass(c)...)
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Controller", "string", "Controller that is responsible for handling this class"),
		kinds.Column("Parameters", "string", "A reference to a resource with additional parameters"),
		kinds.AgeColumn(),
	},
	Row: func(c *networkingv1.IngressClass) []any {
		name, parameters := c.Name, "<none>"
		if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
			name += " (default)"
		}
		if p := c.Spec.Parameters; p != nil {
			parameters = p.Kind
			if p.APIGroup != nil {
				parameters += "." + *p.APIGroup
			}
			parameters += "/" + p.Name
		}
		return []any{name, c.Spec.Controller, parameters, kinds.Age(c.CreationTimestamp)}
	},
})

func validateIngressClass(c *networkingv1.IngressClass) (errs field.ErrorList) {
	fld := field.NewPath("spec")
	if len(c.Spec.Controller) > 250 {
		errs = append(errs, field.TooLong(fld.Child("controller"), "", 250))
	}
	errs = append(errs, validation.IsDomainPrefixedPath(fld.Child("controller"), c.Spec.Controller)...)
	p := c.Spec.Parameters
	if p == nil {
		return errs
	}
	fld = fld.Child("parameters")
	errs = append(errs, validateReference(p.APIGroup, p.Kind, p.Name, fld)...)
	if p.Scope == nil {
		return append(errs, field.Required(fld.Child("scope"), ""))
	}
	switch at := fld.Child("namespace"); *p.Scope {
	case networkingv1.IngressClassParametersReferenceScopeNamespace:
		if p.Namespace == nil {
			errs = append(errs, field.Required(at, "`parameters.scope` is set to 'Namespace'"))
		} else {
			errs = append(errs, each(*p.Namespace, apivalidation.ValidateNamespaceName(*p.Namespace, false), at)...)
		}
	case networkingv1.IngressClassParametersReferenceScopeCluster:
		if p.Namespace != nil {
			errs = append(errs, field.Forbidden(at, "`parameters.scope` is set to 'Cluster'"))
		}
	default:
		errs = append(errs, field.NotSupported(fld.Child("scope"), *p.Scope,
			[]string{networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace}))
	}
	return errs
}
