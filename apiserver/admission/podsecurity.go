package admission

import (
	"context"
	"errors"
	"strings"
	"sync"

	admissionreview "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	podsecurity "k8s.io/pod-security-admission/admission"
	podsecurityapi "k8s.io/pod-security-admission/admission/api"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"

	"github.com/tenet-run/tenet/kinds/core"
)

type podSecurity struct {
	reader   Reader
	delegate func() (*podsecurity.Admission, error)
}

// PodSecurity keeps pods to the standard (privileged, baseline, restricted) that their namespace's labels name, and warns of templates of pods that would not be
// let in. It is Kubernetes' own, made when a namespace first has such a label; without one, everything is allowed.
func PodSecurity(reader Reader) Plugin {
	return podSecurity{reader, sync.OnceValues(func() (*podsecurity.Admission, error) {
		checks, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
		if err != nil {
			return nil, err
		}
		a := &podsecurity.Admission{
			Configuration: &podsecurityapi.PodSecurityConfiguration{Defaults: podsecurityapi.PodSecurityDefaults{
				Enforce: "privileged", EnforceVersion: "latest", Audit: "privileged", AuditVersion: "latest", Warn: "privileged", WarnVersion: "latest",
			}},
			Evaluator: checks, Metrics: unmeasured{}, PodSpecExtractor: podsecurity.DefaultPodSpecExtractor{},
			NamespaceGetter: podSecurityReader{reader}, PodLister: podSecurityReader{reader},
		}
		return a, errors.Join(a.CompleteConfiguration(), a.ValidateConfiguration())
	})}
}

func (podSecurity) Name() string { return "PodSecurity" }

const podSecurityLabel = "pod-security.kubernetes.io/"

// labelled reports whether a namespace says anything of the matter.
func labelled(labels map[string]string) bool {
	for k := range labels {
		if strings.HasPrefix(k, podSecurityLabel) {
			return true
		}
	}
	return false
}

func (p podSecurity) Validate(ctx context.Context, r *Request) error {
	if r.Operation != Create && r.Operation != Update || r.Object == nil {
		return nil
	}
	if r.Kind == core.Namespace {
		if !labelled(r.Object.GetLabels()) && (r.Old == nil || !labelled(r.Old.GetLabels())) {
			return nil
		}
	} else {
		gr := r.Kind.GroupResource()
		if r.Kind != core.Pod && !(podsecurity.DefaultPodSpecExtractor{}).HasPodSpec(gr) {
			return nil
		}
		ns, ok := p.reader.Peek(core.Namespace, "", r.Namespace)
		if !ok || !labelled(ns.GetLabels()) {
			return nil
		}
	}
	delegate, err := p.delegate()
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	got := delegate.Validate(ctx, podSecurityAttributes{r})
	for _, w := range got.Warnings {
		r.Warn(w)
	}
	if got.Allowed {
		return nil
	}
	var status *apierrors.StatusError
	if !errors.As(Forbidden(r, "Not allowed by PodSecurity"), &status) || got.Result == nil {
		return status
	}
	if got.Result.Message != "" {
		status.ErrStatus.Message = got.Result.Message
	}
	if got.Result.Reason != "" {
		status.ErrStatus.Reason = got.Result.Reason
	}
	if got.Result.Details != nil {
		status.ErrStatus.Details = got.Result.Details
	}
	if got.Result.Code != 0 {
		status.ErrStatus.Code = got.Result.Code
	}
	return status
}

// podSecurityAttributes is a request as that package sees it. It looks at hub objects, which are those of v1.
type podSecurityAttributes struct{ r *Request }

var _ api.Attributes = podSecurityAttributes{}

func (a podSecurityAttributes) GetName() string                          { return a.r.Name }
func (a podSecurityAttributes) GetNamespace() string                     { return a.r.Namespace }
func (a podSecurityAttributes) GetResource() schema.GroupVersionResource { return a.r.Kind.GVR() }
func (a podSecurityAttributes) GetKind() schema.GroupVersionKind         { return a.r.Kind.GVK() }
func (a podSecurityAttributes) GetSubresource() string                   { return a.r.Subresource }
func (a podSecurityAttributes) GetOperation() admissionreview.Operation {
	return admissionreview.Operation(a.r.Operation)
}
func (a podSecurityAttributes) GetObject() (runtime.Object, error)    { return a.r.Object, nil }
func (a podSecurityAttributes) GetOldObject() (runtime.Object, error) { return a.r.Old, nil }
func (a podSecurityAttributes) GetUserName() string                   { return a.r.User.GetName() }

type podSecurityReader struct{ reader Reader }

// GetNamespace implements podsecurity.NamespaceGetter.
func (p podSecurityReader) GetNamespace(_ context.Context, name string) (*corev1.Namespace, error) {
	obj, ok := p.reader.Peek(core.Namespace, "", name)
	if !ok {
		return nil, apierrors.NewNotFound(core.Namespace.GroupResource(), name)
	}
	return obj.(*corev1.Namespace), nil
}

// ListPods implements podsecurity.PodLister.
func (p podSecurityReader) ListPods(_ context.Context, namespace string) ([]*corev1.Pod, error) {
	var out []*corev1.Pod
	for _, obj := range p.reader.PeekList(core.Pod, namespace, nil) {
		out = append(out, obj.(*corev1.Pod))
	}
	return out, nil
}

// unmeasured keeps no metrics of decisions.
type unmeasured struct{}

func (unmeasured) RecordEvaluation(metrics.Decision, api.LevelVersion, metrics.Mode, api.Attributes) {
}
func (unmeasured) RecordExemption(api.Attributes)   {}
func (unmeasured) RecordError(bool, api.Attributes) {}
