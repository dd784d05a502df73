package flowcontrol

import (
	"fmt"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// FlowSchema says which requests go to which priority level.
var FlowSchema = kinds.Define(kinds.Definition[*flowcontrolv1.FlowSchema, *flowcontrolv1.FlowSchemaList]{
	Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Kind: "FlowSchema", Plural: "flowschemas",
	New: func() *flowcontrolv1.FlowSchema { return &flowcontrolv1.FlowSchema{} }, NewList: func() *flowcontrolv1.FlowSchemaList { return &flowcontrolv1.FlowSchemaList{} },
	Default: func(f *flowcontrolv1.FlowSchema) {
		if f.Spec.MatchingPrecedence == 0 {
			f.Spec.MatchingPrecedence = 1000
		}
	},
	Spec:       func(f *flowcontrolv1.FlowSchema) any { return f.Spec },
	CopyStatus: func(dst, src *flowcontrolv1.FlowSchema) { dst.Status = src.Status },
	CopySpec: func(dst, src *flowcontrolv1.FlowSchema) {
		dst.Spec = src.Spec
		keepMeta(&dst.ObjectMeta, &src.ObjectMeta)
	},
	StatusResets: []string{"metadata"},
	Validate:     validateFlowSchema,
	ValidateStatus: func(f, _ *flowcontrolv1.FlowSchema) field.ErrorList {
		return validateSchemaConditions(f.Status.Conditions)
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("PriorityLevel", "string", flowcontrolv1.PriorityLevelConfigurationReference{}.SwaggerDoc()["name"]),
		kinds.Column("MatchingPrecedence", "string", flowcontrolv1.FlowSchemaSpec{}.SwaggerDoc()["matchingPrecedence"]),
		kinds.Column("DistinguisherMethod", "string", flowcontrolv1.FlowSchemaSpec{}.SwaggerDoc()["distinguisherMethod"]),
		kinds.AgeColumn(),
		kinds.Column("MissingPL", "string", "references a broken or non-existent PriorityLevelConfiguration"),
	},
	Row: func(f *flowcontrolv1.FlowSchema) []any {
		method, dangling := "<none>", "?"
		if m := f.Spec.DistinguisherMethod; m != nil {
			method = string(m.Type)
		}
		for _, c := range f.Status.Conditions {
			if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
				dangling = string(c.Status)
				break
			}
		}
		return []any{f.Name, f.Spec.PriorityLevelConfiguration.Name, int64(f.Spec.MatchingPrecedence), method, kinds.Age(f.CreationTimestamp), dangling}
	},
})

// keepMeta keeps all metadata but who manages what.
func keepMeta(dst, src *metav1.ObjectMeta) {
	managed := dst.ManagedFields
	*dst = *src.DeepCopy()
	dst.ManagedFields = managed
}

func validateSchemaConditions(conditions []flowcontrolv1.FlowSchemaCondition) (errs field.ErrorList) {
	seen := sets.Set[flowcontrolv1.FlowSchemaConditionType]{}
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

func validateFlowSchema(f *flowcontrolv1.FlowSchema) field.ErrorList {
	errs := validateSchemaSpec(f.Name, &f.Spec)
	if want := mandatorySchema(f.Name); want != nil && !equality.Semantic.DeepEqual(&f.Spec, want) {
		errs = append(errs, field.Invalid(field.NewPath("spec"), f.Spec, fmt.Sprintf("spec of '%s' must equal the fixed value", f.Name)))
	}
	return append(errs, validateSchemaConditions(f.Status.Conditions)...)
}
