package fields

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// maxUpdaters is the number of managers from which upstream begins to merge old ones.
const maxUpdaters = 10

// never are the fields of metadata that nobody owns.
var never = []string{"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"}

// Tracker tracks the owners of one kind's fields, for writes in one version through one door.
type Tracker struct {
	root        *node
	version     string
	subresource string
	filter      fieldpath.Filter // of what a write through this door never owns
	memory      memory
}

// New makes a Tracker for objects of the Go type of example. tv is any value of the kind, which knows the schema. resets are the dotted names of fields that
// a write through this door never owns.
func New(example any, tv *typed.TypedValue, version, subresource string, resets []string) (*Tracker, error) {
	p := &planner{schema: tv.Schema(), done: map[planKey]*node{}}
	root, err := p.node(reflect.TypeOf(example), tv.TypeRef())
	if err != nil {
		return nil, err
	}
	t := &Tracker{version: version, subresource: subresource}
	// The root is this tracker's own: without what is never owned.
	top := *root
	top.fields = nil
	filtered := fieldpath.NewSet()
	for _, f := range root.fields {
		if f.name == "apiVersion" || f.name == "kind" || slices.Contains(resets, f.name) {
			continue
		}
		if f.name == "metadata" && f.node != nil {
			m := *f.node
			m.fields = slices.DeleteFunc(slices.Clone(m.fields), func(f structField) bool { return slices.Contains(never, f.name) })
			f.node = &m
		}
		top.fields = append(top.fields, f)
	}
	for _, r := range resets {
		if strings.Contains(r, ".") {
			var path fieldpath.Path
			for _, part := range strings.Split(r, ".") {
				path = append(path, fieldpath.PathElement{FieldName: &part})
			}
			filtered.Insert(path)
		}
	}
	if !filtered.Empty() {
		t.filter = fieldpath.NewExcludeSetFilter(filtered)
	}
	t.root = &top
	return t, nil
}

// Compare gives the paths that are new or different in now, and those that are gone. Both objects are of the tracker's type. The sets are shared.
func (t *Tracker) Compare(old, now any) (changed, removed *fieldpath.Set, err error) {
	o, err := t.compare(old, now)
	if err != nil {
		return nil, nil, err
	}
	return o.changed, o.removed, nil
}

func (t *Tracker) compare(old, now any) (*outcome, error) {
	a, b := there(reflect.ValueOf(old)), there(reflect.ValueOf(now))
	tr := tracers.Get().(*tracer)
	defer tracers.Put(tr)
	tr.trace = tr.trace[:0]
	if err := tr.compare(t.root, a, b); err != nil {
		return nil, err
	}
	if o := t.memory.get(tr.trace); o != nil {
		return o, nil
	}
	w := walker{changed: &fieldpath.Set{}, removed: &fieldpath.Set{}, path: make(fieldpath.Path, 0, 16)}
	if err := w.compare(t.root, a, b); err != nil {
		return nil, err
	}
	o := &outcome{changed: w.changed, removed: w.removed}
	if t.filter != nil {
		o.changed, o.removed = t.filter.Filter(w.changed), t.filter.Filter(w.removed)
	}
	t.memory.put(tr.trace, o)
	return o, nil
}

// Update gives the managedFields of now after manager changed old into it. have are the entries before: those of the stored object, none on create. ok is
// false when only the generic path can tell. create tells the first write of an object.
func (t *Tracker) Update(old, now any, have []metav1.ManagedFieldsEntry, manager string, create bool, at time.Time) (entries []metav1.ManagedFieldsEntry, ok bool) {
	if manager == "" {
		manager = "unknown"
	}
	if len(have) == 0 && !create {
		return nil, true // an object that was not tracked from the start is not tracked
	}
	updaters := 0
	for i := range have {
		e := &have[i]
		if e.APIVersion != t.version || e.FieldsType != "FieldsV1" || e.FieldsV1 == nil {
			return nil, false
		}
		if e.Operation == metav1.ManagedFieldsOperationUpdate {
			updaters++
		} else if e.Operation != metav1.ManagedFieldsOperationApply {
			return nil, false
		}
	}
	if updaters >= maxUpdaters {
		return nil, false
	}
	compared, err := t.compare(old, now)
	if err != nil {
		return nil, false
	}
	changed, removed := compared.changed, compared.removed
	if changed.Empty() && removed.Empty() {
		return have, true
	}
	var own *metav1.ManagedFieldsEntry
	mine := changed
	entries = make([]metav1.ManagedFieldsEntry, 0, len(have)+1)
	for _, e := range have {
		self := e.Operation == metav1.ManagedFieldsOperationUpdate && e.Manager == manager && e.Subresource == t.subresource
		raw := e.FieldsV1.GetRawBytes()
		var s fieldpath.Set
		if err := s.FromJSON(bytes.NewReader(raw)); err != nil {
			return nil, false
		}
		left := &s
		if !changed.Empty() {
			left = left.Difference(left.Intersection(changed))
		}
		if !removed.Empty() {
			left = left.Difference(removed)
		}
		if self {
			if changed.Empty() {
				// It took nothing, so it has only lost.
				if left.Empty() {
					continue
				}
				self = false
			} else {
				mine = changed.Union(left)
				own = &e
				continue
			}
		}
		if left.Empty() {
			continue
		}
		if !self && !left.Equals(&s) {
			if e.FieldsV1, err = raws(left); err != nil {
				return nil, false
			}
		}
		entries = append(entries, e)
	}
	if !changed.Empty() {
		e := metav1.ManagedFieldsEntry{
			Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: t.version, FieldsType: "FieldsV1", Subresource: t.subresource,
		}
		var raw []byte
		if mine == changed {
			raw, err = compared.json()
		} else {
			raw, err = mine.ToJSON()
		}
		if err != nil {
			return nil, false
		}
		e.FieldsV1 = &metav1.FieldsV1{Raw: raw} // shared with the next object that is made alike; nobody changes such bytes
		if own != nil && bytes.Equal(own.FieldsV1.GetRawBytes(), e.FieldsV1.GetRawBytes()) {
			e.FieldsV1 = own.FieldsV1
		}
		e.Time = &metav1.Time{Time: at.UTC()}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, true
	}
	slices.SortStableFunc(entries, order)
	return entries, true
}

func raws(s *fieldpath.Set) (*metav1.FieldsV1, error) {
	data, err := s.ToJSON()
	if err != nil {
		return nil, err
	}
	f := &metav1.FieldsV1{}
	f.SetRawBytes(data)
	return f, nil
}

// order is that of upstream: by operation, time, manager, version, subresource.
func order(a, b metav1.ManagedFieldsEntry) int {
	if c := strings.Compare(string(a.Operation), string(b.Operation)); c != 0 {
		return c
	}
	if d := seconds(a.Time) - seconds(b.Time); d != 0 {
		if d < 0 {
			return -1
		}
		return 1
	}
	if c := strings.Compare(a.Manager, b.Manager); c != 0 {
		return c
	}
	if c := strings.Compare(a.APIVersion, b.APIVersion); c != 0 {
		return c
	}
	return strings.Compare(a.Subresource, b.Subresource)
}

func seconds(t *metav1.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}
