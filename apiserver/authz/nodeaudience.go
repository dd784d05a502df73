package authz

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/apiserver/admission"
)

// audience: the token is for an audience that a volume of the pod names, or one that the node may ask for by verb request-serviceaccounts-token-audience.
func (p nodeRestriction) audience(ctx context.Context, r *admission.Request, req *authenticationv1.TokenRequest, pod *corev1.Pod) error {
	audience := ""
	switch len(req.Spec.Audiences) {
	case 0:
	case 1:
		audience = req.Spec.Audiences[0]
	default:
		return admission.Forbidden(r, "node may only request 0 or 1 audiences")
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == audience {
				return nil
			}
		}
	}
	decision, _, _ := p.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: r.User, Verb: "request-serviceaccounts-token-audience", Namespace: r.Namespace, APIVersion: "v1", Resource: audience, Name: r.Name, ResourceRequest: true,
	})
	if decision == authorizer.DecisionAllow {
		return nil
	}
	return admission.Forbidden(r, "audience %q not found in pod spec volume, %s is not authorized to request tokens for this audience", audience, r.User.GetName())
}
