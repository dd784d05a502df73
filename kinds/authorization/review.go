package authorization

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

// SubjectAccessReview asks whether somebody may do something.
var SubjectAccessReview = kinds.Define(kinds.Definition[*authorizationv1.SubjectAccessReview, *authorizationv1.SubjectAccessReview]{
	Group: authorizationv1.GroupName, Version: "v1", Kind: "SubjectAccessReview", Plural: "subjectaccessreviews", Answered: true,
	New: func() *authorizationv1.SubjectAccessReview { return &authorizationv1.SubjectAccessReview{} },
	Validate: func(r *authorizationv1.SubjectAccessReview) field.ErrorList {
		return append(validateSubject(&r.Spec), emptyMeta(r.ObjectMeta, "must be empty")...)
	},
})

// LocalSubjectAccessReview asks whether somebody may do something in one namespace.
var LocalSubjectAccessReview = kinds.Define(kinds.Definition[*authorizationv1.LocalSubjectAccessReview, *authorizationv1.LocalSubjectAccessReview]{
	Group: authorizationv1.GroupName, Version: "v1", Kind: "LocalSubjectAccessReview", Plural: "localsubjectaccessreviews", Namespaced: true, Answered: true,
	New:      func() *authorizationv1.LocalSubjectAccessReview { return &authorizationv1.LocalSubjectAccessReview{} },
	Validate: validateLocal,
})

// SelfSubjectAccessReview asks whether the asker may do something.
var SelfSubjectAccessReview = kinds.Define(kinds.Definition[*authorizationv1.SelfSubjectAccessReview, *authorizationv1.SelfSubjectAccessReview]{
	Group: authorizationv1.GroupName, Version: "v1", Kind: "SelfSubjectAccessReview", Plural: "selfsubjectaccessreviews", Answered: true,
	New: func() *authorizationv1.SelfSubjectAccessReview { return &authorizationv1.SelfSubjectAccessReview{} },
	Validate: func(r *authorizationv1.SelfSubjectAccessReview) field.ErrorList {
		errs := oneOf(r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes)
		errs = append(errs, validateResource(r.Spec.ResourceAttributes)...)
		return append(errs, emptyMeta(r.ObjectMeta, "must be empty")...)
	},
})

// SelfSubjectRulesReview asks for all that the asker may do in a namespace.
var SelfSubjectRulesReview = kinds.Define(kinds.Definition[*authorizationv1.SelfSubjectRulesReview, *authorizationv1.SelfSubjectRulesReview]{
	Group: authorizationv1.GroupName, Version: "v1", Kind: "SelfSubjectRulesReview", Plural: "selfsubjectrulesreviews", Answered: true,
	New: func() *authorizationv1.SelfSubjectRulesReview { return &authorizationv1.SelfSubjectRulesReview{} },
})

func validateLocal(r *authorizationv1.LocalSubjectAccessReview) field.ErrorList {
	errs := validateSubject(&r.Spec)
	m := r.ObjectMeta
	m.Namespace = ""
	if !isEmpty(m) {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), r.ObjectMeta, "must be empty except for namespace"))
	}
	if a := r.Spec.ResourceAttributes; a != nil && a.Namespace != r.Namespace {
		errs = append(errs, field.Invalid(field.NewPath("spec.resourceAttributes.namespace"), a.Namespace, "must match metadata.namespace"))
	}
	if a := r.Spec.NonResourceAttributes; a != nil {
		errs = append(errs, field.Invalid(field.NewPath("spec.nonResourceAttributes"), a, "disallowed on this kind of request"))
	}
	return errs
}

func validateSubject(spec *authorizationv1.SubjectAccessReviewSpec) field.ErrorList {
	errs := oneOf(spec.ResourceAttributes, spec.NonResourceAttributes)
	if spec.User == "" && len(spec.Groups) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "user"), spec.User, "at least one of user or group must be specified"))
	}
	return append(errs, validateResource(spec.ResourceAttributes)...)
}

func oneOf(r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) field.ErrorList {
	fld := field.NewPath("spec")
	switch {
	case r != nil && n != nil:
		return field.ErrorList{field.Invalid(fld.Child("nonResourceAttributes"), n, "cannot be specified in combination with resourceAttributes")}
	case r == nil && n == nil:
		return field.ErrorList{field.Invalid(fld.Child("resourceAttributes"), n, "exactly one of nonResourceAttributes or resourceAttributes must be specified")}
	}
	return nil
}

func emptyMeta(m metav1.ObjectMeta, detail string) field.ErrorList {
	if isEmpty(m) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata"), m, detail)}
}

func isEmpty(m metav1.ObjectMeta) bool {
	m.ManagedFields = nil
	return equality.Semantic.DeepEqual(metav1.ObjectMeta{}, m)
}
