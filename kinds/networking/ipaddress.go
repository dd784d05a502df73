package networking

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// IPAddress is an address of a Service; its name is the address in canonical form, so that nobody else can have it.
var IPAddress = kinds.Define(kinds.Definition[*networkingv1.IPAddress, *networkingv1.IPAddressList]{
	Group: "networking.k8s.io", Version: "v1", Kind: "IPAddress", Plural: "ipaddresses", ShortNames: []string{"ip"},
	New:     func() *networkingv1.IPAddress { return &networkingv1.IPAddress{} },
	NewList: func() *networkingv1.IPAddressList { return &networkingv1.IPAddressList{} },
	ValidName: func(name string, _ bool) (msgs []string) {
		for _, err := range validation.IsValidIP(&field.Path{}, name) {
			msgs = append(msgs, err.Detail)
		}
		return msgs
	},
	Validate: func(a *networkingv1.IPAddress) field.ErrorList { return validateParent(a.Spec.ParentRef) },
	ValidateUpdate: func(a, old *networkingv1.IPAddress) field.ErrorList {
		return append(validateParent(a.Spec.ParentRef), apivalidation.ValidateImmutableField(a.Spec.ParentRef, old.Spec.ParentRef, field.NewPath("spec", "parentRef"))...)
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("ParentRef", "string", networkingv1.IPAddressSpec{}.SwaggerDoc()["parentRef"]),
	},
	Row: func(a *networkingv1.IPAddress) []any {
		parent := "<none>"
		if p := a.Spec.ParentRef; p != nil {
			parent = strings.ToLower(schema.GroupResource{Group: p.Group, Resource: p.Resource}.String())
			if p.Namespace != "" {
				parent += "/" + p.Namespace
			}
			parent += "/" + p.Name
		}
		return []any{a.Name, parent}
	},
})

func validateParent(p *networkingv1.ParentReference) (errs field.ErrorList) {
	fld := field.NewPath("spec", "parentRef")
	if p == nil {
		return field.ErrorList{field.Required(fld, "")}
	}
	if p.Group != "" {
		errs = each(p.Group, validation.IsDNS1123Subdomain(p.Group), fld.Child("group"))
	}
	errs = append(errs, segment(p.Resource, fld.Child("resource"))...)
	errs = append(errs, segment(p.Name, fld.Child("name"))...)
	if p.Namespace != "" {
		errs = append(errs, each(p.Namespace, path.IsValidPathSegmentName(p.Namespace), fld.Child("namespace"))...)
	}
	return errs
}
