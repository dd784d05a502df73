package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/store"
)

// Status is the metav1.Status that a client sees for an error.
func Status(err error) *metav1.Status {
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			s = apierrors.NewTimeoutError("request did not complete within requested timeout - context deadline exceeded", 0)
		case errors.Is(err, context.Canceled):
			s = apierrors.NewTimeoutError("request did not complete within requested timeout - context canceled", 0)
		case errors.Is(err, store.ErrClosed):
			s = apierrors.NewServiceUnavailable("the server is shutting down")
		}
	}
	var out metav1.Status
	if s == nil {
		out = metav1.Status{Code: http.StatusInternalServerError, Reason: metav1.StatusReasonUnknown, Message: err.Error()}
	} else {
		out = s.Status()
	}
	if out.Status == "" {
		out.Status = metav1.StatusFailure
	}
	if out.Code == 0 {
		out.Code = http.StatusInternalServerError
		if out.Status == metav1.StatusSuccess {
			out.Code = http.StatusOK
		}
	}
	out.TypeMeta = metav1.TypeMeta{}
	return &out
}

func apiError(code int32, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}}
}

func notAcceptable(accepted ...string) error {
	return apiError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
		"only the following media types are accepted: "+strings.Join(accepted, ", "))
}

func unsupportedMedia(accepted ...string) error {
	return apiError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
		"the body of the request was in an unknown format - accepted media types include: "+strings.Join(accepted, ", "))
}

var forbiddenSanitizer = strings.NewReplacer(`&`, "&amp;", `<`, "&lt;", `>`, "&gt;")

// forbidden is the 403 for a decision of the authorizer.
func forbidden(a authorizer.Attributes, reason string) error {
	var msg string
	who := ""
	if a.GetUser() != nil {
		who = a.GetUser().GetName()
	}
	if !a.IsResourceRequest() {
		msg = fmt.Sprintf("User %q cannot %s path %q", who, a.GetVerb(), a.GetPath())
	} else {
		resource := a.GetResource()
		if a.GetSubresource() != "" {
			resource += "/" + a.GetSubresource()
		}
		msg = fmt.Sprintf("User %q cannot %s resource %q in API group %q", who, a.GetVerb(), resource, a.GetAPIGroup())
		if a.GetNamespace() != "" {
			msg += fmt.Sprintf(" in the namespace %q", a.GetNamespace())
		} else {
			msg += " at the cluster scope"
		}
	}
	msg = forbiddenSanitizer.Replace(msg)
	if reason != "" {
		msg += ": " + reason
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.GetAPIGroup(), Resource: a.GetResource()}, a.GetName(), errors.New(msg))
}

// tooLargeRevision is the answer to a read at a revision that has not been reached.
func tooLargeRevision(asked, current store.Revision) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", asked, current), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	return err
}

func expired(message string) error { return apierrors.NewResourceExpired(message) }
