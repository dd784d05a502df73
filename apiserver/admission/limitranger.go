package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/tenet-run/tenet/kinds/core"
)

const limitRangerAnnotation = "kubernetes.io/limit-ranger"

type limitRanger struct{ reader Reader }

// LimitRanger gives containers the requests and limits that their namespace's LimitRanges have as defaults, and refuses what is out of their bounds.
func LimitRanger(reader Reader) Plugin { return limitRanger{reader} }

func (limitRanger) Name() string { return "LimitRanger" }

// ranges are the LimitRanges that a request is subject to.
func (p limitRanger) ranges(r *Request) []*corev1.LimitRange {
	if r.Namespace == "" || r.Object == nil || r.Operation != Create && r.Operation != Update {
		return nil
	}
	switch {
	case r.Kind == core.Pod && (r.Operation == Create && r.Subresource == "" || r.Operation == Update && r.Subresource == "resize"):
	case r.Kind == core.PersistentVolumeClaim && r.Subresource == "":
	default:
		return nil
	}
	// What is going away may be changed, for its finalizers' sake.
	if r.Old != nil && r.Object.GetDeletionTimestamp() != nil {
		return nil
	}
	var out []*corev1.LimitRange
	for _, obj := range p.reader.PeekList(core.LimitRange, r.Namespace, nil) {
		out = append(out, obj.(*corev1.LimitRange))
	}
	return out
}

func (p limitRanger) Mutate(_ context.Context, r *Request) error {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok {
		return nil
	}
	for _, lr := range p.ranges(r) {
		setDefaults(pod, lr)
	}
	return nil
}

func setDefaults(pod *corev1.Pod, lr *corev1.LimitRange) {
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	for _, item := range lr.Spec.Limits {
		if item.Type == corev1.LimitTypeContainer {
			maps.Copy(requests, item.DefaultRequest)
			maps.Copy(limits, item.Default)
		}
	}
	var notes []string
	for _, set := range []struct {
		what string
		list []corev1.Container
	}{{"container", pod.Spec.Containers}, {"init container", pod.Spec.InitContainers}} {
		for i := range set.list {
			c := &set.list[i]
			if names := fill(&c.Resources.Requests, requests); len(names) > 0 {
				notes = append(notes, strings.Join(names, ", ")+fmt.Sprintf(" request for %s %s", set.what, c.Name))
			}
			if names := fill(&c.Resources.Limits, limits); len(names) > 0 {
				notes = append(notes, strings.Join(names, ", ")+fmt.Sprintf(" limit for %s %s", set.what, c.Name))
			}
		}
	}
	if len(notes) > 0 {
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[limitRangerAnnotation] = "LimitRanger plugin set: " + strings.Join(notes, "; ")
	}
}

// fill adds what is missing and returns its names in order.
func fill(list *corev1.ResourceList, defaults corev1.ResourceList) []string {
	var set []string
	for name, q := range defaults {
		if _, has := (*list)[name]; has {
			continue
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = q.DeepCopy()
		set = append(set, string(name))
	}
	slices.Sort(set)
	return set
}

func (p limitRanger) Validate(_ context.Context, r *Request) error {
	for _, lr := range p.ranges(r) {
		var errs []error
		for i := range lr.Spec.Limits {
			item := &lr.Spec.Limits[i]
			switch obj := r.Object.(type) {
			case *corev1.Pod:
				errs = append(errs, podBounds(obj, item)...)
			case *corev1.PersistentVolumeClaim:
				if item.Type == corev1.LimitTypePersistentVolumeClaim {
					b := bounds{item, obj.Spec.Resources.Requests, nil}
					errs = append(append(errs, each(item.Min, b.min)...), each(item.Max, b.maxRequest)...)
				}
			}
		}
		if err := utilerrors.NewAggregate(errs); err != nil {
			return Forbidden(r, "%w", err)
		}
	}
	return nil
}

func podBounds(pod *corev1.Pod, item *corev1.LimitRangeItem) []error {
	var errs []error
	check := func(b bounds) {
		errs = append(errs, each(item.Min, b.min)...)
		errs = append(errs, each(item.Max, b.max)...)
		errs = append(errs, each(item.MaxLimitRequestRatio, b.ratio)...)
	}
	switch item.Type {
	case corev1.LimitTypeContainer:
		for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for i := range list {
				check(bounds{item, list[i].Resources.Requests, list[i].Resources.Limits})
			}
		}
	case corev1.LimitTypePod:
		opts := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
		check(bounds{item, resourcehelper.PodRequests(pod, opts), resourcehelper.PodLimits(pod, opts)})
	}
	return errs
}

// each checks resources in the order of their names.
func each(list corev1.ResourceList, check func(corev1.ResourceName, resource.Quantity) error) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if err := check(name, list[name]); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// bounds compares requests and limits with one item of a LimitRange.
type bounds struct {
	item             *corev1.LimitRangeItem
	requests, limits corev1.ResourceList
}

func (b bounds) min(name corev1.ResourceName, bound resource.Quantity) error {
	request, asked := b.requests[name]
	limit, limited := b.limits[name]
	usage := fmt.Sprintf("minimum %s usage per %s is %s", name, b.item.Type, bound.String())
	switch {
	case !asked:
		return errors.New(usage + ".  No request is specified")
	case request.Cmp(bound) < 0:
		return fmt.Errorf("%s, but request is %s", usage, request.String())
	case limited && limit.Cmp(bound) < 0:
		return fmt.Errorf("%s, but limit is %s", usage, limit.String())
	}
	return nil
}

func (b bounds) maxRequest(name corev1.ResourceName, bound resource.Quantity) error {
	request, asked := b.requests[name]
	usage := fmt.Sprintf("maximum %s usage per %s is %s", name, b.item.Type, bound.String())
	switch {
	case !asked:
		return errors.New(usage + ".  No request is specified")
	case request.Cmp(bound) > 0:
		return fmt.Errorf("%s, but request is %s", usage, request.String())
	}
	return nil
}

func (b bounds) max(name corev1.ResourceName, bound resource.Quantity) error {
	request, asked := b.requests[name]
	limit, limited := b.limits[name]
	usage := fmt.Sprintf("maximum %s usage per %s is %s", name, b.item.Type, bound.String())
	switch {
	case !limited:
		return errors.New(usage + ".  No limit is specified")
	case limit.Cmp(bound) > 0:
		return fmt.Errorf("%s, but limit is %s", usage, limit.String())
	case asked && request.Cmp(bound) > 0:
		return fmt.Errorf("%s, but request is %s", usage, request.String())
	}
	return nil
}

func (b bounds) ratio(name corev1.ResourceName, bound resource.Quantity) error {
	request, limit := b.requests[name], b.limits[name]
	usage := fmt.Sprintf("%s max limit to request ratio per %s is %s", name, b.item.Type, bound.String())
	switch {
	case request.IsZero():
		return errors.New(usage + ", but no request is specified or request is 0")
	case limit.IsZero():
		return errors.New(usage + ", but no limit is specified or limit is 0")
	}
	if got := limit.AsApproximateFloat64() / request.AsApproximateFloat64(); got > bound.AsApproximateFloat64() {
		return fmt.Errorf("%s, but provided ratio is %f", usage, got)
	}
	return nil
}
