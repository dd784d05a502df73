package apiserver

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/tenet-run/tenet/apiserver/encode"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// impossible is no value of any field.
const impossible = "\x00"

// selector parses what a request selects. Nil: everything.
func selector(k *kinds.Kind, s *kinds.Served, labelSelector, fieldSelector, name string) (*store.Selector, error) {
	var sel store.Selector
	empty := true
	if labelSelector != "" {
		l, err := labels.Parse(labelSelector)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if !l.Empty() {
			sel.Labels, empty = l, false
		}
	}
	equal := func(f, v string) {
		if had, ok := sel.Fields[f]; ok && had != v {
			v = impossible
		}
		if sel.Fields == nil {
			sel.Fields = map[string]string{}
		}
		sel.Fields[f] = v
		empty = false
	}
	if fieldSelector != "" {
		f, err := fields.ParseSelector(fieldSelector)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		for _, r := range f.Requirements() {
			if read := s.Selectable[r.Field]; read != nil {
				sel.Also, empty = alsoField(k, sel.Also, read, r.Value, r.Operator != selection.NotEquals), false
				continue
			}
			label, err := fieldLabel(k, s, r.Field)
			if err != nil {
				return nil, apierrors.NewBadRequest(err.Error())
			}
			if r.Operator != selection.NotEquals {
				equal(label, r.Value)
				continue
			}
			if sel.Not == nil {
				sel.Not = map[string][]string{}
			}
			sel.Not[label] = append(sel.Not[label], r.Value)
			empty = false
		}
	}
	if name != "" {
		if had, ok := sel.Fields["metadata.name"]; ok && had != name {
			return nil, apierrors.NewBadRequest("fieldSelector metadata.name doesn't match requested name")
		}
		equal("metadata.name", name)
	}
	if empty {
		return nil, nil
	}
	return &sel, nil
}

// alsoField is a condition, beside others, on a field that only the object itself has.
func alsoField(k *kinds.Kind, also func(*store.Record) bool, read func(kinds.Object) string, value string, equal bool) func(*store.Record) bool {
	return func(r *store.Record) bool {
		if also != nil && !also(r) {
			return false
		}
		obj, err := encode.Object(k, r)
		return err == nil && (read(obj) == value) == equal
	}
}

// fieldLabel is the kind's name of a selectable field as a served version names it.
func fieldLabel(k *kinds.Kind, s *kinds.Served, label string) (string, error) {
	if label == "metadata.name" || label == "metadata.namespace" {
		return label, nil
	}
	if hub, ok := s.Fields[label]; ok {
		return hub, nil
	}
	if _, ok := k.Fields[label]; ok && s.Fields == nil {
		return label, nil
	}
	if k.Custom() {
		return "", fmt.Errorf("field label not supported: %s", label)
	}
	if len(k.Fields) == 0 {
		return "", fmt.Errorf("%q is not a known field selector: only %q, %q", label, "metadata.name", "metadata.namespace")
	}
	return "", fmt.Errorf("field label not supported: %s", label)
}
