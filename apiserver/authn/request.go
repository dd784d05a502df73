package authn

import (
	"context"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"

	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

const (
	defaultExpiration = 3600
	minExpiration     = 600
	maxExpiration     = 1 << 32
	// ProjectedExpiration is what the ServiceAccount admission plugin asks for in the volume that it adds. A pod-bound token for the API server with exactly this
	// expiration lives a year, as upstream: programs that read their token only once go on working.
	ProjectedExpiration = 60*60 + 7
	extendedExpiration  = 365 * 24 * 60 * 60
)

var tokenRequest = authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")

// Handler is the action behind serviceaccounts/token.
func (t *Tokens) Handler() connect.Handler { return connect.Handler{Action: t.Request} }

// Request answers a TokenRequest. q.Object is the service account.
func (t *Tokens) Request(_ context.Context, q *connect.Request, in runtime.Object) (runtime.Object, error) {
	sa, ok := q.Object.(*corev1.ServiceAccount)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("token of a %T", q.Object))
	}
	req, ok := in.(*authenticationv1.TokenRequest)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a TokenRequest: %T", in))
	}
	if req.Name != "" && req.Name != sa.Name {
		return nil, apierrors.NewInvalid(tokenRequest.GroupKind(), sa.Name, field.ErrorList{field.Invalid(field.NewPath("metadata", "name"), req.Name, "must match the service account name if specified")})
	}
	if req.Namespace != "" && req.Namespace != sa.Namespace {
		return nil, apierrors.NewInvalid(tokenRequest.GroupKind(), sa.Name, field.ErrorList{field.Invalid(field.NewPath("metadata", "namespace"), req.Namespace, "must match the service account namespace if specified")})
	}
	if req.UID != "" && req.UID != sa.UID {
		return nil, conflict(tokenRequest, sa.Name, "the UID in the token request (%s) does not match the UID of the service account (%s)", req.UID, sa.UID)
	}
	now := t.cfg.Now()
	req.Name, req.Namespace, req.UID = sa.Name, sa.Namespace, sa.UID
	req.CreationTimestamp = metav1.NewTime(now.Truncate(time.Second))
	req.Status = authenticationv1.TokenRequestStatus{}
	if len(req.Spec.Audiences) == 0 {
		req.Spec.Audiences = append([]string(nil), t.cfg.Audiences...)
	}
	if req.Spec.ExpirationSeconds == nil {
		req.Spec.ExpirationSeconds = new(int64(defaultExpiration))
	}
	if errs := validateRequest(req); len(errs) > 0 {
		return nil, apierrors.NewInvalid(tokenRequest.GroupKind(), "", errs)
	}

	c := &claims{Kubernetes: bound{Namespace: sa.Namespace, Account: ref{sa.Name, sa.UID}}}
	if err := t.bind(&c.Kubernetes, req.Spec.BoundObjectRef, sa); err != nil {
		return nil, err
	}
	seconds := *req.Spec.ExpirationSeconds
	if seconds == ProjectedExpiration && c.Kubernetes.Pod != nil && t.isOurs(req.Spec.Audiences) {
		c.Kubernetes.WarnAfter = jwt.NewNumericDate(now.Add(time.Duration(seconds) * time.Second))
		seconds = extendedExpiration
	}
	c.Claims = jwt.Claims{
		Subject:   serviceaccount.MakeUsername(sa.Namespace, sa.Name),
		Audience:  jwt.Audience(req.Spec.Audiences),
		IssuedAt:  jwt.NewNumericDate(now),
		NotBefore: jwt.NewNumericDate(now),
		Expiry:    jwt.NewNumericDate(now.Add(time.Duration(seconds) * time.Second)),
		ID:        string(uuid.NewUUID()),
	}
	token, err := t.sign(c)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	req.Status.Token = token
	req.Status.ExpirationTimestamp = metav1.NewTime(now.Add(time.Duration(*req.Spec.ExpirationSeconds) * time.Second).Truncate(time.Second))
	return req, nil
}

func validateRequest(req *authenticationv1.TokenRequest) field.ErrorList {
	var errs field.ErrorList
	path, seconds := field.NewPath("spec", "expirationSeconds"), *req.Spec.ExpirationSeconds
	if seconds < minExpiration {
		errs = append(errs, field.Invalid(path, seconds, "may not specify a duration less than 10 minutes"))
	}
	if seconds > maxExpiration {
		errs = append(errs, field.Invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))
	}
	return errs
}

// bind checks the object that the token is to live and die with, and writes it into the claims.
func (t *Tokens) bind(b *bound, to *authenticationv1.BoundObjectReference, sa *corev1.ServiceAccount) error {
	if to == nil {
		return nil
	}
	gvk := schema.FromAPIVersionAndKind(to.APIVersion, to.Kind)
	var k *kinds.Kind
	namespace, into := sa.Namespace, (**ref)(nil)
	switch {
	case gvk.Group == "" && gvk.Kind == "Pod":
		k, into = core.Pod, &b.Pod
	case gvk.Group == "" && gvk.Kind == "Secret":
		k, into = core.Secret, &b.Secret
	case gvk.Group == "" && gvk.Kind == "Node":
		k, into, namespace = core.Node, &b.Node, ""
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", gvk.String()))
	}
	obj, ok := t.reader.Peek(k, namespace, to.Name)
	if !ok {
		return apierrors.NewNotFound(k.GroupResource(), to.Name)
	}
	if pod, ok := obj.(*corev1.Pod); ok {
		if pod.Spec.ServiceAccountName != sa.Name {
			return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", sa.Name))
		}
		if name := pod.Spec.NodeName; name != "" {
			b.Node = &ref{Name: name}
			if node, ok := t.reader.Peek(core.Node, "", name); ok {
				b.Node.UID = node.GetUID()
			}
		}
	}
	if to.UID != "" && to.UID != obj.GetUID() {
		return conflict(gvk, to.Name, "the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", to.UID)
	}
	*into = &ref{to.Name, obj.GetUID()}
	return nil
}

func conflict(gvk schema.GroupVersionKind, name, format string, args ...any) error {
	return apierrors.NewConflict(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, name, fmt.Errorf(format, args...))
}
