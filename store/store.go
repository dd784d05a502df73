// Package store is where what is declared is remembered: one revisioned map from key to object, with a log of changes that
// watchers follow. It is the second room of Tenet; only the API server writes to it, everybody else goes through the API.
//
// # Guarantees
//
//   - One global revision. Every write has a revision of its own; a commit takes a contiguous range and becomes visible at once.
//   - A commit is atomic: every precondition holds and every write is durable, or nothing has happened.
//   - A read never returns what is not yet durable (the one exception is a [Write] marked Volatile).
//   - After Commit returns, its caller and every reader in this process sees it.
//   - Records are immutable and shared. Nobody changes a slice or map reached from one.
//
// A watch is, in etcd's words:
//
//   - ordered: events come by revision, never back;
//   - unique: an event comes once;
//   - reliable: no event between two that were delivered is left out; a watcher that cannot be served so is ended with [ErrExpired];
//   - atomic: the events of one commit come together, and never only part of them before a bookmark;
//   - resumable: a watch from a revision in the history window delivers all that came after it, across restarts too;
//   - bookmarkable: a progress mark at revision R says that every matching event up to R was delivered.
//
// # What is not guaranteed
//
// Nothing is said about how long history is kept beyond the window that the implementation is configured with. A slow watcher is cut off rather
// than waited for: it never delays a commit or another watcher. A Volatile write that was superseded before it was durable may be missing from history;
// an event's Prev is then the state before or after it, not always the one that a watcher saw last.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// Limits of one commit, on every backend.
const (
	MaxWrites = 100
	MaxBytes  = 1 << 20
)

// Revision is a point in the history of the store. 0 means none. The first write has revision 1 or later.
type Revision uint64

// Key names an object at rest. Prefix is the kind's storage prefix as in Kubernetes ("pods", "deployments", "services/specs");
// Namespace is empty for what is cluster-scoped.
type Key struct {
	Prefix, Namespace, Name string
}

// String is the key as it stands in etcd: /registry/pods/default/nginx.
func (k Key) String() string {
	if k.Namespace == "" {
		return "/registry/" + k.Prefix + "/" + k.Name
	}
	return "/registry/" + k.Prefix + "/" + k.Namespace + "/" + k.Name
}

// Header is what the store knows of an object without decoding it. Maps and slices are shared and never changed.
type Header struct {
	UID    types.UID
	Labels map[string]string
	// Owners are the UIDs in metadata.ownerReferences.
	Owners []types.UID
	// Fields are the values of the kind's selectable fields, metadata.name and metadata.namespace excluded.
	Fields map[string]string
	// Expires is when the object is to be dropped (events); zero: never.
	Expires time.Time
}

// Record is one state of one object.
type Record struct {
	Key      Key
	Header   Header
	Value    []byte   // the object at rest: encoded, without resourceVersion
	Revision Revision // of the write that made this state: the object's resourceVersion
	Created  Revision // of the write that created the object

	// Derived belongs to the API server: what was made of Value (the decoded object, encoded bodies), so that it is made once for all readers.
	Derived atomic.Value
}

// Write is one change in a commit. No commit has two writes of one key.
type Write struct {
	Key    Key
	Expect Expect
	Delete bool
	Header Header
	Value  []byte
	// Volatile marks a mere renewal: it is acknowledged from memory, keeps its place in the order of revisions, and is on disk with the next
	// group, at Close, or within the implementation's volatile interval. After a crash the object may show the state before it; the revision
	// counter never goes back behind one that was handed out.
	Volatile bool
}

// Expect is the precondition of a write.
type Expect struct {
	// Absent: the key must not exist. Otherwise, when Revision is not 0, the key must exist at exactly that revision; when Revision is 0,
	// anything goes, also nothing.
	// Only what exists can be deleted: a deletion of nothing is a conflict.
	Absent   bool
	Revision Revision
}

// EventType says what happened to a key.
type EventType uint8

const (
	Created EventType = iota + 1
	Modified
	Deleted
	// Bookmark is a progress mark: only Revision is set.
	Bookmark
)

// Event is one change. Record is the new state (nil when deleted), Prev the one before (nil when created), also when that is older than
// the history window.
type Event struct {
	Type     EventType
	Revision Revision
	Record   *Record
	Prev     *Record
}

// Selector narrows a list or a watch. Zero fields do not narrow. Implementations use indexes where they have them.
type Selector struct {
	Labels labels.Selector
	Fields map[string]string   // exact matches on Header.Fields, "metadata.name" and "metadata.namespace"
	Not    map[string][]string // fields that must differ from each of the values
	Owner  types.UID           // one of Header.Owners
	// Also is a further condition, on what the header does not have; nil: none. It always says the same of one record. No index helps it.
	Also func(r *Record) bool
}

// Matches reports whether a record is selected.
func (s *Selector) Matches(r *Record) bool {
	if s == nil {
		return true
	}
	if s.Labels != nil && !s.Labels.Matches(labels.Set(r.Header.Labels)) {
		return false
	}
	for f, want := range s.Fields {
		if r.Field(f) != want {
			return false
		}
	}
	for f, not := range s.Not {
		if slices.Contains(not, r.Field(f)) {
			return false
		}
	}
	if s.Owner != "" && !slices.Contains(r.Header.Owners, s.Owner) {
		return false
	}
	return s.Also == nil || s.Also(r)
}

// Field is the value of a selectable field.
func (r *Record) Field(name string) string {
	switch name {
	case "metadata.name":
		return r.Key.Name
	case "metadata.namespace":
		return r.Key.Namespace
	}
	return r.Header.Fields[name]
}

// ListQuery selects records of one prefix, in the order of (namespace, name).
type ListQuery struct {
	Prefix, Namespace string
	Selector          *Selector
	// At is the revision to read at; 0: the newest.
	At Revision
	// After: only keys that come after this one (Namespace and Name count). For continued lists.
	After *Key
	// Limit is the most records to return; 0: all.
	Limit int
}

// Page is the answer to a list. Records is the caller's; what it points to is shared.
type Page struct {
	Records  []*Record
	Revision Revision
	// More: there are further records after the last one; Remaining is their number, or -1 when a selector makes it unknown.
	More      bool
	Remaining int64
}

// WatchQuery selects events of one prefix.
type WatchQuery struct {
	Prefix, Namespace string
	Selector          *Selector
	// From: events after this revision; 0 means the newest revision.
	From Revision
	// Bookmarks: send a progress mark about this often when nothing else was sent; 0: none.
	Bookmarks time.Duration
}

// Watcher delivers events in batches. An event is delivered when the state before or after it is selected; telling additions from exits is up to
// the reader, who has both states.
type Watcher interface {
	// Next waits for events after those delivered before. The slice is valid until the next call. Errors: [ErrExpired] when the watcher fell too far
	// behind, [ErrClosed] when the store was closed, or the context's.
	Next(ctx context.Context) ([]Event, error)
	// Ready is sent to (never blocking, capacity one) when Next would not wait: for readers that select over several sources.
	Ready() <-chan struct{}
	// Close lets go of everything; Next then returns ErrClosed.
	Close()
}

// Store is the contract. All methods may be called at once.
type Store interface {
	// Commit applies writes in order and returns the record that each made; the i-th has the revision of the first plus i. For a deletion that is the
	// state that was deleted, with the revision of the deletion. On error nothing has happened. What the writes refer to belongs to the store then.
	// Errors: [*ConflictError], [ErrTooLarge], [ErrClosed], [*DiskError]. When ctx ends while the commit is on its way to disk, its outcome is unknown
	// and the error wraps the context's; likewise after a DiskError, until the store is opened again.
	Commit(ctx context.Context, writes ...Write) ([]*Record, error)
	// Get returns the newest record of a key, or [ErrNotFound].
	Get(key Key) (*Record, error)
	// List returns records at one revision. Errors: [ErrExpired] (At is before the window), [ErrFuture].
	List(q ListQuery) (*Page, error)
	// Count is the number of objects under a prefix.
	Count(prefix string) int
	// Changed is a number that differs whenever something visible under a prefix has changed, before the Commit that changed it returns. Who keeps what was made
	// of everything under a prefix asks at each use whether it still holds, for the price of a load: load first, then read. It is the caller's to read only.
	Changed(prefix string) *atomic.Uint64
	// Watch starts a watch. Errors: [ErrExpired], [ErrFuture].
	Watch(q WatchQuery) (Watcher, error)
	// Revision is the newest visible revision, Oldest the first one from which watches can still start.
	Revision() Revision
	Oldest() Revision
	// Wait returns when the store has reached a revision; [ErrFuture] if ctx ends before.
	Wait(ctx context.Context, at Revision) error
	// Check compares memory with disk, repairs memory, and reports every difference found.
	Check(ctx context.Context) ([]string, error)
	// Prefixes lists the prefixes that hold objects.
	Prefixes() []string
	// Close makes everything durable and ends all watches.
	Close() error
}

// Errors of the contract.
var (
	ErrNotFound = errors.New("store: no such key")
	ErrExpired  = errors.New("store: the revision is older than the history that is kept")
	ErrFuture   = errors.New("store: the revision has not been reached yet")
	ErrClosed   = errors.New("store: closed")
	ErrTooLarge = fmt.Errorf("store: a commit holds at most %d writes and %d bytes", MaxWrites, MaxBytes)
)

// ConflictError says which write of a commit had a precondition that does not hold, and what is there instead.
type ConflictError struct {
	Index   int
	Key     Key
	Current *Record // nil: the key does not exist
}

func (e *ConflictError) Error() string {
	if e.Current == nil {
		return fmt.Sprintf("store: %s does not exist", e.Key)
	}
	return fmt.Sprintf("store: %s is at revision %d", e.Key, e.Current.Revision)
}

// DiskError says that the disk failed; the store accepts no further writes until it is opened again.
type DiskError struct{ Err error }

func (e *DiskError) Error() string { return "store: disk: " + e.Err.Error() }
func (e *DiskError) Unwrap() error { return e.Err }
