package embedded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tenet-run/tenet/store"
)

// firstRevision is the revision of a store in which nothing has been written, as in etcd.
const firstRevision store.Revision = 1

// gap is a range of revisions, both ends excluded, that volatile writes may have had before a crash. Nobody knows what they were.
type gap struct{ after, before store.Revision }

// load reads the log into memory.
func (s *Store) load(ctx context.Context) error {
	if err := s.checkFormat(); err != nil {
		return err
	}
	oldest, err := s.getRevision(keyOldest)
	if err != nil {
		return err
	}
	if oldest == 0 {
		oldest = firstRevision
	}
	s.oldest.Store(uint64(oldest))
	last, err := s.replay(ctx, oldest)
	if err != nil {
		return err
	}
	if last, err = s.closeGaps(last); err != nil {
		return err
	}
	s.rev.Store(uint64(last))
	s.next = last + 1
	s.armed(time.Now())
	return nil
}

func (s *Store) checkFormat() error {
	v, err := s.getRevision(keyFormat)
	if err != nil {
		return err
	}
	switch v {
	case formatVersion:
		return nil
	case 0:
		if err := s.db.Set(keyFormat, revisionValue(formatVersion), pebble.Sync); err != nil {
			return &store.DiskError{Err: err}
		}
		return nil
	}
	return fmt.Errorf("store: %s was written by another version of tenet: format %d, this one reads %d", s.opts.Dir, v, formatVersion)
}

func (s *Store) getRevision(key []byte) (store.Revision, error) {
	b, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, &store.DiskError{Err: err}
	}
	defer closer.Close()
	return parseRevisionValue(b)
}

// replay reads the whole log in order. Entries up to oldest only make the map, later ones the history in memory too.
func (s *Store) replay(ctx context.Context, oldest store.Revision) (last store.Revision, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: logBegin, UpperBound: logEnd})
	if err != nil {
		return 0, &store.DiskError{Err: err}
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	last = oldest
	var open []*table // touched by the commit that is being read
	for it.First(); it.Valid(); it.Next() {
		rev, err := keyRevision(it.Key())
		if err != nil {
			return 0, err
		}
		raw, err := it.ValueAndErr()
		if err != nil {
			return 0, &store.DiskError{Err: err}
		}
		if rev&0xfff == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		t, more, err := s.replayEntry(rev, raw, rev > oldest)
		if err != nil {
			return 0, fmt.Errorf("%w (revision %d)", err, rev)
		}
		open = append(open, t)
		if !more {
			for _, t := range open {
				t.log.endCommit()
			}
			open = open[:0]
		}
		last = max(last, rev)
	}
	if err := it.Error(); err != nil {
		return 0, &store.DiskError{Err: err}
	}
	return last, nil
}

func (s *Store) replayEntry(rev store.Revision, raw []byte, inWindow bool) (t *table, more bool, err error) {
	e, err := parseEntry(raw)
	if err != nil {
		return nil, false, err
	}
	var rec *store.Record
	var key store.Key
	if e.deleted {
		key, err = e.key()
	} else if rec, err = e.record(rev); err == nil {
		key = rec.Key
	}
	if err != nil {
		return nil, false, err
	}
	t = s.table(key.Prefix)
	if rec != nil {
		rec.Key.Prefix = t.prefix
	}
	ev := eventOf(rev, rec, t.get(key.Namespace, key.Name))
	if rec == nil && ev.Prev == nil {
		return nil, false, fmt.Errorf("store: the log deletes %s, which is not there", key)
	}
	s.expiring.apply(ev.Prev, ev.Record)
	if !inWindow {
		t.set(ev.Prev, ev.Record)
		t.last, t.log.floor = rev, rev
		return t, e.more, nil
	}
	now := time.Now()
	t.apply(ev, now)
	t.log.trim(s.opts.Memory, now)
	s.window.push(windowEntry{rev: rev, prev: e.prev, deleted: e.deleted, size: int32(len(raw)), time: e.time})
	return t, e.more, nil
}

func eventOf(rev store.Revision, rec, prev *store.Record) store.Event {
	ev := store.Event{Type: store.Modified, Revision: rev, Record: rec, Prev: prev}
	switch {
	case rec == nil:
		ev.Type = store.Deleted
	case prev == nil:
		ev.Type = store.Created
	}
	return ev
}

// closeGaps returns the newest revision that may have been handed out. If volatile writes may have been lost, it remembers the range.
func (s *Store) closeGaps(last store.Revision) (store.Revision, error) {
	reserved, err := s.getRevision(keyReserved)
	if err != nil {
		return 0, err
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	newest := last
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: gapBegin, UpperBound: gapEnd})
	if err != nil {
		return 0, &store.DiskError{Err: err}
	}
	for it.First(); it.Valid(); it.Next() {
		after, err1 := keyRevision(it.Key())
		before, err2 := parseRevisionValue(it.Value())
		if err := errors.Join(err1, err2); err != nil {
			return 0, errors.Join(err, it.Close())
		}
		newest = max(newest, before)
		if before > s.Oldest() {
			s.gaps = append(s.gaps, gap{after, before})
		} else {
			batch.Delete(it.Key(), nil)
		}
	}
	if err := it.Close(); err != nil {
		return 0, &store.DiskError{Err: err}
	}
	if reserved != 0 {
		batch.Delete(keyReserved, nil)
	}
	if reserved > newest {
		s.log.Info("The last process did not close the store; volatile writes of its last minutes may be lost", "after", newest, "revision", reserved)
		s.gaps = append(s.gaps, gap{newest, reserved})
		batch.Set(gapKey(newest), revisionValue(reserved), nil)
		newest = reserved
	}
	if batch.Empty() {
		return newest, nil
	}
	if err := apply(s.db, batch, pebble.Sync); err != nil {
		return 0, &store.DiskError{Err: err}
	}
	return newest, nil
}

// lost tells whether a revision lies in a gap.
func (s *Store) lost(at store.Revision) bool {
	for _, g := range s.gaps {
		if at > g.after && at < g.before {
			return true
		}
	}
	return false
}
