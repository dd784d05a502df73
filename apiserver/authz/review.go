package authz

import (
	"context"
	"errors"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/apiserver/connect"
	"github.com/tenet-run/tenet/kinds/authorization"
)

// Reviews are the handlers that answer the kinds of authorization.k8s.io, by group resource.
func (z *Authorizer) Reviews() map[string]connect.Handler {
	return map[string]connect.Handler{
		authorization.SubjectAccessReview.GroupResource().String(): {Action: func(ctx context.Context, _ *connect.Request, in runtime.Object) (runtime.Object, error) {
			r := in.(*authorizationv1.SubjectAccessReview)
			r.Status = z.review(ctx, subject(&r.Spec), r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes)
			return r, nil
		}},
		authorization.LocalSubjectAccessReview.GroupResource().String(): {Action: func(ctx context.Context, _ *connect.Request, in runtime.Object) (runtime.Object, error) {
			r := in.(*authorizationv1.LocalSubjectAccessReview)
			r.Status = z.review(ctx, subject(&r.Spec), r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes)
			return r, nil
		}},
		authorization.SelfSubjectAccessReview.GroupResource().String(): {Action: func(ctx context.Context, q *connect.Request, in runtime.Object) (runtime.Object, error) {
			r := in.(*authorizationv1.SelfSubjectAccessReview)
			r.Status = z.review(ctx, q.User, r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes)
			return r, nil
		}},
		authorization.SelfSubjectRulesReview.GroupResource().String(): {Action: func(ctx context.Context, q *connect.Request, in runtime.Object) (runtime.Object, error) {
			return z.rulesReview(ctx, q.User, in.(*authorizationv1.SelfSubjectRulesReview))
		}},
	}
}

func subject(spec *authorizationv1.SubjectAccessReviewSpec) user.Info {
	u := &user.DefaultInfo{Name: spec.User, Groups: spec.Groups, UID: spec.UID}
	for k, v := range spec.Extra {
		if u.Extra == nil {
			u.Extra = make(map[string][]string, len(spec.Extra))
		}
		u.Extra[k] = v
	}
	return u
}

func (z *Authorizer) review(ctx context.Context, u user.Info, r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) authorizationv1.SubjectAccessReviewStatus {
	a := authorizer.AttributesRecord{User: u}
	if r != nil {
		a.ResourceRequest = true
		a.Verb, a.Namespace, a.APIGroup, a.APIVersion, a.Resource, a.Subresource, a.Name = r.Verb, r.Namespace, r.Group, r.Version, r.Resource, r.Subresource, r.Name
		if a.APIVersion == "" {
			a.APIVersion = "*"
		}
		selectorsOf(&a, r)
	} else {
		a.Verb, a.Path = n.Verb, n.Path
	}
	decision, reason, err := z.Authorize(ctx, a)
	return authorizationv1.SubjectAccessReviewStatus{
		Allowed: decision == authorizer.DecisionAllow, Denied: decision == authorizer.DecisionDeny, Reason: reason, EvaluationError: evaluationError(err, &a),
	}
}

func selectorsOf(a *authorizer.AttributesRecord, r *authorizationv1.ResourceAttributes) {
	if s := r.LabelSelector; s != nil {
		if s.RawSelector != "" {
			sel, err := labels.Parse(s.RawSelector)
			if err == nil {
				a.LabelSelectorRequirements, _ = sel.Requirements()
			}
			a.LabelSelectorParsingErr = err
		}
		if len(s.Requirements) > 0 {
			a.LabelSelectorRequirements, a.LabelSelectorParsingErr = labelRequirements(s.Requirements)
		}
	}
	if s := r.FieldSelector; s != nil {
		if s.RawSelector != "" {
			sel, err := fields.ParseSelector(s.RawSelector)
			if err == nil {
				a.FieldSelectorRequirements = sel.Requirements()
			}
			a.FieldSelectorParsingErr = err
		}
		if len(s.Requirements) > 0 {
			a.FieldSelectorRequirements, a.FieldSelectorParsingErr = fieldRequirements(s.Requirements)
		}
	}
}

// evaluationError says which part of a question was not understood. Leaving a requirement out makes the question wider, never narrower.
func evaluationError(err error, a *authorizer.AttributesRecord) string {
	var out []string
	if err != nil {
		out = append(out, err.Error())
	}
	note := func(name string, left int, err error) {
		switch {
		case err == nil:
		case left > 0:
			out = append(out, "spec.resourceAttributes."+name+" partially ignored due to parse error")
		default:
			out = append(out, "spec.resourceAttributes."+name+" ignored due to parse error")
		}
	}
	note("fieldSelector", len(a.FieldSelectorRequirements), a.FieldSelectorParsingErr)
	note("labelSelector", len(a.LabelSelectorRequirements), a.LabelSelectorParsingErr)
	return strings.Join(out, "; ")
}

var errNoNamespace = errors.New("no namespace on request")

func (z *Authorizer) rulesReview(ctx context.Context, u user.Info, r *authorizationv1.SelfSubjectRulesReview) (runtime.Object, error) {
	if r.Spec.Namespace == "" {
		return nil, apierrors.NewBadRequest(errNoNamespace.Error())
	}
	resources, paths, incomplete, err := z.RulesFor(ctx, u, r.Spec.Namespace)
	out := &authorizationv1.SelfSubjectRulesReview{Status: authorizationv1.SubjectRulesReviewStatus{
		ResourceRules: make([]authorizationv1.ResourceRule, 0, len(resources)), NonResourceRules: make([]authorizationv1.NonResourceRule, 0, len(paths)), Incomplete: incomplete,
	}}
	for _, r := range resources {
		out.Status.ResourceRules = append(out.Status.ResourceRules, authorizationv1.ResourceRule{
			Verbs: r.GetVerbs(), APIGroups: r.GetAPIGroups(), Resources: r.GetResources(), ResourceNames: r.GetResourceNames(),
		})
	}
	for _, r := range paths {
		out.Status.NonResourceRules = append(out.Status.NonResourceRules, authorizationv1.NonResourceRule{Verbs: r.GetVerbs(), NonResourceURLs: r.GetNonResourceURLs()})
	}
	if err != nil {
		out.Status.EvaluationError = err.Error()
	}
	return out, nil
}
