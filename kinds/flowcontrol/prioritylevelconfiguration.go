package flowcontrol

import (
	"fmt"
	"math"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// PriorityLevelConfiguration says how many requests of a level are served at a time, and what happens to the others.
var PriorityLevelConfiguration = kinds.Define(kinds.Definition[*flowcontrolv1.PriorityLevelConfiguration, *flowcontrolv1.PriorityLevelConfigurationList]{
	Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Kind: "PriorityLevelConfiguration", Plural: "prioritylevelconfigurations",
	New: func() *flowcontrolv1.PriorityLevelConfiguration { return &flowcontrolv1.PriorityLevelConfiguration{} },
	NewList: func() *flowcontrolv1.PriorityLevelConfigurationList {
		return &flowcontrolv1.PriorityLevelConfigurationList{}
	},
	Default:    func(l *flowcontrolv1.PriorityLevelConfiguration) { defaultLevel(&l.Spec) },
	Spec:       func(l *flowcontrolv1.PriorityLevelConfiguration) any { return l.Spec },
	CopyStatus: func(dst, src *flowcontrolv1.PriorityLevelConfiguration) { dst.Status = src.Status },
	CopySpec: func(dst, src *flowcontrolv1.PriorityLevelConfiguration) {
		dst.Spec = src.Spec
		keepMeta(&dst.ObjectMeta, &src.ObjectMeta)
	},
	StatusResets: []string{"metadata"},
	Validate:     validateLevel,
	ValidateStatus: func(l, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
		return validateLevelConditions(l.Status.Conditions)
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Type", "string", flowcontrolv1.PriorityLevelConfigurationSpec{}.SwaggerDoc()["type"]),
		kinds.Column("NominalConcurrencyShares", "string", flowcontrolv1.LimitedPriorityLevelConfiguration{}.SwaggerDoc()["nominalConcurrencyShares"]),
		kinds.Column("Queues", "string", flowcontrolv1.QueuingConfiguration{}.SwaggerDoc()["queues"]),
		kinds.Column("HandSize", "string", flowcontrolv1.QueuingConfiguration{}.SwaggerDoc()["handSize"]),
		kinds.Column("QueueLengthLimit", "string", flowcontrolv1.QueuingConfiguration{}.SwaggerDoc()["queueLengthLimit"]),
		kinds.AgeColumn(),
	},
	Row: func(l *flowcontrolv1.PriorityLevelConfiguration) []any {
		var shares, queues, hand, length any = "<none>", "<none>", "<none>", "<none>"
		if m := l.Spec.Limited; m != nil {
			shares = int64(0)
			if m.NominalConcurrencyShares != nil {
				shares = int64(*m.NominalConcurrencyShares)
			}
			if q := m.LimitResponse.Queuing; q != nil {
				queues, hand, length = int64(q.Queues), int64(q.HandSize), int64(q.QueueLengthLimit)
			}
		}
		return []any{l.Name, string(l.Spec.Type), shares, queues, hand, length, kinds.Age(l.CreationTimestamp)}
	},
})

func defaultLevel(s *flowcontrolv1.PriorityLevelConfigurationSpec) {
	set := func(to **int32, n int32) {
		if *to == nil {
			*to = &n
		}
	}
	if s.Exempt != nil {
		set(&s.Exempt.NominalConcurrencyShares, 0)
		set(&s.Exempt.LendablePercent, 0)
	}
	if s.Limited == nil {
		return
	}
	set(&s.Limited.NominalConcurrencyShares, 30)
	set(&s.Limited.LendablePercent, 0)
	if q := s.Limited.LimitResponse.Queuing; q != nil {
		for _, d := range []struct {
			to *int32
			n  int32
		}{{&q.HandSize, 8}, {&q.Queues, 64}, {&q.QueueLengthLimit, 50}} {
			if *d.to == 0 {
				*d.to = d.n
			}
		}
	}
}

func validateLevel(l *flowcontrolv1.PriorityLevelConfiguration) (errs field.ErrorList) {
	const keepsZero = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"
	if _, set := l.Annotations[keepsZero]; set {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations"), fmt.Sprintf("annotation '%s' is forbidden", keepsZero)))
	}
	fld := field.NewPath("spec")
	errs = append(errs, validateLevelSpec(l.Name, &l.Spec, fld)...)
	if want := mandatoryLevel(l.Name); want != nil {
		if exempt := l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt; exempt {
			want.Exempt = l.Spec.Exempt
			if !equality.Semantic.DeepEqual(&l.Spec, want) {
				errs = append(errs, field.Invalid(fld, l.Spec, fmt.Sprintf("spec of '%s' except the 'spec.exempt' field must equal the fixed value", l.Name)))
			}
		} else if !equality.Semantic.DeepEqual(&l.Spec, want) {
			errs = append(errs, field.Invalid(fld, l.Spec, fmt.Sprintf("spec of '%s' must equal the fixed value", l.Name)))
		}
	}
	return append(errs, validateLevelConditions(l.Status.Conditions)...)
}

func validateLevelSpec(name string, s *flowcontrolv1.PriorityLevelConfigurationSpec, fld *field.Path) (errs field.ErrorList) {
	if (name == flowcontrolv1.PriorityLevelConfigurationNameExempt) != (s.Type == flowcontrolv1.PriorityLevelEnablementExempt) {
		errs = append(errs, field.Invalid(fld.Child("type"), s.Type, "must be 'Exempt' if and only if `name` is 'exempt'"))
	}
	switch s.Type {
	case flowcontrolv1.PriorityLevelEnablementExempt:
		if s.Limited != nil {
			errs = append(errs, field.Forbidden(fld.Child("limited"), "must be nil if the type is not Limited"))
		}
		if s.Exempt != nil {
			errs = append(errs, shares(s.Exempt.NominalConcurrencyShares, fld.Child("exempt"))...)
			errs = append(errs, lendable(s.Exempt.LendablePercent, fld.Child("exempt"))...)
		}
	case flowcontrolv1.PriorityLevelEnablementLimited:
		if s.Exempt != nil {
			errs = append(errs, field.Forbidden(fld.Child("exempt"), "must be nil if the type is Limited"))
		}
		if s.Limited == nil {
			errs = append(errs, field.Required(fld.Child("limited"), "must not be empty when type is Limited"))
		} else {
			errs = append(errs, validateLimited(s.Limited, fld.Child("limited"))...)
		}
	case "":
		errs = append(errs, field.Required(fld.Child("type"), ""))
	default:
		errs = append(errs, field.NotSupported(fld.Child("type"), s.Type,
			[]flowcontrolv1.PriorityLevelEnablement{flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited}))
	}
	return errs
}

func shares(n *int32, fld *field.Path) field.ErrorList {
	if n != nil && *n < 0 {
		return field.ErrorList{field.Invalid(fld.Child("nominalConcurrencyShares"), *n, "must be a non-negative integer")}
	}
	return nil
}

func lendable(n *int32, fld *field.Path) field.ErrorList {
	if n != nil && (*n < 0 || *n > 100) {
		return field.ErrorList{field.Invalid(fld.Child("lendablePercent"), *n, "must be between 0 and 100, inclusive")}
	}
	return nil
}

func validateLimited(l *flowcontrolv1.LimitedPriorityLevelConfiguration, fld *field.Path) field.ErrorList {
	errs := shares(l.NominalConcurrencyShares, fld)
	at, r := fld.Child("limitResponse"), &l.LimitResponse
	switch r.Type {
	case flowcontrolv1.LimitResponseTypeReject:
		if r.Queuing != nil {
			errs = append(errs, field.Forbidden(at.Child("queuing"), "must be nil if limited.limitResponse.type is not Limited"))
		}
	case flowcontrolv1.LimitResponseTypeQueue:
		if r.Queuing == nil {
			errs = append(errs, field.Required(at.Child("queuing"), "must not be empty if limited.limitResponse.type is Limited"))
		} else {
			errs = append(errs, validateQueuing(r.Queuing, at.Child("queuing"))...)
		}
	case "":
		errs = append(errs, field.Required(at.Child("type"), ""))
	default:
		errs = append(errs, field.NotSupported(at.Child("type"), r.Type,
			[]flowcontrolv1.LimitResponseType{flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject}))
	}
	errs = append(errs, lendable(l.LendablePercent, fld)...)
	if n := l.BorrowingLimitPercent; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(fld.Child("borrowingLimitPercent"), *n, "if specified, must be a non-negative integer"))
	}
	return errs
}

// validateQueuing: a hand of queues is dealt by the bits of a hash, of which there must be enough.
func validateQueuing(q *flowcontrolv1.QueuingConfiguration, fld *field.Path) (errs field.ErrorList) {
	const mostQueues, hashBits = 10_000_000, 60
	if q.QueueLengthLimit <= 0 {
		errs = append(errs, field.Invalid(fld.Child("queueLengthLimit"), q.QueueLengthLimit, "must be positive"))
	}
	if q.Queues <= 0 {
		errs = append(errs, field.Invalid(fld.Child("queues"), q.Queues, "must be positive"))
	} else if q.Queues > mostQueues {
		errs = append(errs, field.Invalid(fld.Child("queues"), q.Queues, fmt.Sprintf("must not be greater than %d", mostQueues)))
	}
	at := fld.Child("handSize")
	switch bits := int(math.Ceil(math.Log2(float64(q.Queues)) * float64(q.HandSize))); {
	case q.HandSize <= 0:
		errs = append(errs, field.Invalid(at, q.HandSize, "must be positive"))
	case q.HandSize > q.Queues:
		errs = append(errs, field.Invalid(at, q.HandSize, fmt.Sprintf("should not be greater than queues (%d)", q.Queues)))
	case bits > hashBits:
		errs = append(errs, field.Invalid(at, q.HandSize,
			fmt.Sprintf("required entropy bits of deckSize %d and handSize %d should not be greater than %d", q.Queues, q.HandSize, hashBits)))
	}
	return errs
}

func validateLevelConditions(conditions []flowcontrolv1.PriorityLevelConfigurationCondition) (errs field.ErrorList) {
	seen := sets.Set[flowcontrolv1.PriorityLevelConfigurationConditionType]{}
	for i, c := range conditions {
		at := field.NewPath("status", "conditions").Index(i).Child("type")
		if seen.Has(c.Type) {
			errs = append(errs, field.Duplicate(at, c.Type))
		}
		seen.Insert(c.Type)
		if c.Type == "" {
			errs = append(errs, field.Required(at, ""))
		}
	}
	return errs
}
