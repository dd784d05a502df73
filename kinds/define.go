package kinds

import (
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Definition is a built-in kind as its file writes it down: typed hooks over the k8s.io/api type T with list type L.
// Zero fields take the usual meaning, stated at each.
type Definition[T Object, L runtime.Object] struct {
	Group, Version         string
	Kind, Plural, Singular string // Singular: lower-cased Kind
	ShortNames, Categories []string
	Namespaced             bool
	Prefix                 string // Plural, or Plural with the irregular prefix of Kubernetes
	New                    func() T
	NewList                func() L
	Default                func(obj T)
	// Restore sets what the encoding at rest leaves out, in what was read.
	Restore func(obj T)

	ValidName func(name string, prefix bool) []string // a DNS subdomain

	// Spec points to what the generation counts; nil: the kind has no generation.
	Spec func(obj T) any
	// CopyStatus sets dst's status to src's; nil: the kind has no status and no status subresource is added.
	CopyStatus func(dst, src T)
	// CopySpec keeps everything but status when status is written: dst's spec (and what else the kind guards) becomes src's.
	// Required with CopyStatus. The metadata that a status write may not change (ownerReferences, deletion) is kept by the API server.
	CopySpec func(dst, src T)

	// StatusResets names further fields, beside spec, that a status write never owns; CopySpec keeps them.
	StatusResets []string
	// Answered: objects are never stored. A create is a question that the API server's handler for the kind answers; NewList may be nil.
	Answered bool
	// ActsOn: such a create is an action on another object instead.
	ActsOn *Action
	// Deprecated is the warning for using this version at all.
	Deprecated   string
	WithoutVerbs []string
	// StatusOnCreate: a create may set status (Node, so that a node agent registers in one write).
	StatusOnCreate bool

	// BeforeCreate and BeforeUpdate run after the generic part (status, generation).
	BeforeCreate   func(obj T)
	BeforeUpdate   func(obj, old T)
	Stamp          func(obj, old T, now metav1.Time) // old is nil on create
	Requested      func(obj T, by Requester)
	Canonicalize   func(obj T)
	Validate       func(obj T) field.ErrorList
	ValidateUpdate func(obj, old T) field.ErrorList // nil: Validate of the new object
	ValidateStatus func(obj, old T) field.ErrorList
	Warnings       func(obj, old T) []string // old is nil on create
	StatusWarnings func(obj, old T) []string

	CreateOnUpdate, NoUnconditionalUpdate bool
	ReturnDeleted, OrphanByDefault        bool
	Grace                                 func(obj T, requested *int64) (int64, bool)
	Finalizing                            func(obj T) bool
	OnDelete                              func(obj T)
	TTL                                   func(obj T) time.Duration
	Volatile                              func(obj, old T) bool
	Fields                                map[string]func(obj T) string
	Indexed                               []string
	Columns                               []metav1.TableColumnDefinition
	Row                                   func(obj T) []any
	Subresources                          []*Subresource
	// Also are further served versions over the same storage.
	Also []*Served
}

// Define makes a Kind of a typed definition. It panics on a definition that can never work, which a test of the list of kinds would show.
func Define[T Object, L runtime.Object](d Definition[T, L]) *Kind {
	if d.Singular == "" {
		d.Singular = lower(d.Kind)
	}
	if d.Prefix == "" && !d.Answered {
		d.Prefix = d.Plural
	}
	if d.Answered {
		d.WithoutVerbs = []string{"get", "list", "watch", "update", "patch", "delete", "deletecollection"}
	}
	gvk := schema.GroupVersionKind{Group: d.Group, Version: d.Version, Kind: d.Kind}
	k := &Kind{
		Kind: d.Kind, Plural: d.Plural, Singular: d.Singular, ShortNames: d.ShortNames, Categories: d.Categories, Namespaced: d.Namespaced,
		New:            func() Object { return d.New() },
		ValidName:      d.ValidName,
		CreateOnUpdate: d.CreateOnUpdate, UnconditionalUpdate: !d.NoUnconditionalUpdate,
		WithoutVerbs:  d.WithoutVerbs,
		ReturnDeleted: d.ReturnDeleted, OrphanByDefault: d.OrphanByDefault,
		Indexed:      d.Indexed,
		Subresources: d.Subresources,
		BeforeCreate: func(obj Object) {
			o := obj.(T)
			if d.CopyStatus != nil && !d.StatusOnCreate {
				d.CopyStatus(o, d.New())
			}
			if d.Spec != nil {
				o.SetGeneration(1)
			}
			if d.BeforeCreate != nil {
				d.BeforeCreate(o)
			}
		},
		BeforeUpdate: func(obj, old Object) {
			o, p := obj.(T), old.(T)
			if d.CopyStatus != nil {
				d.CopyStatus(o, p)
			}
			if d.BeforeUpdate != nil {
				d.BeforeUpdate(o, p)
			}
			if d.Spec != nil {
				o.SetGeneration(p.GetGeneration())
				if !equality.Semantic.DeepEqual(d.Spec(o), d.Spec(p)) {
					o.SetGeneration(p.GetGeneration() + 1)
				}
			}
		},
		Validate:       func(obj Object) field.ErrorList { return nil },
		ValidateUpdate: func(obj, old Object) field.ErrorList { return nil },
	}
	k.ActsOn = d.ActsOn
	if d.NewList != nil {
		k.NewList = func() runtime.Object { return d.NewList() }
	}
	k.Storage = Storage{Prefix: d.Prefix, GVK: gvk, Codec: Protobuf(gvk, k.New)}
	if d.Restore != nil {
		k.Restore = func(obj Object) { d.Restore(obj.(T)) }
		k.Storage.Codec = restoring{k.Storage.Codec, k.Restore}
	}
	hub := &Served{Group: d.Group, Version: d.Version, New: k.New, NewList: k.NewList, Deprecated: d.Deprecated}
	if d.Default != nil {
		hub.Default = func(obj Object) { d.Default(obj.(T)) }
	}
	k.Served = append([]*Served{hub}, d.Also...)
	if k.ValidName == nil {
		k.ValidName = apivalidation.NameIsDNSSubdomain
	}
	if d.Validate != nil {
		k.Validate = func(obj Object) field.ErrorList { return d.Validate(obj.(T)) }
		k.ValidateUpdate = func(obj, _ Object) field.ErrorList { return d.Validate(obj.(T)) }
	}
	if d.ValidateUpdate != nil {
		k.ValidateUpdate = func(obj, old Object) field.ErrorList { return d.ValidateUpdate(obj.(T), old.(T)) }
	}
	if d.Canonicalize != nil {
		k.Canonicalize = func(obj Object) { d.Canonicalize(obj.(T)) }
	}
	if d.Requested != nil {
		k.Requested = func(obj Object, by Requester) { d.Requested(obj.(T), by) }
	}
	if d.Stamp != nil {
		k.Stamp = func(obj, old Object, now metav1.Time) {
			var before T
			if old != nil {
				before = old.(T)
			}
			d.Stamp(obj.(T), before, now)
		}
	}
	if d.Warnings != nil {
		k.Warnings = func(obj, old Object) []string {
			if old == nil {
				var none T
				return d.Warnings(obj.(T), none)
			}
			return d.Warnings(obj.(T), old.(T))
		}
	}
	if d.Grace != nil {
		k.Grace = func(obj Object, requested *int64) (int64, bool) { return d.Grace(obj.(T), requested) }
	}
	if d.Finalizing != nil {
		k.Finalizing = func(obj Object) bool { return d.Finalizing(obj.(T)) }
	}
	if d.OnDelete != nil {
		k.OnDelete = func(obj Object) { d.OnDelete(obj.(T)) }
	}
	if d.TTL != nil {
		k.TTL = func(obj Object) time.Duration { return d.TTL(obj.(T)) }
	}
	if d.Volatile != nil {
		k.Volatile = func(obj, old Object) bool { return d.Volatile(obj.(T), old.(T)) }
	}
	if len(d.Fields) > 0 {
		k.Fields = make(map[string]func(Object) string, len(d.Fields))
		for name, f := range d.Fields {
			k.Fields[name] = func(obj Object) string { return f(obj.(T)) }
		}
	}
	if d.Row != nil {
		k.Table = &Table{Columns: d.Columns, Row: func(obj Object) []any { return d.Row(obj.(T)) }}
	}
	if d.CopyStatus != nil {
		k.Resets = []string{"status"}
		k.Subresources = append([]*Subresource{{
			Name: "status", Verbs: []string{"get", "update", "patch"}, Resets: append([]string{"spec"}, d.StatusResets...),
			Before: func(obj, old Object) { d.CopySpec(obj.(T), old.(T)) },
			Validate: func(obj, old Object) field.ErrorList {
				if d.ValidateStatus == nil {
					return nil
				}
				return d.ValidateStatus(obj.(T), old.(T))
			},
		}}, k.Subresources...)
		if d.StatusWarnings != nil {
			k.Subresources[0].Warnings = func(obj, old Object) []string { return d.StatusWarnings(obj.(T), old.(T)) }
		}
		if d.CopySpec == nil {
			panic("kinds: " + d.Kind + " has CopyStatus but no CopySpec")
		}
	}
	if d.New == nil || d.NewList == nil && !d.Answered || d.Plural == "" || reflect.TypeFor[T]().Kind() != reflect.Pointer {
		panic("kinds: incomplete definition of " + d.Kind)
	}
	return k
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
