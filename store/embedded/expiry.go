package embedded

import (
	"context"
	"errors"
	"time"

	"github.com/tidwall/btree"

	"github.com/tenet-run/tenet/store"
)

// expiries orders the records that expire by time. Guarded by Store.view.
type expiries struct {
	byTime *btree.BTreeG[expiry]
}

type expiry struct {
	at  int64 // Unix nanoseconds
	rev store.Revision
	rec *store.Record
}

func (a expiry) less(b expiry) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.rev < b.rev
}

func newExpiries() expiries {
	return expiries{btree.NewBTreeGOptions(expiry.less, btree.Options{NoLocks: true, Degree: 16})}
}

func (x expiries) apply(prev, next *store.Record) {
	if prev != nil && !prev.Header.Expires.IsZero() {
		x.byTime.Delete(expiry{at: prev.Header.Expires.UnixNano(), rev: prev.Revision})
	}
	if next != nil && !next.Header.Expires.IsZero() {
		x.byTime.Set(expiry{next.Header.Expires.UnixNano(), next.Revision, next})
	}
}

// armExpiry arms the clock for the next object that expires. Whole seconds, so that what was made in a burst goes in few commits. view is held.
func (s *Store) armExpiry() {
	e, ok := s.expiring.byTime.Min()
	if !ok {
		return
	}
	s.clock.arm(dutyExpire, time.Unix(0, e.at+int64(time.Second)-1).Truncate(time.Second))
}

// expire deletes what has come to its time, by ordinary commits.
func (s *Store) expire(ctx context.Context, now time.Time) {
	for ctx.Err() == nil {
		var writes []store.Write
		s.view.RLock()
		s.expiring.byTime.Scan(func(e expiry) bool {
			if e.at > now.UnixNano() || len(writes) == store.MaxWrites {
				return false
			}
			writes = append(writes, store.Write{Key: e.rec.Key, Delete: true, Expect: store.Expect{Revision: e.rec.Revision}})
			return true
		})
		if len(writes) == 0 {
			s.armExpiry()
		}
		s.view.RUnlock()
		if len(writes) == 0 {
			return
		}
		_, err := s.Commit(ctx, writes...)
		var conflict *store.ConflictError
		if errors.As(err, &conflict) {
			continue // it was changed meanwhile, and that is visible by now
		}
		if err != nil {
			return
		}
	}
}
