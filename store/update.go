package store

import (
	"context"
	"errors"
)

// Update reads a key, lets change make a write of what it finds (nil: nothing is there), and commits it if the key has not changed meanwhile;
// otherwise it starts again with the newer state. change may be called often. It may return no write: then nothing is written and the present record is
// returned. Key and Expect of the write are set here.
func Update(ctx context.Context, s Store, key Key, change func(*Record) (*Write, error)) (*Record, error) {
	cur, err := s.Get(key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	for {
		w, err := change(cur)
		if err != nil || w == nil {
			return cur, err
		}
		w.Key = key
		w.Expect = Expect{Absent: true}
		if cur != nil {
			w.Expect = Expect{Revision: cur.Revision}
		}
		recs, err := s.Commit(ctx, *w)
		if err == nil {
			return recs[0], nil
		}
		var conflict *ConflictError
		if !errors.As(err, &conflict) || w.Delete && cur == nil {
			return nil, err
		}
		cur = conflict.Current
	}
}

// Batches splits writes into commits that keep the limits, in order, and calls commit for each. A batch is atomic, the whole is not.
func Batches(writes []Write, commit func([]Write) error) error {
	for len(writes) > 0 {
		n, size := 0, 0
		for n < len(writes) && n < MaxWrites {
			w := &writes[n]
			size += len(w.Value) + len(w.Key.Prefix) + len(w.Key.Namespace) + len(w.Key.Name)
			if n > 0 && size > MaxBytes {
				break
			}
			n++
		}
		if err := commit(writes[:n]); err != nil {
			return err
		}
		writes = writes[n:]
	}
	return nil
}
