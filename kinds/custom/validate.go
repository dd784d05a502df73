package custom

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	structurallisttype "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	schemaobjectmeta "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"

	"github.com/tenet-run/tenet/kinds"
)

func (w *work) beforeCreate(obj kinds.Object) {
	if w.status {
		delete(obj.(*unstructured.Unstructured).Object, "status")
	}
	obj.SetGeneration(1)
}

// beforeUpdate keeps the status, where it has a door of its own, and counts every change outside metadata.
func (w *work) beforeUpdate(obj, old kinds.Object) {
	now, before := obj.(*unstructured.Unstructured).Object, old.(*unstructured.Unstructured).Object
	if w.status {
		if status, ok := before["status"]; ok {
			now["status"] = status
		} else {
			delete(now, "status")
		}
	}
	if !equality.Semantic.DeepEqual(withoutMetadata(now), withoutMetadata(before)) {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
}

func withoutMetadata(obj map[string]any) map[string]any {
	out := maps.Clone(obj)
	delete(out, "metadata")
	return out
}

// prepared is an object in the version that is worked in, with its compiled schema.
func (w *work) prepared(obj kinds.Object) (*unstructured.Unstructured, *compiled, field.ErrorList) {
	v, err := w.d.version(w.name)
	if err != nil {
		return nil, nil, field.ErrorList{field.InternalError(nil, err)}
	}
	u, err := w.in(obj)
	if err != nil {
		return nil, nil, field.ErrorList{field.InternalError(nil, err)}
	}
	return u, v, nil
}

// checkHeader says that the type header is not that of the version: it was not sent.
func (w *work) checkHeader(u *unstructured.Unstructured) field.ErrorList {
	var errs field.ErrorList
	want := w.d.gvk(w.name)
	if u.GetKind() != want.Kind {
		errs = append(errs, field.Invalid(field.NewPath("kind"), u.GetKind(), "must be "+want.Kind))
	}
	if have := want.GroupVersion().String(); u.GetAPIVersion() != have {
		errs = append(errs, field.Invalid(field.NewPath("apiVersion"), u.GetAPIVersion(), "must be "+have))
	}
	return errs
}

func (w *work) validate(obj kinds.Object) field.ErrorList {
	u, v, errs := w.prepared(obj)
	if errs != nil {
		return errs
	}
	if errs := w.checkHeader(u); errs != nil {
		return errs
	}
	ctx := context.Background()
	errs = apiservervalidation.ValidateCustomResource(nil, u.Object, v.validator)
	errs = append(errs, w.validateScaleSpec(u)...)
	errs = append(errs, w.validateScaleStatus(u)...)
	errs = append(errs, schemaobjectmeta.Validate(ctx, nil, u.Object, v.structural, false)...)
	errs = append(errs, structurallisttype.ValidateListSetsAndMaps(nil, v.structural, u.Object)...)
	return append(errs, checkRules(ctx, v, u.Object, nil, errs)...)
}

func (w *work) validateUpdate(obj, old kinds.Object) field.ErrorList {
	u, v, errs := w.prepared(obj)
	if errs != nil {
		return errs
	}
	before, err := w.in(old)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	if errs := w.checkHeader(u); errs != nil {
		return errs
	}
	ctx := context.Background()
	correlated := common.NewCorrelatedObject(u.Object, before.Object, &model.Structural{Structural: v.structural})
	errs = apiservervalidation.ValidateCustomResourceUpdate(nil, u.Object, before.Object, v.validator, apiservervalidation.WithRatcheting(correlated))
	errs = append(errs, w.validateScaleSpec(u)...)
	errs = append(errs, w.validateScaleStatus(u)...)
	errs = append(errs, schemaobjectmeta.Validate(ctx, nil, u.Object, v.structural, false)...)
	errs = append(errs, ratchetedLists(v, u.Object, before.Object)...)
	return append(errs, checkRules(ctx, v, u.Object, before.Object, errs, cel.WithRatcheting(correlated))...)
}

// validateStatus checks a write of the status alone.
func (w *work) validateStatus(obj, old kinds.Object) field.ErrorList {
	u, v, errs := w.prepared(obj)
	if errs != nil {
		return errs
	}
	before, err := w.in(old)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	if errs := w.checkHeader(u); errs != nil {
		return errs
	}
	correlated := common.NewCorrelatedObject(u.Object, before.Object, &model.Structural{Structural: v.structural})
	if status, ok := u.Object["status"]; ok {
		var options []apiservervalidation.ValidationOption
		if v.structural != nil {
			options = append(options, apiservervalidation.WithRatcheting(correlated.Key("status")))
		}
		errs = append(errs, apiservervalidation.ValidateCustomResourceUpdate(field.NewPath("status"), status, before.Object["status"], v.statusValidator, options...)...)
	}
	errs = append(errs, w.validateScaleStatus(u)...)
	errs = append(errs, ratchetedLists(v, u.Object, before.Object)...)
	return append(errs, checkRules(context.Background(), v, u.Object, before.Object, errs, cel.WithRatcheting(correlated))...)
}

// ratchetedLists checks sets and maps in lists; what was wrong before may stay wrong.
func ratchetedLists(v *compiled, now, before map[string]any) field.ErrorList {
	errs := structurallisttype.ValidateListSetsAndMaps(nil, v.structural, now)
	if len(errs) > 0 && len(structurallisttype.ValidateListSetsAndMaps(nil, v.structural, before)) > 0 {
		return nil
	}
	return errs
}

// checkRules runs the CEL rules, unless what was found before makes their answer meaningless.
func checkRules(ctx context.Context, v *compiled, now, before map[string]any, found field.ErrorList, opts ...cel.Option) field.ErrorList {
	rules := v.rules()
	if rules == nil {
		return nil
	}
	blocking := []field.ErrorType{field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid}
	if slices.ContainsFunc(found, func(e *field.Error) bool { return slices.Contains(blocking, e.Type) }) {
		return field.ErrorList{field.Invalid(nil, nil, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")}
	}
	var old any
	if before != nil {
		old = before
	}
	errs, _ := rules.Validate(ctx, nil, v.structural, now, old, celconfig.RuntimeCELCostBudget, opts...)
	return errs
}

func (w *work) validateScaleSpec(u *unstructured.Unstructured) field.ErrorList {
	if w.scale == nil {
		return nil
	}
	return validateReplicas(u, w.scale.SpecReplicasPath, true)
}

func (w *work) validateScaleStatus(u *unstructured.Unstructured) field.ErrorList {
	if w.scale == nil {
		return nil
	}
	errs := validateReplicas(u, w.scale.StatusReplicasPath, false)
	if path := w.scale.LabelSelectorPath; path != nil {
		if s, _, err := unstructured.NestedString(u.Object, split(*path)...); err != nil {
			errs = append(errs, field.Invalid(field.NewPath(*path), s, err.Error()))
		}
	}
	return errs
}

func validateReplicas(u *unstructured.Unstructured, path string, _ bool) field.ErrorList {
	n, _, err := unstructured.NestedInt64(u.Object, split(path)...)
	at := field.NewPath(path)
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(at, n, err.Error())}
	case n < 0:
		return field.ErrorList{field.Invalid(at, n, "should be a non-negative integer")}
	case n > math.MaxInt32:
		return field.ErrorList{field.Invalid(at, n, fmt.Sprintf("should be less than or equal to %v", math.MaxInt32))}
	}
	return nil
}

// finalizerWarnings are about new finalizers that belong to nobody's domain.
func finalizerWarnings(obj, old kinds.Object) []string {
	fresh := slices.Clone(obj.GetFinalizers())
	if old != nil {
		fresh = slices.DeleteFunc(fresh, func(f string) bool { return slices.Contains(old.GetFinalizers(), f) })
	}
	slices.Sort(fresh)
	standard := []string{metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents, string(corev1.FinalizerKubernetes)}
	var out []string
	at := field.NewPath("metadata", "finalizers").String()
	for _, f := range slices.Compact(fresh) {
		for _, msg := range utilvalidation.IsQualifiedName(f) {
			out = append(out, fmt.Sprintf("%s: %q: %s", at, f, msg))
		}
		if strings.Contains(f, "/") || slices.Contains(standard, f) {
			continue
		}
		if strings.Contains(f, ".") {
			out = append(out, fmt.Sprintf("%s: %q: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers", at, f))
		} else {
			out = append(out, fmt.Sprintf("%s: %q: prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers", at, f))
		}
	}
	return out
}
