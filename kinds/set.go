package kinds

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Set is the kinds that are served now: the built-in ones, and those that CustomResourceDefinitions bring and take. There is one in a control plane, and everybody
// who must know all kinds reads it: the API server's routes, discovery, OpenAPI, metrics, the garbage collector, the namespace controller. A change costs the
// same however many kinds there are; what is made of the whole list is made when it is asked for.
//
// A Set may be used by many at once. Kinds in it are immutable: a changed one is another value in the same place.
type Set struct {
	mu     sync.RWMutex
	places map[string]*place // by identity
	served map[schema.GroupVersionResource]Door
	byKind map[schema.GroupVersionKind]Door
	owners map[schema.GroupKind]*Kind
	groups map[string]*Group
	// gone are the kinds that left last, oldest first. There are no objects of them, which is all that those who refer to one need to know.
	gone    []*Kind
	builtin int // so many of list came first and stay in their order
	list    []*Kind
	stored  []*Kind
	stale   bool // the lists are to be made again
	version uint64
	changed chan struct{}
}

// Door is a kind in one of the versions that it is served in.
type Door struct {
	Kind   *Kind
	Served *Served
}

// Group is what is served in one API group, in the order in which it came.
type Group struct {
	Kinds []*Kind
	// Version changes with the group, and never comes again.
	Version uint64
}

// mostGone bounds the kinds that are remembered after they have left.
const mostGone = 100

// place is where a kind stands in a Set. It outlives the kind's replacement by a changed one.
type place struct {
	kind  *Kind
	order int
	calls map[*func()]struct{}
}

// identity tells kinds apart: where their objects rest, or the name of what is not stored.
func identity(k *Kind) string {
	if k.Stored() {
		return k.Storage.Prefix
	}
	return "\x00" + k.GVR().String()
}

// NewSet makes a set of kinds. It panics when two of them cannot be served together, which a test of the list would show.
func NewSet(list ...*Kind) *Set {
	s := &Set{
		places: map[string]*place{}, served: map[schema.GroupVersionResource]Door{}, byKind: map[schema.GroupVersionKind]Door{},
		owners: map[schema.GroupKind]*Kind{}, groups: map[string]*Group{}, changed: make(chan struct{}),
	}
	for _, k := range list {
		if s.places[identity(k)] != nil {
			panic("kinds: two kinds are stored under " + k.Storage.Prefix)
		}
		if err := s.Put(k); err != nil {
			panic(err)
		}
	}
	s.builtin = len(s.places)
	return s
}

// Put adds a kind, or replaces the one with the same storage prefix. It fails when another kind is served under one of its names.
func (s *Set) Put(k *Kind) error {
	s.mu.Lock()
	for _, v := range k.Served {
		gvr, gvk := v.GroupVersion().WithResource(k.Plural), v.GroupVersion().WithKind(k.Kind)
		for what, other := range map[string]*Kind{gvr.String(): s.served[gvr].Kind, gvk.String(): s.byKind[gvk].Kind} {
			if other != nil && identity(other) != identity(k) {
				s.mu.Unlock()
				return fmt.Errorf("kinds: %s is served already, from %s", what, other.Storage.Prefix)
			}
		}
	}
	p := s.places[identity(k)]
	if p == nil {
		p = &place{order: len(s.places)}
		s.places[identity(k)] = p
	} else {
		s.take(p.kind)
	}
	p.kind = k
	for _, v := range k.Served {
		d := Door{k, v}
		s.served[v.GroupVersion().WithResource(k.Plural)] = d
		s.byKind[v.GroupVersion().WithKind(k.Kind)] = d
		if k.Stored() {
			s.owners[schema.GroupKind{Group: v.Group, Kind: k.Kind}] = k
		}
	}
	s.touch(k, true)
	s.tell(p)
	return nil
}

// Remove takes the kind with a storage prefix away. It does nothing when there is none.
func (s *Set) Remove(prefix string) {
	s.mu.Lock()
	p := s.places[prefix]
	if p == nil {
		s.mu.Unlock()
		return
	}
	s.take(p.kind)
	if s.gone = append(s.gone, p.kind); len(s.gone) > mostGone {
		s.gone = slices.Delete(s.gone, 0, 1)
	}
	delete(s.places, prefix)
	s.touch(p.kind, false)
	s.tell(p)
}

// take forgets the names of a kind.
func (s *Set) take(k *Kind) {
	for _, v := range k.Served {
		delete(s.served, v.GroupVersion().WithResource(k.Plural))
		delete(s.byKind, v.GroupVersion().WithKind(k.Kind))
		delete(s.owners, schema.GroupKind{Group: v.Group, Kind: k.Kind})
		if g := s.groups[v.Group]; g != nil {
			s.version++
			left := slices.DeleteFunc(slices.Clone(g.Kinds), func(o *Kind) bool { return o == k })
			if len(left) == 0 {
				delete(s.groups, v.Group)
			} else {
				s.groups[v.Group] = &Group{left, s.version}
			}
		}
	}
}

// touch takes a change of k into account; there says whether it is still in the set.
func (s *Set) touch(k *Kind, there bool) {
	s.version++
	s.stale = true
	if !there {
		return
	}
	for _, v := range k.Served {
		g := s.groups[v.Group]
		if g == nil {
			s.groups[v.Group] = &Group{[]*Kind{k}, s.version}
		} else if !slices.Contains(g.Kinds, k) {
			s.groups[v.Group] = &Group{append(slices.Clone(g.Kinds), k), s.version}
		}
	}
}

// tell ends a change: it wakes everybody who waits for one, and releases the lock.
func (s *Set) tell(p *place) {
	close(s.changed)
	s.changed = make(chan struct{})
	calls := make([]func(), 0, len(p.calls))
	for f := range p.calls {
		calls = append(calls, *f)
	}
	s.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// List is all kinds: the first ones in their order, then the others by group and name. The slice is shared: it is never changed.
func (s *Set) List() []*Kind {
	list, _ := s.lists()
	return list
}

// Stored is the kinds in List that there are objects of. The slice is shared.
func (s *Set) Stored() []*Kind {
	_, stored := s.lists()
	return stored
}

func (s *Set) lists() (list, stored []*Kind) {
	s.mu.RLock()
	list, stored, stale := s.list, s.stored, s.stale
	s.mu.RUnlock()
	if !stale {
		return list, stored
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stale {
		return s.list, s.stored
	}
	all := slices.Collect(maps.Values(s.places))
	late := func(p *place) int { return min(p.order, s.builtin) }
	slices.SortFunc(all, func(a, b *place) int {
		return cmp.Or(cmp.Compare(late(a), late(b)), strings.Compare(a.kind.Served[0].Group, b.kind.Served[0].Group), strings.Compare(a.kind.Plural, b.kind.Plural))
	})
	s.list, s.stored = make([]*Kind, 0, len(all)), make([]*Kind, 0, len(all))
	for _, p := range all {
		s.list = append(s.list, p.kind)
		if p.kind.Stored() {
			s.stored = append(s.stored, p.kind)
		}
	}
	s.stale = false
	return s.list, s.stored
}

// Resource finds what is served under a resource's name; the zero Door when there is nothing.
func (s *Set) Resource(gvr schema.GroupVersionResource) Door {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.served[gvr]
}

// Kind finds what is served under a kind's name; the zero Door when there is nothing.
func (s *Set) Kind(gvk schema.GroupVersionKind) Door {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byKind[gvk]
}

// Named finds the kind that an owner reference means by its apiVersion and kind, or nil. Any version of the group will do. It may be a kind that has left the set
// lately: then there are no objects of it.
func (s *Set) Named(apiVersion, kind string) *Kind {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if k := s.owners[schema.GroupKind{Group: groupOf(apiVersion), Kind: kind}]; k != nil {
		return k
	}
	for _, k := range slices.Backward(s.gone) {
		if IsKind(k, apiVersion, kind) {
			return k
		}
	}
	return nil
}

// At finds the kind whose objects rest under a prefix, or nil.
func (s *Set) At(prefix string) *Kind {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p := s.places[prefix]; p != nil {
		return p.kind
	}
	return nil
}

// Groups is what is served by API group. The map is the caller's, the groups are shared.
func (s *Set) Groups() map[string]*Group {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(map[string]*Group, len(s.groups))
	for name, g := range s.groups {
		out[name] = g
	}
	return out
}

// Group is what is served in one API group; nil when there is nothing.
func (s *Set) Group(name string) *Group {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.groups[name]
}

// Version changes with every change of the set.
func (s *Set) Version() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// Changes is closed at the next change of the set.
func (s *Set) Changes() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// OnChange calls f when the kind with a storage prefix is replaced or removed, until stop is called. f must not block. When there is no such kind any more, f is
// called at once.
func (s *Set) OnChange(prefix string, f func()) (stop func()) {
	s.mu.Lock()
	p := s.places[prefix]
	if p == nil {
		s.mu.Unlock()
		f()
		return func() {}
	}
	if p.calls == nil {
		p.calls = map[*func()]struct{}{}
	}
	p.calls[&f] = struct{}{}
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(p.calls, &f)
	}
}

// IsKind reports whether an apiVersion and kind, as references have them, mean k in any version.
func IsKind(k *Kind, apiVersion, kind string) bool {
	if k.Kind != kind {
		return false
	}
	group := groupOf(apiVersion)
	return slices.ContainsFunc(k.Served, func(v *Served) bool { return v.Group == group })
}

func groupOf(apiVersion string) string {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}
