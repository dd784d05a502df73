// Package kinds is Tenet's type system: what a type of object is, and everything the runtime needs to know about it.
//
// A [Kind] is data. Built-in kinds are Go values made with [Define] over the k8s.io/api types, one file per kind, in
// the folders below this one; a CustomResourceDefinition makes the same value at run time. The API server knows only
// Kind: no other package may switch on the name of a type to give it meaning.
//
// A Kind has one storage identity (prefix, hub type, storage version) and is served as one or more (group, version,
// resource). All hooks work on the hub type, apart from Served.Default, which works on the served one. Hooks are pure:
// they read no clock and no store, and change only the object they are given.
package kinds

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Object is any API object: typed metadata, and a runtime.Object.
type Object interface {
	metav1.Object
	runtime.Object
}

// Kind is one type of object. Kinds are immutable once made and shared without locks.
type Kind struct {
	// Kind, Plural and Singular are the names of the type: "Pod", "pods", "pod".
	Kind, Plural, Singular string
	ShortNames, Categories []string
	Namespaced             bool

	// Storage is where and how objects of the kind rest. Without a prefix they do not: see Stored.
	Storage Storage
	// Hub is the version that is the hub type itself, where it may not be among those served (the storage version of a custom kind). Nil: the first of Served
	// that needs no conversion.
	Hub *Served
	// Served lists the versions offered to clients, preferred first; never empty. Served[0] is the hub unless said otherwise.
	Served []*Served

	// New and NewList make an empty hub object and list. There is no list of what is not stored.
	New     func() Object
	NewList func() runtime.Object
	// ListKind names the type of a list; "" is Kind with List behind it.
	ListKind string

	// ActsOn: the create of what is not stored is an action on the object of the same name (Binding). Nil: the API server's handler answers.
	ActsOn *Action

	// Restore sets what the encoding at rest leaves out, in what was read: the codec calls it. May be nil.
	Restore func(obj Object)

	// ValidName checks metadata.name (or generateName, when prefix is true) and returns what is wrong with it.
	ValidName func(name string, prefix bool) []string

	// BeforeCreate clears what a client may not set (status, gated fields) and sets what every object has (generation).
	BeforeCreate func(obj Object)
	// BeforeUpdate keeps in obj what an update may not change silently (status) and counts the generation. old is read only.
	BeforeUpdate func(obj, old Object)
	// Stamp writes down when what a change says came about, where the kind keeps such times (phase of a volume, approval of a certificate). It runs
	// after BeforeCreate, BeforeUpdate, or a subresource's Before; old is nil on create. May be nil.
	Stamp func(obj, old Object, now metav1.Time)
	// Requested writes down who asked for a new object, where the kind keeps that. It runs after BeforeCreate. May be nil.
	Requested func(obj Object, by Requester)
	// Canonicalize runs after admission and validation, before the object is stored; may be nil.
	Canonicalize func(obj Object)
	// Validate says what is wrong with a new object, defaults and admission applied, metadata excluded (the API server checks that).
	Validate func(obj Object) field.ErrorList
	// ValidateUpdate says what is wrong with a change, metadata excluded.
	ValidateUpdate func(obj, old Object) field.ErrorList
	// Warnings become Warning headers; old is nil on create. May be nil.
	Warnings func(obj, old Object) []string

	// Resets names the fields (dotted, from the root) that a write to the main resource never owns, e.g. "status". For managedFields.
	Resets []string
	// CreateOnUpdate: a PUT (or apply) of an object that does not exist creates it. Apply always may.
	CreateOnUpdate bool
	// UnconditionalUpdate: a PUT without resourceVersion replaces whatever is there.
	UnconditionalUpdate bool
	// WithoutVerbs lists verbs of the main resource that are not offered; all of get, list, watch, create, update, patch, delete,
	// deletecollection are offered when it is empty.
	WithoutVerbs []string

	// Grace tells how long a deletion waits; requested is what the client asked for, or nil. graceful false: delete at once. May be nil: never graceful.
	Grace func(obj Object, requested *int64) (seconds int64, graceful bool)
	// ReturnDeleted: a delete answers with the object as it was (pods, services, namespaces), rather than with a Status.
	ReturnDeleted bool
	// OrphanByDefault: dependents outlive their owner when the client does not say (only ReplicationController and old groups).
	OrphanByDefault bool
	// Finalizing reports finalizers outside metadata (Namespace: spec.finalizers). May be nil.
	Finalizing func(obj Object) bool
	// OnDelete changes an object whose deletion was asked for and has to wait, in the write that sets its deletionTimestamp (Namespace: phase
	// Terminating). May be nil.
	OnDelete func(obj Object)
	// TTL is how long after its last write the object is dropped; 0: never. May be nil.
	TTL func(obj Object) time.Duration
	// Volatile reports that a change is a mere renewal that may be acknowledged from memory (Lease.renewTime). May be nil.
	Volatile func(obj, old Object) bool

	// Fields are the selectable fields beside metadata.name and metadata.namespace. Those in Indexed have an index in the store.
	Fields  map[string]func(obj Object) string
	Indexed []string

	// Table is what kubectl get prints. Nil: Name and Created At.
	Table *Table

	Subresources []*Subresource

	// Types converts objects of a custom kind to the typed values of structured-merge-diff, for managedFields. Nil: the schema of built-in kinds knows them.
	Types managedfields.TypeConverter
	// Origin is what a kind was made of at run time, for the package that made it (kinds/custom). Nil for built-in kinds, whose objects are Go structs;
	// objects of all others are unstructured, and carry their type header.
	Origin any
}

// Custom reports that the kind was made at run time, of a CustomResourceDefinition.
func (k *Kind) Custom() bool { return k.Origin != nil }

// Action names an action on objects of a kind.
type Action struct {
	Kind        *Kind
	Subresource string
}

// Requester is who sends a request.
type Requester struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
}

// Storage is the storage identity of a Kind.
type Storage struct {
	// Prefix is the path below /registry/ under which objects rest, as in Kubernetes: "pods", "services/specs", "minions".
	Prefix string
	// GVK is the group, version and kind in the stored envelope.
	GVK schema.GroupVersionKind
	// Codec turns hub objects into bytes at rest and back. [Protobuf] for built-in kinds.
	Codec Codec
}

// Codec writes and reads objects at rest. An encoded object carries no resourceVersion. Decode does not keep data.
type Codec interface {
	Encode(obj Object) ([]byte, error)
	Decode(data []byte) (Object, error)
}

// Served is one (group, version, resource) under which a Kind is offered.
type Served struct {
	Group, Version string
	// New and NewList make an empty object and list of this version.
	New     func() Object
	NewList func() runtime.Object
	// Default sets the defaults of this version. obj was made by New. May be nil.
	Default func(obj Object)
	// ToHub and FromHub convert; both nil: this version is the hub type itself. They may share memory with in.
	ToHub   func(in Object) (Object, error)
	FromHub func(in Object) (Object, error)
	// Validate and ValidateUpdate stand in for the kind's own on writes through this version (Event: events.k8s.io is stricter). They get hub
	// objects. May be nil.
	Validate       func(obj Object) field.ErrorList
	ValidateUpdate func(obj, old Object) field.ErrorList
	// Fields maps the selectable fields as this version names them to the kind's. Nil: the same names.
	Fields map[string]string
	// Deprecated is the text of the Warning header for using this version, or "".
	Deprecated string

	// What follows is for custom kinds, whose versions have schemas of their own.

	// Coerce brings an object that was sent in this version into the form that its schema allows: fields that the schema does not know are taken away, and named
	// when strict is set. Nil for Go types, whose decoder does that.
	Coerce func(obj Object, strict bool) (unknown []string, err error)
	// BeforeCreate and BeforeUpdate stand in for the kind's own. They get hub objects. May be nil.
	BeforeCreate func(obj Object)
	BeforeUpdate func(obj, old Object)
	// Table and Subresources stand in for the kind's own when Own is set.
	Own          bool
	Table        *Table
	Subresources []*Subresource
	// Selectable reads the selectable fields of this version from a hub object. Nil: the store's header has them (Kind.Fields).
	Selectable map[string]func(obj Object) string
}

// GroupVersion of this served version.
func (s *Served) GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: s.Group, Version: s.Version}
}

// ValidateCreate says what is wrong with a new object that was sent in version s.
func (k *Kind) ValidateCreate(s *Served, obj Object) field.ErrorList {
	if s != nil && s.Validate != nil {
		return s.Validate(obj)
	}
	return k.Validate(obj)
}

// ValidateChange says what is wrong with a change that was sent in version s.
func (k *Kind) ValidateChange(s *Served, obj, old Object) field.ErrorList {
	if s != nil && s.ValidateUpdate != nil {
		return s.ValidateUpdate(obj, old)
	}
	return k.ValidateUpdate(obj, old)
}

// Stored reports whether there are objects of the kind. The others are questions (TokenReview, SubjectAccessReview): they are created and nothing else, and the
// API server's handler for the kind answers with the object, filled in.
func (k *Kind) Stored() bool { return k.Storage.Prefix != "" }

// GVK is the kind's name in its first served version.
func (k *Kind) GVK() schema.GroupVersionKind {
	return k.Served[0].GroupVersion().WithKind(k.Kind)
}

// GVR is the kind's resource in its first served version.
func (k *Kind) GVR() schema.GroupVersionResource {
	return k.Served[0].GroupVersion().WithResource(k.Plural)
}

// GroupResource of the first served version, as error messages name it ("deployments.apps").
func (k *Kind) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: k.Served[0].Group, Resource: k.Plural}
}

// Serves returns how the kind is served in a group and version, or nil.
func (k *Kind) Serves(gv schema.GroupVersion) *Served {
	for _, s := range k.Served {
		if s.Group == gv.Group && s.Version == gv.Version {
			return s
		}
	}
	return nil
}

// PrepareCreate does BeforeCreate for an object that was sent in version s.
func (k *Kind) PrepareCreate(s *Served, obj Object) {
	if s != nil && s.BeforeCreate != nil {
		s.BeforeCreate(obj)
	} else if k.BeforeCreate != nil {
		k.BeforeCreate(obj)
	}
}

// PrepareUpdate does BeforeUpdate for a change that was sent in version s.
func (k *Kind) PrepareUpdate(s *Served, obj, old Object) {
	if s != nil && s.BeforeUpdate != nil {
		s.BeforeUpdate(obj, old)
	} else if k.BeforeUpdate != nil {
		k.BeforeUpdate(obj, old)
	}
}

// TableOf is what the kind looks like in columns in version s; may be nil.
func (k *Kind) TableOf(s *Served) *Table {
	if s != nil && s.Own {
		return s.Table
	}
	return k.Table
}

// SubresourcesOf are the further doors to objects in version s.
func (k *Kind) SubresourcesOf(s *Served) []*Subresource {
	if s != nil && s.Own {
		return s.Subresources
	}
	return k.Subresources
}

// ListGVK names the type of a list in version s.
func (k *Kind) ListGVK(s *Served) schema.GroupVersionKind {
	if k.ListKind != "" {
		return s.GroupVersion().WithKind(k.ListKind)
	}
	return s.GroupVersion().WithKind(k.Kind + "List")
}

// SubresourceOf returns the subresource called name in version s, or nil.
func (k *Kind) SubresourceOf(s *Served, name string) *Subresource {
	for _, sub := range k.SubresourcesOf(s) {
		if sub.Name == name {
			return sub
		}
	}
	return nil
}

// Subresource returns the subresource called name, or nil.
func (k *Kind) Subresource(name string) *Subresource {
	for _, s := range k.Subresources {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Subresource is a further door to an object: a view of it (status, scale), an action on it (binding, eviction, token), or a
// connection to what it describes (log, exec, attach, portforward, proxy).
type Subresource struct {
	Name string
	// Verbs among get, update, patch, create. A view offers get, update and patch; an action create; a connection get and create.
	Verbs []string
	// GVK is the type that is sent and returned; the zero value means the object itself.
	GVK schema.GroupVersionKind
	// New makes an empty value of GVK; nil when GVK is zero.
	New func() runtime.Object

	// Read makes the view from the object; nil when the view is the object itself.
	Read func(obj Object) (runtime.Object, error)
	// Write carries what was sent into obj, a private copy of the stored object. in is of GVK's type; nil when the view is the object itself:
	// then Before does the work.
	Write func(obj Object, in runtime.Object) error
	// Before keeps in obj, which a client sent as a whole object, everything this subresource may not change. old is read only.
	Before func(obj, old Object)
	// Validate says what is wrong with the change; both are whole objects.
	Validate func(obj, old Object) field.ErrorList
	// Warnings become Warning headers of a change through here. May be nil: none. A view of another type has those of the kind.
	Warnings func(obj, old Object) []string
	// Resets names the fields a write through here never owns ("spec", "metadata.labels").
	Resets []string

	// Connect: the API server has a handler of this name that takes the request over (log, exec, attach, portforward, proxy, token, eviction).
	Connect bool
}

// Table is what a kind looks like in columns.
type Table struct {
	Columns []metav1.TableColumnDefinition
	// Row gives one cell per column: string, int64, bool, nil, or a [Cell] for text that depends on the time of the request.
	Row func(obj Object) []any
}

// Cell is a table cell that ages.
type Cell interface{ At(now time.Time) any }
