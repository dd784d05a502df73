package core

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/kinds"
)

const enforceMountableSecrets = "kubernetes.io/enforce-mountable-secrets"

// ServiceAccount is an identity for pods. Its token subresource takes a TokenRequest; the API server signs.
var ServiceAccount = kinds.Define(kinds.Definition[*corev1.ServiceAccount, *corev1.ServiceAccountList]{
	Group: "", Version: "v1", Kind: "ServiceAccount", Plural: "serviceaccounts", ShortNames: []string{"sa"}, Namespaced: true,
	ReturnDeleted: true,
	New:           func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} },
	NewList:       func() *corev1.ServiceAccountList { return &corev1.ServiceAccountList{} },
	BeforeCreate:  keepSecretNames,
	BeforeUpdate:  func(sa, _ *corev1.ServiceAccount) { keepSecretNames(sa) },
	Warnings: func(sa, old *corev1.ServiceAccount) []string {
		if old != nil {
			if _, had := old.Annotations[enforceMountableSecrets]; had {
				return nil
			}
		}
		if _, has := sa.Annotations[enforceMountableSecrets]; has {
			return []string{"metadata.annotations[" + enforceMountableSecrets + "]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"}
		}
		return nil
	},
	Columns: []metav1.TableColumnDefinition{kinds.NameColumn(), kinds.AgeColumn()},
	Row:     func(sa *corev1.ServiceAccount) []any { return []any{sa.Name, kinds.Age(sa.CreationTimestamp)} },
	Subresources: []*kinds.Subresource{{
		Name: "token", Verbs: []string{"create"}, Connect: true,
		GVK: authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"), New: newObject[authenticationv1.TokenRequest],
	}},
})

// keepSecretNames drops everything of a secret reference but its name.
func keepSecretNames(sa *corev1.ServiceAccount) {
	for i, s := range sa.Secrets {
		sa.Secrets[i] = corev1.ObjectReference{Name: s.Name}
	}
}

// DefaultTokenRequest sets the defaults of a TokenRequest.
func DefaultTokenRequest(r *authenticationv1.TokenRequest) {
	if r.Spec.ExpirationSeconds == nil {
		hour := int64(3600)
		r.Spec.ExpirationSeconds = &hour
	}
}

// ValidateTokenRequest says what is wrong with a TokenRequest whose defaults are set.
func ValidateTokenRequest(r *authenticationv1.TokenRequest) field.ErrorList {
	fld := field.NewPath("spec", "expirationSeconds")
	var errs field.ErrorList
	if *r.Spec.ExpirationSeconds < 600 {
		errs = append(errs, field.Invalid(fld, *r.Spec.ExpirationSeconds, "may not specify a duration less than 10 minutes"))
	}
	if *r.Spec.ExpirationSeconds > 1<<32 {
		errs = append(errs, field.Invalid(fld, *r.Spec.ExpirationSeconds, "may not specify a duration larger than 2^32 seconds"))
	}
	return errs
}
