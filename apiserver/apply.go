package apiserver

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/tenet-run/tenet/kinds"
)

// apply is server-side apply: what the manager wants is merged into what there is, fields that it wanted before and wants no more are taken away,
// and fields that others own are a conflict unless forced (KEP-555).
func (c *call) apply(data []byte, opts *metav1.PatchOptions) (result, error) {
	if c.sub != nil && c.sub.New != nil {
		return result{}, unsupportedMedia(c.patchTypes()[:2]...)
	}
	if _, err := yaml.ToJSON(data); err != nil {
		return result{}, apierrors.NewBadRequest(fmt.Sprintf("error encoding patch: %v", err))
	}
	o, err := c.ownership()
	if err != nil {
		return result{}, err
	}
	ch := c.patchChange(opts)
	ch.allowCreate = c.sub == nil
	force := opts.Force != nil && *opts.Force
	ch.make = func(old kinds.Object) (kinds.Object, error) {
		// The manager needs a live object of its own: it may hand it back as the outcome.
		live := c.kind.New()
		if old != nil {
			live = old.DeepCopyObject().(kinds.Object)
		}
		wanted := &unstructured.Unstructured{Object: map[string]any{}}
		if err := yaml.Unmarshal(data, &wanted.Object); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
		}
		applied, err := o.Apply(live, wanted, opts.FieldManager, force)
		if err != nil {
			return nil, err
		}
		if opts.FieldValidation != metav1.FieldValidationIgnore {
			if err := yaml.UnmarshalStrict(data, &map[string]any{}); err != nil {
				if opts.FieldValidation == metav1.FieldValidationStrict {
					return nil, apierrors.NewBadRequest(fmt.Sprintf("error strict decoding patch: %v", err))
				}
				c.strictWarnings([]error{err})
			}
		}
		obj, ok := applied.(kinds.Object)
		if !ok {
			return nil, fmt.Errorf("apply to %s gave %T", c.gvk(), applied)
		}
		if old == nil && obj.GetUID() == "" && obj.GetName() == "" {
			obj.SetName(c.name)
		}
		if err := ensureNamespace(obj, c.scope()); err != nil {
			return nil, err
		}
		return obj, c.checkName(obj)
	}
	return c.change(ch)
}
