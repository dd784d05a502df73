package customresources

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiextensions"
	"github.com/tenet-run/tenet/kinds/custom"
	"github.com/tenet-run/tenet/store"
)

// Config is what a Registry is made of. Store and Live are required.
type Config struct {
	Store store.Store
	// Live is the set of kinds that definitions come into and go from.
	Live   *kinds.Set
	Custom custom.Options
	Logger *slog.Logger
	Now    func() time.Time
}

// Registry is the plugin, the listener and the loop.
type Registry struct {
	cfg Config

	mu   sync.Mutex
	defs map[string]*definition
	// groups has the definitions of a group, for its names.
	groups map[string]map[string]*definition
	// ending are the definitions that are being deleted; waiting those that did not get all their names, by group; moved the groups whose names have changed since
	// the waiting were last looked at.
	ending  map[string]struct{}
	waiting map[string]map[string]struct{}
	moved   map[string]struct{}

	wake chan struct{} // to Run, with room for one

	// naming is held by the one request that gives out names and has not written yet.
	naming chan struct{}
}

// definition is what the registry knows of one definition.
type definition struct {
	name     string
	revision store.Revision
	crd      *apiextensionsv1.CustomResourceDefinition // without versions
	kind     *kinds.Kind                               // nil: not served
	prefix   string
}

// New reads the definitions in the store and puts those that are established into the set of live kinds.
func New(cfg Config) (*Registry, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Registry{
		cfg: cfg, defs: map[string]*definition{}, groups: map[string]map[string]*definition{},
		ending: map[string]struct{}{}, waiting: map[string]map[string]struct{}{}, moved: map[string]struct{}{},
		wake: make(chan struct{}, 1), naming: make(chan struct{}, 1),
	}
	page, err := cfg.Store.List(store.ListQuery{Prefix: prefix()})
	if err != nil {
		return nil, fmt.Errorf("customresources: %w", err)
	}
	for _, rec := range page.Records {
		r.apply(rec)
	}
	return r, nil
}

func prefix() string { return apiextensions.CustomResourceDefinition.Storage.Prefix }

// Committed is for apiserver.Config: it has the registry told of the writes of definitions.
func (r *Registry) Committed() map[string]func(store.Key) {
	return map[string]func(store.Key){prefix(): func(key store.Key) { r.Refresh(key.Name) }}
}

// Refresh makes what is served true to the newest state of one definition. It may be called at any time, any number of times.
func (r *Registry) Refresh(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, err := r.cfg.Store.Get(store.Key{Prefix: prefix(), Name: name})
	defer func() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}()
	if errors.Is(err, store.ErrNotFound) {
		r.remove(name)
		return
	}
	if err != nil {
		r.cfg.Logger.Error("a definition could not be read", "name", name, "error", err)
		return
	}
	r.apply(rec)
}

func (r *Registry) remove(name string) {
	d := r.defs[name]
	if d == nil {
		return
	}
	if d.kind != nil {
		r.cfg.Live.Remove(d.prefix)
	}
	delete(r.defs, name)
	group := r.groups[d.crd.Spec.Group]
	if delete(group, name); len(group) == 0 {
		delete(r.groups, d.crd.Spec.Group)
	}
	r.attend(d, false)
	r.moved[d.crd.Spec.Group] = struct{}{}
}

// attend notes what Run has to do about a definition; there says whether it still exists.
func (r *Registry) attend(d *definition, there bool) {
	if there && d.crd.DeletionTimestamp != nil && apihelpers.CRDHasFinalizer(d.crd, apiextensionsv1.CustomResourceCleanupFinalizer) {
		r.ending[d.name] = struct{}{}
	} else {
		delete(r.ending, d.name)
	}
	group := r.waiting[d.crd.Spec.Group]
	if there && d.crd.DeletionTimestamp == nil && waits(d.crd) {
		if group == nil {
			group = map[string]struct{}{}
			r.waiting[d.crd.Spec.Group] = group
		}
		group[d.name] = struct{}{}
		return
	}
	if delete(group, d.name); len(group) == 0 {
		delete(r.waiting, d.crd.Spec.Group)
	}
}

// apply takes one state of a definition in.
func (r *Registry) apply(rec *store.Record) {
	name := rec.Key.Name
	had := r.defs[name]
	if had != nil && rec.Revision <= had.revision {
		return
	}
	crd, err := apiextensions.WithoutSchemas(rec.Value)
	if err != nil {
		r.cfg.Logger.Error("a definition could not be read", "name", name, "error", err)
		return
	}
	d := &definition{name: name, revision: rec.Revision, crd: crd, prefix: custom.Prefix(crd)}
	if had != nil && had.crd.UID != crd.UID {
		r.remove(name) // it went and came again
		had = nil
	}
	switch {
	case !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established):
		if had != nil && had.kind != nil {
			r.cfg.Live.Remove(had.prefix)
		}
	case had != nil && had.kind != nil && sameKind(had.crd, crd):
		d.kind = had.kind
		custom.Of(d.kind).Rest(rec.Value)
	default:
		if d.kind, err = custom.New(crd, rec.Value, r.cfg.Custom); err == nil {
			err = r.cfg.Live.Put(d.kind)
		}
		if err != nil {
			r.cfg.Logger.Error("a definition cannot be served", "name", name, "error", err)
			d.kind = nil
			if had != nil && had.kind != nil {
				r.cfg.Live.Remove(had.prefix)
			}
		}
	}
	d.crd.Spec.Versions, d.crd.Spec.Conversion = nil, nil // the kind has what is needed of them
	r.defs[name] = d
	group := r.groups[crd.Spec.Group]
	if group == nil {
		group = map[string]*definition{}
		r.groups[crd.Spec.Group] = group
	}
	group[name] = d
	r.attend(d, true)
	if had == nil || !equality.Semantic.DeepEqual(had.crd.Status.AcceptedNames, crd.Status.AcceptedNames) {
		r.moved[crd.Spec.Group] = struct{}{}
	}
}

// sameKind reports that two states of a definition make the same kind. The generation counts every change of the spec.
func sameKind(a, b *apiextensionsv1.CustomResourceDefinition) bool {
	terminating := func(c *apiextensionsv1.CustomResourceDefinition) bool {
		return c.DeletionTimestamp != nil || apihelpers.IsCRDConditionTrue(c, apiextensionsv1.Terminating)
	}
	return a.UID == b.UID && a.Generation == b.Generation && terminating(a) == terminating(b) &&
		equality.Semantic.DeepEqual(a.Status.AcceptedNames, b.Status.AcceptedNames)
}

// definition is what a definition was when it was last written; nil when there is none.
func (r *Registry) definition(name string) *definition {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.defs[name]
}
