package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tenet-run/tenet/store"
)

// Check implements [store.Store]. It compares one revision of memory with the same revision on disk, without holding up writers. What differs is taken
// from disk; the watches of a prefix that was repaired are ended with ErrExpired, because what they were told may have been wrong.
func (s *Store) Check(ctx context.Context) ([]string, error) {
	var snap *pebble.Snapshot
	inMemory := map[string]*tree{}
	s.disk.RLock()
	defer s.disk.RUnlock()
	if s.diskClosed {
		return nil, store.ErrClosed
	}
	err := s.ask(func() error {
		if err := s.saveOrFail(nil, false); err != nil {
			return err
		}
		s.view.RLock()
		defer s.view.RUnlock()
		for p, t := range s.tables {
			inMemory[p] = t.tree()
		}
		snap = s.db.NewSnapshot()
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	onDisk, err := newestOnDisk(ctx, snap)
	if err != nil {
		return nil, err
	}
	var found []string
	for prefix, tr := range inMemory {
		tr.Scan(func(it item) bool {
			rev, ok := onDisk[it.rec.Key]
			delete(onDisk, it.rec.Key)
			var rec *store.Record
			if ok {
				if rec, err = recordIn(snap, rev); err != nil {
					return false
				}
			}
			if diff := difference(it.rec, rec); diff != "" {
				found = append(found, fmt.Sprintf("%s: %s", it.rec.Key, diff))
				err = s.repair(prefix, it.rec.Key, it.rec, rec)
			}
			return err == nil && ctx.Err() == nil
		})
		if err := errors.Join(err, ctx.Err()); err != nil {
			return found, err
		}
	}
	for key, rev := range onDisk {
		rec, err := recordIn(snap, rev)
		if err != nil {
			return found, err
		}
		found = append(found, fmt.Sprintf("%s: in memory: nothing; on disk: %s", key, describe(rec)))
		if err := s.repair(key.Prefix, key, nil, rec); err != nil {
			return found, err
		}
	}
	slices.Sort(found)
	for _, d := range found {
		s.log.Error("Memory differed from disk and was repaired", "difference", d)
	}
	return found, nil
}

// newestOnDisk reads the newest revision of every key that exists.
func newestOnDisk(ctx context.Context, snap *pebble.Snapshot) (_ map[store.Key]store.Revision, err error) {
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: logBegin, UpperBound: logEnd})
	if err != nil {
		return nil, &store.DiskError{Err: err}
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	newest := map[store.Key]store.Revision{}
	for it.First(); it.Valid() && ctx.Err() == nil; it.Next() {
		rev, err := keyRevision(it.Key())
		if err != nil {
			return nil, err
		}
		e, err := parseEntry(it.Value())
		if err != nil {
			return nil, err
		}
		key, err := e.key()
		if err != nil {
			return nil, err
		}
		if e.deleted {
			delete(newest, key)
		} else {
			newest[key] = rev
		}
	}
	return newest, errors.Join(it.Error(), ctx.Err())
}

func recordIn(snap *pebble.Snapshot, rev store.Revision) (*store.Record, error) {
	raw, closer, err := snap.Get(logKey(rev))
	if err != nil {
		return nil, &store.DiskError{Err: err}
	}
	defer closer.Close()
	e, err := parseEntry(raw)
	if err != nil {
		return nil, err
	}
	return e.record(rev)
}

func difference(mem, disk *store.Record) string {
	if mem != nil && disk != nil && mem.Revision == disk.Revision && mem.Created == disk.Created && bytes.Equal(mem.Value, disk.Value) &&
		mem.Header.UID == disk.Header.UID && mem.Header.Expires.Equal(disk.Header.Expires) && maps.Equal(mem.Header.Labels, disk.Header.Labels) &&
		maps.Equal(mem.Header.Fields, disk.Header.Fields) && slices.Equal(mem.Header.Owners, disk.Header.Owners) {
		return ""
	}
	return fmt.Sprintf("in memory: %s; on disk: %s", describe(mem), describe(disk))
}

func describe(r *store.Record) string {
	if r == nil {
		return "nothing"
	}
	h := fnv.New64a()
	h.Write(r.Value)
	return fmt.Sprintf("revision %d, created at %d, %d bytes, digest %016x", r.Revision, r.Created, len(r.Value), h.Sum64())
}

// repair puts a record in the place of another, unless that was written meanwhile.
func (s *Store) repair(prefix string, key store.Key, wrong, right *store.Record) error {
	return s.ask(func() error {
		s.view.Lock()
		t := s.table(prefix)
		if t.get(key.Namespace, key.Name) != wrong {
			s.view.Unlock()
			return nil
		}
		t.indexes = map[indexKey]*index{} // made of wrong headers, perhaps
		t.set(wrong, right)
		s.expiring.apply(wrong, right)
		s.view.Unlock()
		s.endWatches(t, store.ErrExpired)
		return nil
	})
}
