package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
)

// maxPatchOperations bounds a JSON patch.
const maxPatchOperations = 10000

// patchTypes that a kind accepts: custom objects have no strategic merge.
func (c *call) patchTypes() []string {
	types := []string{string(types.JSONPatchType), string(types.MergePatchType)}
	if !c.kind.Custom() {
		types = append(types, string(strategic))
	}
	return append(types, string(apply))
}

const (
	strategic = types.StrategicMergePatchType
	apply     = types.ApplyYAMLPatchType
	applyCBOR = types.ApplyCBORPatchType
)

// patch changes an object, or a subresource's view of it, by one of the patch types. Apply is in apply.go.
func (c *call) patch(pt types.PatchType, data []byte, opts *metav1.PatchOptions) (result, error) {
	if errs := metav1validation.ValidatePatchOptions(opts, pt); len(errs) > 0 {
		return result{}, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "PatchOptions"}, "", errs)
	}
	if pt == applyCBOR {
		var err error
		if data, err = encode.CBORToJSON(data); err != nil {
			return result{}, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
		}
		pt = apply
	}
	if pt == apply {
		return c.apply(data, opts)
	}
	if !json.Valid(data) {
		return result{}, apierrors.NewBadRequest("invalid JSON patch")
	}
	ch := c.patchChange(opts)
	ch.track = true
	p := patcher{call: c, kind: pt, data: data, validation: opts.FieldValidation}
	if c.sub != nil && c.sub.New != nil {
		return c.patchView(&p, ch)
	}
	ch.make = func(old kinds.Object) (kinds.Object, error) {
		if old == nil {
			return nil, c.notFound()
		}
		from, err := c.view(old)
		if err != nil {
			return nil, err
		}
		into := c.served.New()
		if err := p.apply(from, into, c.gvk(), p.schema()); err != nil {
			return nil, err
		}
		obj, err := c.toHub(into)
		if err != nil {
			return nil, err
		}
		if err := ensureNamespace(obj, c.scope()); err != nil {
			return nil, err
		}
		return obj, c.checkName(obj)
	}
	return c.change(ch)
}

func (c *call) patchChange(opts *metav1.PatchOptions) change {
	return change{
		manager: c.fieldManager(opts.FieldManager), dryRun: isDryRun(opts.DryRun),
		update: &metav1.UpdateOptions{DryRun: opts.DryRun, FieldManager: opts.FieldManager, FieldValidation: opts.FieldValidation},
		create: &metav1.CreateOptions{DryRun: opts.DryRun, FieldManager: opts.FieldManager, FieldValidation: opts.FieldValidation},
	}
}

// patchView patches what a subresource shows and carries it into the object.
func (c *call) patchView(p *patcher, ch change) (result, error) {
	ch.make = func(old kinds.Object) (kinds.Object, error) {
		if old == nil {
			return nil, c.notFound()
		}
		from, err := c.sub.Read(old)
		if err != nil {
			return nil, err
		}
		from.GetObjectKind().SetGroupVersionKind(c.sub.GVK)
		into := c.sub.New()
		if err := p.apply(from, into, c.sub.GVK, c.sub.New()); err != nil {
			return nil, err
		}
		return c.written(old, into)
	}
	out, err := c.change(ch)
	if err != nil || out.record == nil {
		return out, err
	}
	return c.shown(out.record, false)
}

// written is the object after a view was written into it.
func (c *call) written(old kinds.Object, in runtime.Object) (kinds.Object, error) {
	if m, ok := in.(metav1.Object); ok {
		if rv := m.GetResourceVersion(); rv != "" && rv != old.GetResourceVersion() {
			return nil, c.stale()
		}
		if uid := m.GetUID(); uid != "" && uid != old.GetUID() {
			return nil, apierrors.NewConflict(c.groupResource(), c.name, fmt.Errorf("Precondition failed: UID in precondition: %s, UID in object meta: %s", uid, old.GetUID()))
		}
	}
	obj := old.DeepCopyObject().(kinds.Object)
	if err := c.sub.Write(obj, in); err != nil {
		return nil, err
	}
	return obj, nil
}

// jsonPatchOp is what a JSON patch is made of, for a strict reader.
type jsonPatchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	From  string `json:"from"`
	Value any    `json:"value"`
}

// patcher applies one patch, as often as the change is tried.
type patcher struct {
	*call
	kind       types.PatchType
	data       []byte
	validation string
}

func (p *patcher) schema() runtime.Object { return p.served.New() }

// apply patches from, which carries its type header, and decodes the outcome into an empty object.
func (p *patcher) apply(from, into runtime.Object, gvk schema.GroupVersionKind, reference runtime.Object) error {
	if p.kind == strategic {
		return p.merge(from, into, reference)
	}
	original, err := encode.Marshal(from)
	if err != nil {
		return err
	}
	patched, strict, err := p.patchJSON(original)
	if err != nil {
		return err
	}
	wrong := func(text string) error {
		return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), string(patched), text)})
	}
	in := payload{data: patched, media: encode.JSON, validation: p.validation}
	header, more, err := in.unmarshal(into)
	if err != nil {
		return wrong(err.Error())
	}
	if unknown, err := p.coerce(into); err != nil {
		return wrong(err.Error())
	} else if p.validation != metav1.FieldValidationIgnore {
		more = append(more, unknown...)
	}
	if header != nil && *header != gvk && !header.Empty() {
		if p.sub == nil && p.call.kind.Custom() && header.GroupVersion() == gvk.GroupVersion() {
			return p.strictly(append(strict, more...), wrong) // validation says what the kind must be
		}
		if err := p.checkHeader(*header, gvk); err != nil {
			return wrong(err.Error())
		}
		return wrong(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", header.GroupVersion(), gvk.GroupVersion()))
	}
	return p.strictly(append(strict, more...), wrong)
}

// coerce brings a custom object into the form that its schema allows, and names what it does not know.
func (p *patcher) coerce(into runtime.Object) (unknown []error, err error) {
	u, ok := into.(*unstructured.Unstructured)
	if !ok || p.served.Coerce == nil {
		return nil, nil
	}
	paths, err := p.served.Coerce(u, p.validation != metav1.FieldValidationIgnore)
	for _, path := range paths {
		unknown = append(unknown, fmt.Errorf(`unknown field "%s"`, path))
	}
	return unknown, err
}

// strictly refuses or warns about what a strict reader minds.
func (p *patcher) strictly(strict []error, wrong func(string) error) error {
	if len(strict) == 0 {
		return nil
	}
	if p.validation == metav1.FieldValidationStrict {
		return wrong(runtime.NewStrictDecodingError(strict).Error())
	}
	p.strictWarnings(strict)
	return nil
}

func (p *patcher) patchJSON(original []byte) (patched []byte, strict []error, err error) {
	validate := p.validation != metav1.FieldValidationIgnore
	if p.kind == types.MergePatchType {
		if validate {
			var m map[string]any
			if strict, err = kjson.UnmarshalStrict(p.data, &m); err != nil {
				return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
			}
		}
		patched, err = jsonpatch.MergePatch(original, p.data)
		if errors.Is(err, jsonpatch.ErrBadJSONPatch) {
			return nil, nil, apierrors.NewBadRequest(err.Error())
		}
		return patched, strict, err
	}
	if validate {
		var ops []jsonPatchOp
		if strict, err = kjson.UnmarshalStrict(p.data, &ops); err != nil {
			return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
		}
		for i, e := range strict {
			strict[i] = fmt.Errorf("json patch %v", e)
		}
	}
	ops, err := jsonpatch.DecodePatch(p.data)
	if err != nil {
		return nil, nil, apierrors.NewBadRequest(err.Error())
	}
	if len(ops) > maxPatchOperations {
		return nil, nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"The allowed maximum operations in a JSON patch is %d, got %d", maxPatchOperations, len(ops)))
	}
	boundCopies()
	patched, err = ops.Apply(original)
	if err != nil {
		return nil, nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
	}
	return patched, strict, nil
}

// boundCopies keeps the copies of one JSON patch below the size of a request, as upstream: copies of copies grow without bound. The library has it as a variable.
var boundCopies = sync.OnceFunc(func() { jsonpatch.AccumulatedCopySizeLimit = maxBody })

// merge is the strategic merge patch.
func (p *patcher) merge(from, into, reference runtime.Object) error {
	original, err := runtime.DefaultUnstructuredConverter.ToUnstructured(from)
	if err != nil {
		return err
	}
	patch := map[string]any{}
	var strict []error
	validate := p.validation != metav1.FieldValidationIgnore
	if validate {
		strict, err = kjson.UnmarshalStrict(p.data, &patch)
	} else {
		err = kjson.UnmarshalCaseSensitivePreserveInts(p.data, &patch)
	}
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	merged, err := strategicpatch.StrategicMergeMapPatch(original, patch, reference)
	switch err {
	case nil:
	case mergepatch.ErrBadJSONDoc, mergepatch.ErrBadPatchFormatForPrimitiveList, mergepatch.ErrBadPatchFormatForRetainKeys,
		mergepatch.ErrBadPatchFormatForSetElementOrderList, mergepatch.ErrUnsupportedStrategicMergePatchFormat:
		return apierrors.NewBadRequest(err.Error())
	case mergepatch.ErrNoListOfLists, mergepatch.ErrPatchContentNotMatchRetainKeys:
		return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
	default:
		return err
	}
	wrong := func(text string) error {
		return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), fmt.Sprintf("%+v", patch), text)})
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(merged, into, validate); err != nil {
		s, ok := runtime.AsStrictDecodingError(err)
		if !ok {
			return wrong(err.Error())
		}
		strict = append(strict, s.Errors()...)
	}
	return p.strictly(strict, wrong)
}
