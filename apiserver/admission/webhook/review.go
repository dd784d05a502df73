package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	admissionreview "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	webhookerrors "k8s.io/apiserver/pkg/admission/plugin/webhook/errors"

	"github.com/tenet-run/tenet/apiserver/admission/match"
	"github.com/tenet-run/tenet/apiserver/encode"
)

// response is a webhook's answer, which was allowed or carries the refusal in an error beside it.
type response = admissionreview.AdmissionResponse

// callError says that a webhook could not be asked, or gave no sensible answer: its failure policy decides what that means.
type callError struct {
	name string
	err  error
}

func (e *callError) Error() string {
	return fmt.Sprintf("failed calling webhook %q: %v", e.name, e.err)
}
func (e *callError) Unwrap() error { return e.err }

// failed makes what the client is told of an error of review.
func (h *hook) failed(ctx context.Context, err error, cfg *Config) error {
	var call *callError
	if !errors.As(err, &call) {
		return err
	}
	if h.failurePolicy != admissionv1.Ignore || ctx.Err() != nil {
		return apierrors.NewInternalError(call)
	}
	if cfg.Log != nil {
		cfg.Log("webhook failed and is ignored", "webhook", h.name, "configuration", h.configuration, "error", call.err)
	}
	return nil
}

// review asks a webhook. An error that is no *callError is its refusal.
func (h *hook) review(ctx context.Context, i *match.Invocation) (*response, error) {
	if i.IsDryRun() {
		if h.sideEffects == nil || *h.sideEffects != admissionv1.SideEffectClassNone && *h.sideEffects != admissionv1.SideEffectClassNoneOnDryRun {
			return nil, webhookerrors.NewDryRunUnsupportedErr(h.name)
		}
	}
	version, uid := h.reviewVersion(), uuid.NewUUID()
	body, err := question(i, version, uid)
	if err != nil {
		return nil, &callError{h.name, fmt.Errorf("could not create admission objects: %w", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.timeout)*time.Second)
	defer cancel()
	data, err := h.client.post(ctx, body)
	if err != nil {
		return nil, &callError{h.name, fmt.Errorf("failed to call webhook: %w", err)}
	}
	resp, err := answer(data, version, uid)
	if err != nil {
		return nil, &callError{h.name, fmt.Errorf("received invalid webhook response: %w", err)}
	}
	if h.kind == "admit" {
		for _, text := range resp.Warnings {
			i.Request.Warn(text)
		}
	}
	if !resp.Allowed {
		return resp, webhookerrors.ToStatusErr(h.name, resp.Result)
	}
	return resp, nil
}

// reviewVersion is the first version that the webhook names and that is spoken here.
func (h *hook) reviewVersion() string {
	for _, v := range h.versions {
		if v == "v1" || v == "v1beta1" {
			return v
		}
	}
	return "v1"
}

// question is an AdmissionReview. Version v1beta1 has the same fields.
func question(i *match.Invocation, version string, uid types.UID) ([]byte, error) {
	q := plugincel.CreateAdmissionRequest(i.Attributes, metav1.GroupVersionResource(i.Resource()), metav1.GroupVersionKind(i.Kind))
	q.UID = uid
	obj, err := i.Object()
	if err != nil {
		return nil, err
	}
	old, err := i.OldObject()
	if err != nil {
		return nil, err
	}
	if q.Object.Raw, err = raw(obj); err != nil {
		return nil, err
	}
	if q.OldObject.Raw, err = raw(old); err != nil {
		return nil, err
	}
	return json.Marshal(&admissionreview.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionreview.GroupName + "/" + version, Kind: "AdmissionReview"}, Request: q,
	})
}

func raw(obj runtime.Object) ([]byte, error) {
	if obj == nil {
		return nil, nil
	}
	return encode.Marshal(obj)
}

// answer reads an AdmissionReview.
func answer(data []byte, version string, uid types.UID) (*response, error) {
	var r admissionreview.AdmissionReview
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if r.Response == nil {
		return nil, errors.New("webhook response was absent")
	}
	resp := r.Response
	if version == "v1beta1" {
		if len(resp.Patch) > 0 {
			resp.PatchType = new(admissionreview.PatchTypeJSONPatch)
		}
		return resp, nil
	}
	want := metav1.TypeMeta{APIVersion: admissionreview.GroupName + "/v1", Kind: "AdmissionReview"}
	if r.TypeMeta != want {
		return nil, fmt.Errorf("expected webhook response of %s, got %s", want.GroupVersionKind(), r.GroupVersionKind())
	}
	if resp.UID != uid {
		return nil, fmt.Errorf("expected response.uid=%q, got %q", uid, resp.UID)
	}
	switch {
	case len(resp.Patch) > 0 && resp.PatchType == nil:
		return nil, errors.New("webhook returned response.patch but not response.patchType")
	case len(resp.Patch) == 0 && resp.PatchType != nil:
		return nil, errors.New("webhook returned response.patchType but not response.patch")
	case resp.PatchType != nil && !slices.Contains([]admissionreview.PatchType{admissionreview.PatchTypeJSONPatch}, *resp.PatchType):
		return nil, fmt.Errorf("webhook returned invalid response.patchType of %q", *resp.PatchType)
	}
	return resp, nil
}

// newLike makes an empty value of an object's type.
func newLike(obj runtime.Object) runtime.Object {
	return reflect.New(reflect.TypeOf(obj).Elem()).Interface().(runtime.Object)
}
