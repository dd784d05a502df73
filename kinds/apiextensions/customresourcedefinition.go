// Package apiextensions has the kind by which users add kinds: CustomResourceDefinition. What becomes of one is in kinds/custom.
//
// Validation is upstream's own (k8s.io/apiextensions-apiserver): it compiles the CEL rules of a schema and estimates their cost. The programs are let go with the
// request; they are compiled again when the first object is checked.
package apiextensions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// CustomResourceDefinition brings a kind into being.
var CustomResourceDefinition = kinds.Define(kinds.Definition[*apiextensionsv1.CustomResourceDefinition, *apiextensionsv1.CustomResourceDefinitionList]{
	Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition", Plural: "customresourcedefinitions",
	ShortNames: []string{"crd", "crds"}, Categories: []string{"api-extensions"},
	Prefix: "apiextensions.k8s.io/customresourcedefinitions",
	New:    func() *apiextensionsv1.CustomResourceDefinition { return &apiextensionsv1.CustomResourceDefinition{} },
	NewList: func() *apiextensionsv1.CustomResourceDefinitionList {
		return &apiextensionsv1.CustomResourceDefinitionList{}
	},
	Default: apiextensionsv1.SetObjectDefaults_CustomResourceDefinition,
	// The name must be that of the resource, which validation says.
	ValidName:  func(string, bool) []string { return nil },
	Spec:       func(c *apiextensionsv1.CustomResourceDefinition) any { return c.Spec },
	CopyStatus: func(dst, src *apiextensionsv1.CustomResourceDefinition) { dst.Status = *src.Status.DeepCopy() },
	CopySpec: func(dst, src *apiextensionsv1.CustomResourceDefinition) {
		dst.Spec = *src.Spec.DeepCopy()
		m := src.ObjectMeta.DeepCopy()
		// A status write may let go of a finalizer, and carries its own managedFields and revision.
		m.Finalizers, m.ManagedFields, m.ResourceVersion = dst.Finalizers, dst.ManagedFields, dst.ResourceVersion
		m.Labels, m.Annotations = dst.Labels, dst.Annotations
		dst.ObjectMeta = *m
	},
	BeforeCreate:          storeStorageVersion,
	BeforeUpdate:          func(c, _ *apiextensionsv1.CustomResourceDefinition) { storeStorageVersion(c) },
	Validate:              func(c *apiextensionsv1.CustomResourceDefinition) field.ErrorList { return validate(c, nil) },
	ValidateUpdate:        validate,
	ValidateStatus:        validateStatus,
	Warnings:              warnings,
	NoUnconditionalUpdate: true,
	// A first deletion always waits: objects go before their definition.
	Finalizing: func(c *apiextensionsv1.CustomResourceDefinition) bool { return c.DeletionTimestamp == nil },
	OnDelete:   terminate,
	Columns: []metav1.TableColumnDefinition{
		kinds.NameColumn(),
		{Name: "Created At", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]},
	},
	Row: func(c *apiextensionsv1.CustomResourceDefinition) []any {
		return []any{c.Name, c.CreationTimestamp.Time.UTC().Format(time.RFC3339)}
	},
})

// storeStorageVersion remembers in the status that objects may be stored in the storage version from now on.
func storeStorageVersion(c *apiextensionsv1.CustomResourceDefinition) {
	for _, v := range c.Spec.Versions {
		if v.Storage {
			if !slices.Contains(c.Status.StoredVersions, v.Name) {
				c.Status.StoredVersions = append(slices.Clone(c.Status.StoredVersions), v.Name)
			}
			return
		}
	}
}

// terminate is what a deletion does at once: no more objects are created, and the definition waits for those there are.
func terminate(c *apiextensionsv1.CustomResourceDefinition) {
	if apihelpers.CRDHasFinalizer(c, apiextensionsv1.CustomResourceCleanupFinalizer) || apihelpers.IsCRDConditionTrue(c, apiextensionsv1.Terminating) {
		return
	}
	c.Finalizers = append(slices.Clone(c.Finalizers), apiextensionsv1.CustomResourceCleanupFinalizer)
	SetCondition(c, apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue, Reason: "InstanceDeletionPending",
		Message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon", LastTransitionTime: *c.DeletionTimestamp,
	})
}

// SetCondition is apihelpers.SetCRDCondition with the time that the condition carries; it counts when the status changes.
func SetCondition(c *apiextensionsv1.CustomResourceDefinition, cond apiextensionsv1.CustomResourceDefinitionCondition) {
	i := slices.IndexFunc(c.Status.Conditions, func(have apiextensionsv1.CustomResourceDefinitionCondition) bool { return have.Type == cond.Type })
	if i < 0 {
		c.Status.Conditions = append(c.Status.Conditions, cond)
		return
	}
	if c.Status.Conditions[i].Status == cond.Status {
		cond.LastTransitionTime = c.Status.Conditions[i].LastTransitionTime
	}
	c.Status.Conditions[i] = cond
}

// toInternal gives a definition in the form that upstream's checks want. It shares memory with c, which the checks do not change.
func toInternal(c *apiextensionsv1.CustomResourceDefinition) (*internal.CustomResourceDefinition, error) {
	out := &internal.CustomResourceDefinition{}
	err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(c, out, nil)
	return out, err
}

// withOld runs a check of upstream on a definition and the one before it.
func withOld(c, old *apiextensionsv1.CustomResourceDefinition, check func(c, old *internal.CustomResourceDefinition) field.ErrorList) field.ErrorList {
	in, err := toInternal(c)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, fmt.Errorf("convert: %w", err))}
	}
	var before *internal.CustomResourceDefinition
	if old != nil {
		if before, err = toInternal(old.DeepCopy()); err != nil { // old is shared with others
			return field.ErrorList{field.InternalError(nil, fmt.Errorf("convert: %w", err))}
		}
	}
	errs := check(in, before)
	// Metadata is checked elsewhere, but for what definitions alone ask of the name and of one annotation.
	approval := field.NewPath("metadata", "annotations").Key(apiextensionsv1.KubeAPIApprovedAnnotation).String()
	return slices.DeleteFunc(errs, func(e *field.Error) bool {
		return strings.HasPrefix(e.Field, "metadata.") && e.Field != approval && !(e.Field == "metadata.name" && e.Type == field.ErrorTypeInvalid)
	})
}

func validate(c, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	return withOld(c, old, func(c, old *internal.CustomResourceDefinition) field.ErrorList {
		if old == nil {
			return validation.ValidateCustomResourceDefinition(context.Background(), c)
		}
		return validation.ValidateCustomResourceDefinitionUpdate(context.Background(), c, old)
	})
}

func validateStatus(c, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	return withOld(c, old, func(c, old *internal.CustomResourceDefinition) field.ErrorList {
		return validation.ValidateUpdateCustomResourceDefinitionStatus(context.Background(), c, old)
	})
}
