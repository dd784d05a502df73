package authentication

import (
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/tenet-run/tenet/kinds"
)

// TokenReview asks whose a bearer token is.
var TokenReview = kinds.Define(kinds.Definition[*authenticationv1.TokenReview, *authenticationv1.TokenReview]{
	Group: authenticationv1.GroupName, Version: "v1", Kind: "TokenReview", Plural: "tokenreviews", Answered: true,
	New: func() *authenticationv1.TokenReview { return &authenticationv1.TokenReview{} },
})

// SelfSubjectReview asks who the asker is.
var SelfSubjectReview = kinds.Define(kinds.Definition[*authenticationv1.SelfSubjectReview, *authenticationv1.SelfSubjectReview]{
	Group: authenticationv1.GroupName, Version: "v1", Kind: "SelfSubjectReview", Plural: "selfsubjectreviews", Answered: true,
	New: func() *authenticationv1.SelfSubjectReview { return &authenticationv1.SelfSubjectReview{} },
})
