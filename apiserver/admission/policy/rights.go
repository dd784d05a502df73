package policy

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/admissionregistration"
)

type rights struct{ cfg Config }

// Rights lets only those name parameters in a policy or a binding who may read them: expressions could tell their content.
func Rights(cfg Config) admission.Plugin { return rights{cfg} }

func (rights) Name() string { return "AdmissionPolicyParameters" }

// refs are the parameters that an object names, and the policy that says of what kind they are.
type refs struct {
	kind   *admissionv1.ParamKind
	ref    *admissionv1.ParamRef
	policy string
}

func refsOf(obj kinds.Object) refs {
	switch o := obj.(type) {
	case *admissionv1.ValidatingAdmissionPolicy:
		return refs{kind: o.Spec.ParamKind}
	case *admissionv1.MutatingAdmissionPolicy:
		return refs{kind: o.Spec.ParamKind}
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		return refs{ref: o.Spec.ParamRef, policy: o.Spec.PolicyName}
	case *admissionv1.MutatingAdmissionPolicyBinding:
		return refs{ref: o.Spec.ParamRef, policy: o.Spec.PolicyName}
	}
	return refs{}
}

func (p rights) Validate(ctx context.Context, r *admission.Request) error {
	if r.Object == nil || r.Subresource != "" {
		return nil
	}
	now := refsOf(r.Object)
	if now.kind == nil && now.ref == nil {
		return nil
	}
	if r.Old != nil && equality.Semantic.DeepEqual(now, refsOf(r.Old)) {
		return nil
	}
	for _, g := range r.User.GetGroups() {
		if g == user.SystemPrivilegedGroup {
			return nil
		}
	}
	a := authorizer.AttributesRecord{User: r.User, Verb: "get", ResourceRequest: true, Name: "*", Namespace: "*", APIGroup: "*", APIVersion: "*", Resource: "*"}
	kind := now.kind
	at := field.NewPath("spec", "paramKind")
	known := true
	if now.ref != nil {
		at = field.NewPath("spec", "paramRef")
		a.Name, a.Namespace = now.ref.Name, now.ref.Namespace
		if a.Name == "" {
			a.Verb = "list"
		}
		policies := admissionregistration.ValidatingAdmissionPolicy
		if r.Kind == admissionregistration.MutatingAdmissionPolicyBinding {
			policies = admissionregistration.MutatingAdmissionPolicy
		}
		obj, ok := p.cfg.Reader.Peek(policies, "", now.policy)
		if known = ok; ok {
			kind = refsOf(obj).kind
		}
	}
	if kind != nil {
		gvk := schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind)
		a.APIGroup, a.APIVersion = gvk.Group, gvk.Version
		if k, _ := p.cfg.Kind(gvk); k != nil {
			a.Resource = k.Plural
		}
	}
	decision, _, err := p.cfg.Authorizer.Authorize(ctx, a)
	if err == nil && decision == authorizer.DecisionAllow {
		return nil
	}
	var text string
	switch {
	case err != nil:
		text = fmt.Sprintf("failed to authorize request: %v", err)
	case now.ref == nil:
		text = fmt.Sprintf(`user %v must have "get" permission on all objects of the referenced paramKind (kind=%s, apiVersion=%s)`, r.User, kind.Kind, kind.APIVersion)
	case !known:
		text = fmt.Sprintf(`unable to get policy %s to determine minimum required permissions and user %v does not have "%v" permission for all groups, versions and resources`,
			now.policy, r.User, a.Verb)
	default:
		text = fmt.Sprintf(`user %v does not have "%v" permission on the object referenced by paramRef`, r.User, a.Verb)
	}
	return apierrors.NewInvalid(r.Kind.GVK().GroupKind(), r.Object.GetName(), field.ErrorList{field.Forbidden(at, text)})
}
