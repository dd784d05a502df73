package embedded

import (
	"hash/maphash"

	"github.com/tenet-run/tenet/internal/invariants"
	"github.com/tenet-run/tenet/store"
)

// digests holds what records looked like when they came into a table, in invariants builds only: nobody may change a shared record.
type digests map[*store.Record]uint64

var digestSeed = maphash.MakeSeed()

func digest(r *store.Record) uint64 { return maphash.Bytes(digestSeed, r.Value) }

// replaced checks the record that leaves the table and notes the one that comes.
func (t *table) replaced(prev, next *store.Record) {
	if t.digests == nil {
		t.digests = digests{}
	}
	if prev != nil {
		invariants.Check(t.get(prev.Key.Namespace, prev.Key.Name) == prev, "%s at %d is replaced, but not there", prev.Key, prev.Revision)
		invariants.Check(t.digests[prev] == digest(prev), "%s at %d was changed while it was shared", prev.Key, prev.Revision)
		delete(t.digests, prev)
	}
	if next != nil {
		t.digests[next] = digest(next)
	}
}
