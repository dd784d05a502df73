// Package embedded is the store on one machine: [store.Store] over Pebble. It is the persist step of the loop; the API server writes to it.
//
// # Layout
//
// What is on disk is one append-only log of changes, keyed by revision. An entry holds the whole state after the change and the revision of the state
// before it. When an entry leaves the history window, the state before it is deleted from the log: so the newest state of each key, and the state
// before each change in the window, are always there, and nothing is ever copied. The map from key to newest record is memory, rebuilt at Open.
//
// # The way of a commit
//
// Preconditions are checked under one short lock against the newest state, that of writes on their way to disk included. A single goroutine, the
// committer, takes all commits that wait, writes them with one fsync, makes them visible in one step, and wakes their callers and the watchers. A commit
// that fails its precondition because of a write still on its way waits for that write, so that no caller learns of a state that is not durable.
//
// # What is guaranteed beyond the contract
//
// Records are shared: a watch event, a list and a get of one state return the same *store.Record, while that state is in memory.
//
// After a crash, or when history is read from disk, a volatile write that was superseded before it reached the disk is left out. Revisions that were
// handed out only to volatile writes and lost in a crash are never handed out again; a watch or a list at one of them gets [store.ErrExpired].
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tenet-run/tenet/store"
)

// Window bounds a history: changes older than MaxAge, or beyond MaxBytes of newer ones, may be dropped.
type Window struct {
	MaxAge   time.Duration
	MaxBytes int64
}

// Options configure a store. Only Dir is needed.
type Options struct {
	// Dir is the data directory; made when it is not there. One process at a time may use it.
	Dir string
	// FS is the file system; nil: the disk.
	FS vfs.FS
	// Window is the history kept on disk. Default: one hour, 32 MiB.
	Window Window
	// Memory is the history kept in memory for watchers, per prefix; MaxBytes counts superseded states only. Default: one minute, 64 MiB.
	Memory Window
	// VolatileInterval is how long a volatile write may stay off the disk. Default: 10 minutes.
	VolatileInterval time.Duration
	// Logger gets what an operator must know; nil: slog.Default().
	Logger *slog.Logger

	// memTable is Pebble's memtable size; tests make it small, to see flushes and compactions.
	memTable uint64
}

func (o *Options) setDefaults() {
	if o.FS == nil {
		// Not nil for Pebble either: it would add a disk health checker, which ticks.
		o.FS = vfs.Default
	}
	if o.Window.MaxAge == 0 {
		o.Window.MaxAge = time.Hour
	}
	if o.Window.MaxBytes == 0 {
		o.Window.MaxBytes = 32 << 20
	}
	if o.Memory.MaxAge == 0 {
		o.Memory.MaxAge = time.Minute
	}
	if o.Memory.MaxBytes == 0 {
		o.Memory.MaxBytes = 64 << 20
	}
	if o.VolatileInterval == 0 {
		o.VolatileInterval = 10 * time.Minute
	}
	if o.memTable == 0 {
		o.memTable = 4 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Store implements [store.Store].
//
// Locks, in the order in which they may be taken: plan, view, watcher.mu. The disk is used under none of them.
type Store struct {
	opts Options
	log  *slog.Logger
	lock *pebble.Lock
	db   *pebble.DB

	// plan guards the future: the states that queued commits will make.
	plan    sync.Mutex
	pending map[store.Key]planned
	next    store.Revision // of the next write
	queue   []*commit
	tasks   []func()
	refuse  error // why no further commits are taken

	// view guards the present: what readers see.
	view     sync.RWMutex
	tables   map[string]*table
	expiring expiries
	rev      atomic.Uint64 // written with view held
	oldest   atomic.Uint64 // the history window begins after this revision
	gaps     []gap         // set at Open
	uses     atomic.Int64  // of indexes
	// bookmarked are the watchers that want bookmarks; bookmarksDue is when the first of them may be due.
	bookmarked   []*watcher
	bookmarksDue time.Time

	waiting waiters
	pages   pageCache
	clock   clock

	kick      chan struct{} // to the committer
	committed chan struct{} // closed when the committer has ended
	failed    chan struct{} // closed when the disk has failed
	failOnce  sync.Once
	fence     fence
	failure   *store.DiskError

	// disk is held for reading by those who read Pebble, for writing by Close.
	disk       sync.RWMutex
	diskClosed bool

	committer
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a directory and reads it into memory. Errors: [ErrLocked] (as *LockedError), [*store.DiskError], ctx's.
// Other errors say that the directory does not hold a store of this version.
func Open(ctx context.Context, opts Options) (*Store, error) {
	opts.setDefaults()
	s := &Store{
		opts:      opts,
		log:       opts.Logger.With("component", "store"),
		pending:   map[store.Key]planned{},
		tables:    map[string]*table{},
		expiring:  newExpiries(),
		kick:      make(chan struct{}, 1),
		committed: make(chan struct{}),
		failed:    make(chan struct{}),
	}
	s.clock.init()
	s.fence.failed, s.fence.fail = s.failed, s.fail
	if err := makeDir(opts.FS, opts.Dir); err != nil {
		return nil, &store.DiskError{Err: err}
	}
	lock, err := lockDir(opts.FS, opts.Dir)
	if err != nil {
		return nil, err
	}
	s.lock = lock
	s.db, err = pebble.Open(opts.Dir, s.pebbleOptions())
	if err != nil {
		lock.Close()
		return nil, &store.DiskError{Err: fmt.Errorf("opening %s: %w", opts.Dir, err)}
	}
	// Pebble syncs its directory before it has made the last of its files in it, and never the directory's own entry.
	err = syncDir(opts.FS, opts.Dir)
	if err == nil {
		err = s.load(ctx)
	}
	if err != nil {
		err = errors.Join(err, s.db.Close(), lock.Close())
		return nil, err
	}
	s.fence.running.Store(true)
	go s.runCommitter()
	go s.runClock()
	return s, nil
}

// Revision is the newest visible revision.
func (s *Store) Revision() store.Revision { return store.Revision(s.rev.Load()) }

// Oldest is the first revision from which watches can start.
func (s *Store) Oldest() store.Revision { return store.Revision(s.oldest.Load()) }

// fail stops the store: the disk can no longer be trusted to keep what it is given.
func (s *Store) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = &store.DiskError{Err: err}
		s.log.Error("Disk failed; the store refuses further writes", "dir", s.opts.Dir, "err", err)
		close(s.failed)
	})
}

// Close makes everything durable and ends all watches. After the disk has failed it lets go of what it can and returns the failure.
func (s *Store) Close() error {
	s.plan.Lock()
	if errors.Is(s.refuse, store.ErrClosed) {
		s.plan.Unlock()
		return nil
	}
	s.refuse = store.ErrClosed
	s.plan.Unlock()
	s.clock.stop()
	s.kickCommitter()
	select {
	case <-s.committed:
	case <-s.failed:
	}
	s.endWatches(nil, store.ErrClosed)
	s.waiting.wake(^store.Revision(0))

	closed := make(chan error, 1)
	go func() {
		s.disk.Lock()
		defer s.disk.Unlock()
		s.diskClosed = true
		select {
		case <-s.failed: // Pebble's locks may be held for ever
		default:
			closed <- s.db.Close()
		}
	}()
	select {
	case err := <-closed:
		if err = errors.Join(err, s.lock.Close()); err != nil {
			return &store.DiskError{Err: err}
		}
		return nil
	case <-s.failed:
		// Pebble stays as it is, cut off from the disk; the directory may be used by others.
		s.lock.Close()
		s.lock.Close() // Pebble's
		return s.failure
	}
}

// reading lets f read Pebble, unless the store is closed.
func (s *Store) reading(f func() error) error {
	s.disk.RLock()
	defer s.disk.RUnlock()
	if s.diskClosed {
		return store.ErrClosed
	}
	return f()
}
