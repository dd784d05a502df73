package apps

import (
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// ControllerRevision is a snapshot of a controller's state whose data never changes.
var ControllerRevision = kinds.Define(kinds.Definition[*appsv1.ControllerRevision, *appsv1.ControllerRevisionList]{
	Group: "apps", Version: "v1", Kind: "ControllerRevision", Plural: "controllerrevisions", Namespaced: true,
	New:     func() *appsv1.ControllerRevision { return &appsv1.ControllerRevision{} },
	NewList: func() *appsv1.ControllerRevisionList { return &appsv1.ControllerRevisionList{} },
	Validate: func(r *appsv1.ControllerRevision) field.ErrorList {
		return append(validateRevision(r), validateRevisionData(r.Data.Raw)...)
	},
	ValidateUpdate: func(r, old *appsv1.ControllerRevision) field.ErrorList {
		return append(validateRevision(r), apivalidation.ValidateImmutableField(r.Data, old.Data, field.NewPath("data"))...)
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		kinds.Column("Controller", "string", "Controller of the object"),
		kinds.Column("Revision", "string", appsv1.ControllerRevision{}.SwaggerDoc()["revision"]),
		kinds.AgeColumn(),
	},
	Row: func(r *appsv1.ControllerRevision) []any {
		controller := "<none>"
		if ref := metav1.GetControllerOf(r); ref != nil {
			controller = ref.Name
			if kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).GroupKind(); !kind.Empty() {
				controller = strings.ToLower(kind.String()) + "/" + ref.Name
			}
		}
		return []any{r.Name, controller, r.Revision, kinds.Age(r.CreationTimestamp)}
	},
})

func validateRevision(r *appsv1.ControllerRevision) field.ErrorList {
	return apivalidation.ValidateNonnegativeField(r.Revision, field.NewPath("revision"))
}

func validateRevisionData(raw []byte) field.ErrorList {
	fld := field.NewPath("data")
	if raw == nil {
		return field.ErrorList{field.Required(fld, "data is mandatory")}
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return field.ErrorList{field.Invalid(fld, "<value omitted>", fmt.Sprintf("error parsing data: %v", err))}
	}
	if v == nil {
		return field.ErrorList{field.Required(fld, "data is mandatory")}
	}
	if _, ok := v.(map[string]any); !ok {
		return field.ErrorList{field.Required(fld, "data must be a valid JSON object")}
	}
	return nil
}
