package authn

import (
	"context"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/kinds/authentication"
)

// Reviews are the handlers that answer the kinds of authentication.k8s.io, by group resource. Without tokens no token is anybody's. now is time.Now when nil.
func Reviews(tokens *Tokens, now func() time.Time) map[string]connect.Handler {
	if now == nil {
		now = time.Now
	}
	return map[string]connect.Handler{
		authentication.TokenReview.GroupResource().String(): {Action: func(ctx context.Context, _ *connect.Request, in runtime.Object) (runtime.Object, error) {
			return reviewToken(ctx, tokens, in.(*authenticationv1.TokenReview))
		}},
		authentication.SelfSubjectReview.GroupResource().String(): {Action: func(_ context.Context, q *connect.Request, _ runtime.Object) (runtime.Object, error) {
			return &authenticationv1.SelfSubjectReview{
				ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now().Truncate(time.Second))},
				Status:     authenticationv1.SelfSubjectReviewStatus{UserInfo: UserInfo(q.User)},
			}, nil
		}},
	}
}

func reviewToken(ctx context.Context, tokens *Tokens, r *authenticationv1.TokenReview) (runtime.Object, error) {
	if r.Spec.Token == "" {
		return nil, apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	if tokens == nil {
		r.Status.Error = errInvalidToken.Error()
		return r, nil
	}
	wanted := authenticator.Audiences(r.Spec.Audiences)
	if len(wanted) == 0 {
		wanted = tokens.cfg.Audiences
	}
	resp, ok, err := tokens.AuthenticateToken(authenticator.WithAudiences(ctx, wanted), r.Spec.Token)
	r.Status.Authenticated = ok
	if err == nil && !ok {
		err = errInvalidToken
	}
	if err != nil {
		r.Status.Error = err.Error()
	}
	if resp != nil {
		r.Status.User, r.Status.Audiences = UserInfo(resp.User), resp.Audiences
	}
	return r, nil
}

// UserInfo is a user as reviews and webhooks see it.
func UserInfo(u user.Info) authenticationv1.UserInfo {
	out := authenticationv1.UserInfo{Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups()}
	for k, v := range u.GetExtra() {
		if out.Extra == nil {
			out.Extra = make(map[string]authenticationv1.ExtraValue, len(u.GetExtra()))
		}
		out.Extra[k] = v
	}
	return out
}
