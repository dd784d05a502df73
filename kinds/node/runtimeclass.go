package node

import (
	"maps"
	"slices"

	nodev1 "k8s.io/api/node/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/meta"
	"github.com/tenet-run/tenet/kinds/podspec"
)

// RuntimeClass names how nodes run the pods of the class, which nodes can, and what that costs.
var RuntimeClass = kinds.Define(kinds.Definition[*nodev1.RuntimeClass, *nodev1.RuntimeClassList]{
	Group: "node.k8s.io", Version: "v1", Kind: "RuntimeClass", Plural: "runtimeclasses", NoUnconditionalUpdate: true,
	New:     func() *nodev1.RuntimeClass { return &nodev1.RuntimeClass{} },
	NewList: func() *nodev1.RuntimeClassList { return &nodev1.RuntimeClassList{} },
	Default: func(c *nodev1.RuntimeClass) {
		if c.Overhead != nil {
			podspec.RoundUp(c.Overhead.PodFixed)
		}
	},
	Validate: validateRuntimeClass,
	ValidateUpdate: func(c, old *nodev1.RuntimeClass) field.ErrorList {
		return append(validateRuntimeClass(c), apivalidation.ValidateImmutableField(c.Handler, old.Handler, field.NewPath("handler"))...)
	},
	Warnings: func(c, _ *nodev1.RuntimeClass) (out []string) {
		if c.Scheduling == nil {
			return nil
		}
		for _, label := range slices.Sorted(maps.Keys(c.Scheduling.NodeSelector)) {
			if msg := podspec.DeprecatedNodeLabels[label]; msg != "" {
				out = append(out, "scheduling.nodeSelector: "+msg)
			}
		}
		return out
	},
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(), kinds.Column("Handler", "string", metav1.ObjectMeta{}.SwaggerDoc()["handler"]), kinds.AgeColumn(),
	},
	Row: func(c *nodev1.RuntimeClass) []any { return []any{c.Name, c.Handler, kinds.Age(c.CreationTimestamp)} },
})

func validateRuntimeClass(c *nodev1.RuntimeClass) (errs field.ErrorList) {
	if fld := field.NewPath("handler"); c.Handler == "" {
		errs = append(errs, field.Required(fld, ""))
	} else {
		for _, msg := range apivalidation.NameIsDNSLabel(c.Handler, false) {
			errs = append(errs, field.Invalid(fld, c.Handler, msg))
		}
	}
	if c.Overhead != nil {
		errs = append(errs, podspec.ValidateOverhead(c.Overhead.PodFixed, field.NewPath("overhead"))...)
	}
	if s := c.Scheduling; s != nil {
		fld := field.NewPath("scheduling")
		errs = append(errs, meta.ValidateLabels(s.NodeSelector, fld.Child("nodeSelector"))...)
		errs = append(errs, podspec.ValidateTolerations(s.Tolerations, fld.Child("tolerations"))...)
	}
	return errs
}
