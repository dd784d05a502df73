package custom

import (
	"fmt"
	"sync"
	"sync/atomic"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/conversion"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/apiextensions"
)

// Options is what custom kinds share. The zero value will do: then nothing is let go, and webhooks cannot be called.
type Options struct {
	Idle *Idle
	// Converters gives what makes converters that call webhooks.
	Converters func() (*conversion.CRConverterFactory, error)
}

// Definition is a CustomResourceDefinition as its kind knows it. [Of] gives that of a kind.
type Definition struct {
	Name       string
	UID        types.UID
	Generation int64
	// Terminating: the definition is being deleted, and no objects are created any more.
	Terminating bool

	group    string
	names    apiextensionsv1.CustomResourceDefinitionNames
	storage  string
	versions []apiextensionsv1.CustomResourceDefinitionVersion // without schemas
	preserve bool                                              // spec.preserveUnknownFields, of definitions from before v1
	webhook  bool
	opts     Options

	// rest is the definition at rest: shared with the store's record.
	rest atomic.Pointer[[]byte]

	used     atomic.Bool
	mu       sync.Mutex
	compiled map[string]*compiled
	convert  *conversions
}

// Of is the definition that a kind was made of; nil for a built-in kind.
func Of(k *kinds.Kind) *Definition {
	d, _ := k.Origin.(*Definition)
	return d
}

// Rest replaces the definition at rest by another one with the same spec (a write that changed the status), so that the old bytes can go.
func (d *Definition) Rest(data []byte) { d.rest.Store(&data) }

// full decodes the whole definition.
func (d *Definition) full() (*apiextensionsv1.CustomResourceDefinition, error) {
	obj, err := apiextensions.CustomResourceDefinition.Storage.Codec.Decode(*d.rest.Load())
	if err != nil {
		return nil, fmt.Errorf("custom: definition %s: %w", d.Name, err)
	}
	crd := obj.(*apiextensionsv1.CustomResourceDefinition)
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
	return crd, nil
}

// version is what the schema of one version was compiled to.
func (d *Definition) version(name string) (*compiled, error) {
	d.mark()
	v, fresh, err := d.lookup(name)
	if fresh && d.opts.Idle != nil {
		d.opts.Idle.hold(d)
	}
	return v, err
}

func (d *Definition) lookup(name string) (v *compiled, fresh bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v := d.compiled[name]; v != nil {
		return v, false, nil
	}
	crd, err := d.full()
	if err != nil {
		return nil, false, err
	}
	if v, err = compile(crd, name); err != nil {
		return nil, false, fmt.Errorf("custom: version %s of definition %s: %w", name, d.Name, err)
	}
	if d.compiled == nil {
		d.compiled = map[string]*compiled{}
	}
	d.compiled[name] = v
	return v, true, nil
}

func (d *Definition) mark() {
	if !d.used.Load() {
		d.used.Store(true)
	}
}

// drop lets go of what was compiled. Whoever uses it now keeps it.
func (d *Definition) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.compiled, d.convert = nil, nil
}

func (d *Definition) gvk(version string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: d.group, Version: version, Kind: d.names.Kind}
}

// has reports whether the definition has a version, served or not.
func (d *Definition) has(version string) bool {
	for i := range d.versions {
		if d.versions[i].Name == version {
			return true
		}
	}
	return false
}
