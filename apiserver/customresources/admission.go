package customresources

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/util/webhook"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds/apiextensions"
	"github.com/tenet-run/tenet/kinds/custom"
)

var (
	_ admission.Mutator   = (*Registry)(nil)
	_ admission.Completer = (*Registry)(nil)
)

// Name implements admission.Plugin.
func (*Registry) Name() string { return "CustomResourceDefinitions" }

// Mutate refuses objects whose definition is being deleted.
func (r *Registry) Mutate(_ context.Context, req *admission.Request) error { return r.mayCreate(req) }

// Complete settles a definition before it is written, and looks once more whether an object may still be made.
func (r *Registry) Complete(ctx context.Context, req *admission.Request) error {
	if req.Kind != apiextensions.CustomResourceDefinition || req.Operation == admission.Delete {
		return r.mayCreate(req)
	}
	crd, ok := req.Object.(*apiextensionsv1.CustomResourceDefinition)
	if !ok || crd.DeletionTimestamp != nil {
		return nil
	}
	select {
	case r.naming <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	req.AfterWrite(func() { <-r.naming })
	r.settle(crd)
	return nil
}

func (r *Registry) mayCreate(req *admission.Request) error {
	d := custom.Of(req.Kind)
	if d == nil || req.Operation != admission.Create || req.Subresource != "" {
		return nil
	}
	if now := r.definition(d.Name); now != nil && now.kind != nil && !custom.Of(now.kind).Terminating {
		return nil
	}
	return apierrors.NewForbidden(req.Kind.GroupResource(), req.Name, errors.New("create not allowed while custom resource definition is terminating"))
}

// settle gives a definition its conditions. The caller holds naming.
func (r *Registry) settle(crd *apiextensionsv1.CustomResourceDefinition) {
	now := metav1.NewTime(r.cfg.Now())
	set := func(c apiextensionsv1.CustomResourceDefinitionCondition) {
		c.LastTransitionTime = now
		if had := apihelpers.FindCRDCondition(crd, c.Type); had == nil || !apihelpers.IsCRDConditionEquivalent(had, &c) {
			apiextensions.SetCondition(crd, c)
		}
	}
	if c := nonStructural(crd); c != nil {
		set(*c)
	} else {
		apihelpers.RemoveCRDCondition(crd, apiextensionsv1.NonStructuralSchema)
	}
	if c := approval(crd); c != nil {
		set(*c)
	}
	if equality.Semantic.DeepEqual(crd.Spec.Names, crd.Status.AcceptedNames) && apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.NamesAccepted) &&
		apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		return
	}
	names, accepted := accept(crd, r.taken(crd.Spec.Group))
	crd.Status.AcceptedNames = names
	set(accepted)
	if apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		return // it stays so, whatever becomes of further names
	}
	established := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionFalse, Reason: "NotAccepted", Message: "not all names are accepted",
	}
	if accepted.Status == apiextensionsv1.ConditionTrue {
		established.Status, established.Reason, established.Message = apiextensionsv1.ConditionTrue, "InitialNamesAccepted", "the initial names have been accepted"
		if brokenBundle(crd) {
			established.Status, established.Reason, established.Message = apiextensionsv1.ConditionFalse, "InvalidCABundle", "The conversion webhook CABundle is invalid"
		}
	}
	set(established)
}

func brokenBundle(crd *apiextensionsv1.CustomResourceDefinition) bool {
	c := crd.Spec.Conversion
	return c != nil && c.Webhook != nil && c.Webhook.ClientConfig != nil && len(webhook.ValidateCABundle(field.NewPath(""), c.Webhook.ClientConfig.CABundle)) > 0
}

// nonStructural is the condition of a definition from before v1, or nil. What is written through v1 is structural, unless it keeps all unknown fields.
func nonStructural(crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	if !crd.Spec.PreserveUnknownFields && apihelpers.FindCRDCondition(crd, apiextensionsv1.NonStructuralSchema) == nil {
		return nil
	}
	cond := &apiextensionsv1.CustomResourceDefinitionCondition{Type: apiextensionsv1.NonStructuralSchema, Status: apiextensionsv1.ConditionUnknown}
	var errs field.ErrorList
	if crd.Spec.PreserveUnknownFields {
		errs = append(errs, field.Invalid(field.NewPath("spec", "preserveUnknownFields"), true, "must be false"))
	}
	for i, v := range crd.Spec.Versions {
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		in := &internal.CustomResourceValidation{}
		if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.Schema.DeepCopy(), in, nil); err != nil {
			continue
		}
		s, err := structuralschema.NewStructural(in.OpenAPIV3Schema)
		if err != nil {
			cond.Reason, cond.Message = "StructuralError", fmt.Sprintf("failed to check validation schema for version %s: %v", v.Name, err)
			return cond
		}
		errs = append(errs, structuralschema.ValidateStructural(field.NewPath("spec", "versions").Index(i).Child("schema", "openAPIV3Schema"), s)...)
	}
	if len(errs) == 0 {
		return nil
	}
	cond.Status, cond.Reason, cond.Message = apiextensionsv1.ConditionTrue, "Violations", errs.ToAggregate().Error()
	return cond
}

// approval is the condition of a definition in one of Kubernetes' own groups (*.k8s.io, *.kubernetes.io), or nil.
func approval(crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	if !apihelpers.IsProtectedCommunityGroup(crd.Spec.Group) {
		return nil
	}
	cond := &apiextensionsv1.CustomResourceDefinitionCondition{Type: apiextensionsv1.KubernetesAPIApprovalPolicyConformant, Status: apiextensionsv1.ConditionFalse}
	state, message := apihelpers.GetAPIApprovalState(crd.Annotations)
	cond.Message = message
	switch state {
	case apihelpers.APIApprovalInvalid:
		cond.Reason = "InvalidAnnotation"
	case apihelpers.APIApprovalMissing:
		cond.Reason = "MissingAnnotation"
	case apihelpers.APIApproved:
		cond.Status, cond.Reason = apiextensionsv1.ConditionTrue, "ApprovedAnnotation"
	case apihelpers.APIApprovalBypassed:
		cond.Reason = "UnapprovedAnnotation"
	default:
		cond.Status, cond.Reason = apiextensionsv1.ConditionUnknown, "UnknownAnnotation"
	}
	return cond
}
