package coordination

import (
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// Lease is a claim that holds as long as it is renewed. A write that changes nothing but renewTime is a mere renewal.
var Lease = kinds.Define(kinds.Definition[*coordinationv1.Lease, *coordinationv1.LeaseList]{
	Group: "coordination.k8s.io", Version: "v1", Kind: "Lease", Plural: "leases", Namespaced: true,
	New: func() *coordinationv1.Lease { return &coordinationv1.Lease{} }, NewList: func() *coordinationv1.LeaseList { return &coordinationv1.LeaseList{} },
	CreateOnUpdate: true, NoUnconditionalUpdate: true,
	// Coordinated leader election is behind a gate that is off.
	BeforeCreate: func(l *coordinationv1.Lease) { l.Spec.Strategy, l.Spec.PreferredHolder = nil, nil },
	BeforeUpdate: func(l, old *coordinationv1.Lease) {
		if old.Spec.Strategy == nil {
			l.Spec.Strategy = nil
		}
		if old.Spec.PreferredHolder == nil {
			l.Spec.PreferredHolder = nil
		}
	},
	Validate: validateLease,
	Volatile: onlyRenewed,
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("Holder", "string", coordinationv1.LeaseSpec{}.SwaggerDoc()["holderIdentity"]), kinds.AgeColumn(),
	},
	Row: func(l *coordinationv1.Lease) []any {
		holder := ""
		if l.Spec.HolderIdentity != nil {
			holder = *l.Spec.HolderIdentity
		}
		return []any{l.Name, holder, kinds.Age(l.CreationTimestamp)}
	},
})

// onlyRenewed lets managedFields differ, too: they note the time of a write.
func onlyRenewed(l, old *coordinationv1.Lease) bool {
	a, b := *l, *old
	if a.Spec.RenewTime == nil || b.Spec.RenewTime == nil {
		return false
	}
	a.Spec.RenewTime, b.Spec.RenewTime = nil, nil
	a.TypeMeta, b.TypeMeta = metav1.TypeMeta{}, metav1.TypeMeta{}
	a.ManagedFields, b.ManagedFields = nil, nil
	a.ResourceVersion, b.ResourceVersion = "", ""
	return equality.Semantic.DeepEqual(&a, &b)
}

func validateLease(l *coordinationv1.Lease) field.ErrorList {
	fld := field.NewPath("spec")
	var errs field.ErrorList
	if d := l.Spec.LeaseDurationSeconds; d != nil && *d <= 0 {
		errs = append(errs, field.Invalid(fld.Child("leaseDurationSeconds"), d, "must be greater than 0"))
	}
	if n := l.Spec.LeaseTransitions; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(fld.Child("leaseTransitions"), n, "must be greater than or equal to 0"))
	}
	if s := l.Spec.Strategy; s != nil {
		fld := fld.Child("strategy").Child("strategy") // sic
		if !strings.Contains(string(*s), "/") {
			if *s != coordinationv1.OldestEmulationVersion {
				errs = append(errs, field.NotSupported(fld, *s, []coordinationv1.CoordinatedLeaseStrategy{coordinationv1.OldestEmulationVersion}))
			}
		} else {
			for _, msg := range validation.IsQualifiedName(string(*s)) {
				errs = append(errs, field.Invalid(fld, *s, msg))
			}
		}
	}
	if h, s := l.Spec.PreferredHolder, l.Spec.Strategy; h != nil && *h != "" && (s == nil || *s == "") {
		errs = append(errs, field.Forbidden(fld.Child("preferredHolder"), "may only be specified if `strategy` is defined"))
	}
	return errs
}
