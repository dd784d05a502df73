package controllers

import (
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/kinds"
)

// KindSet is a list of stored kinds that may change while controllers run: built-in kinds, and those that CustomResourceDefinitions bring and take.
type KindSet struct {
	mu      sync.Mutex
	list    []*kinds.Kind
	byOwner map[schema.GroupKind]*kinds.Kind
	changed chan struct{}
}

// NewKindSet makes a set.
func NewKindSet(list ...*kinds.Kind) *KindSet {
	s := &KindSet{changed: make(chan struct{})}
	s.Set(list)
	return s
}

// Set replaces the list. Whoever follows the set starts following what is new, and stops following what is gone.
func (s *KindSet) Set(list []*kinds.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(slices.Clone(list), func(k *kinds.Kind) bool { return !k.Stored() })
	s.byOwner = make(map[schema.GroupKind]*kinds.Kind, len(list))
	for _, k := range s.list {
		for _, served := range k.Served {
			s.byOwner[schema.GroupKind{Group: served.Group, Kind: k.Kind}] = k
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// List is the kinds there are. The slice is shared: it is never changed.
func (s *KindSet) List() []*kinds.Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list
}

// Named finds the kind that an owner reference means by its apiVersion and kind, or nil. Any version of the group will do.
func (s *KindSet) Named(apiVersion, kind string) *kinds.Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byOwner[schema.GroupKind{Group: groupOf(apiVersion), Kind: kind}]
}

func (s *KindSet) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// IsKind reports whether an apiVersion and kind, as references have them, mean k in any version.
func IsKind(k *kinds.Kind, apiVersion, kind string) bool {
	if k.Kind != kind {
		return false
	}
	group := groupOf(apiVersion)
	for _, s := range k.Served {
		if s.Group == group {
			return true
		}
	}
	return false
}

func groupOf(apiVersion string) string {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}
