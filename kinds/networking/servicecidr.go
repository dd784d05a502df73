package networking

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/tenet-run/tenet/kinds"
)

// ServiceCIDR is a range of addresses for Services, of one or two families.
var ServiceCIDR = kinds.Define(kinds.Definition[*networkingv1.ServiceCIDR, *networkingv1.ServiceCIDRList]{
	Group: "networking.k8s.io", Version: "v1", Kind: "ServiceCIDR", Plural: "servicecidrs",
	New:        func() *networkingv1.ServiceCIDR { return &networkingv1.ServiceCIDR{} },
	NewList:    func() *networkingv1.ServiceCIDRList { return &networkingv1.ServiceCIDRList{} },
	CopyStatus: func(dst, src *networkingv1.ServiceCIDR) { dst.Status = src.Status },
	CopySpec: func(dst, src *networkingv1.ServiceCIDR) {
		dst.Spec = src.Spec
		metav1.ResetObjectMetaForStatus(&dst.ObjectMeta, &src.ObjectMeta)
	},
	StatusResets:   []string{"metadata"},
	Validate:       func(c *networkingv1.ServiceCIDR) field.ErrorList { return validateRanges(c.Spec.CIDRs) },
	ValidateUpdate: validateRangesChange,
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("CIDRs", "string", networkingv1.ServiceCIDRSpec{}.SwaggerDoc()["cidrs"]), kinds.AgeColumn(),
	},
	Row: func(c *networkingv1.ServiceCIDR) []any {
		return []any{c.Name, strings.Join(c.Spec.CIDRs, ","), kinds.Age(c.CreationTimestamp)}
	},
})

func validateRanges(cidrs []string) (errs field.ErrorList) {
	fld := field.NewPath("spec", "cidrs")
	switch {
	case len(cidrs) == 0:
		return field.ErrorList{field.Required(fld, "at least one CIDR required")}
	case len(cidrs) > 2:
		return field.ErrorList{field.Invalid(fld, &networkingv1.ServiceCIDRSpec{CIDRs: cidrs}, "may only hold up to 2 values")}
	}
	for i, c := range cidrs {
		errs = append(errs, validation.IsValidCIDR(fld.Index(i), c)...)
	}
	if len(cidrs) == 2 {
		if f := netutils.IPFamilyOfCIDRString(cidrs[0]); f != netutils.IPFamilyUnknown && f == netutils.IPFamilyOfCIDRString(cidrs[1]) {
			errs = append(errs, field.Invalid(fld, cidrs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"))
		}
	}
	return errs
}

// validateRangesChange: a second family may be added to the first.
func validateRangesChange(c, old *networkingv1.ServiceCIDR) (errs field.ErrorList) {
	fld, is, was := field.NewPath("spec", "cidrs"), c.Spec.CIDRs, old.Spec.CIDRs
	const immutable = "field is immutable"
	same := func(i int) {
		if is[i] != was[i] {
			errs = append(errs, field.Invalid(fld.Index(i), is[i], immutable))
		}
	}
	switch {
	case len(is) == len(was):
		for i := range is {
			same(i)
		}
	case len(was) == 1 && len(is) == 2:
		same(0)
		errs = append(errs, validateRanges(is)...)
	default:
		errs = append(errs, field.Invalid(fld, is, immutable))
	}
	return errs
}
