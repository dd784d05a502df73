package embedded

import (
	"sync/atomic"

	"github.com/tidwall/btree"

	"github.com/tenet-run/tenet/store"
)

// item is a record in a tree, its order at hand.
type item struct {
	ns, name string
	rec      *store.Record
}

func itemOf(r *store.Record) item { return item{r.Key.Namespace, r.Key.Name, r} }

func (a item) less(b item) bool {
	if a.ns != b.ns {
		return a.ns < b.ns
	}
	return a.name < b.name
}

type tree = btree.BTreeG[item]

func newTree(degree int) *tree {
	return btree.NewBTreeGOptions(item.less, btree.Options{NoLocks: true, Degree: degree})
}

// indexKey names an index of a table: by the value of a label or a field, or by owner.
type indexKey struct {
	kind byte // 'l', 'f', 'o'
	name string
}

// maxLabelIndexes bounds what clients can make the store keep: they choose label keys.
const maxLabelIndexes = 16

// index maps a value to the records that have it, in the order of the table. Guarded by Store.view.
type index struct {
	key     indexKey
	buckets map[string]*tree
	used    atomic.Int64 // when it was last used, for eviction; a count, not a time
}

// values calls f with each value under which the record stands in the index.
func (k indexKey) values(r *store.Record, f func(string)) {
	switch k.kind {
	case 'l':
		if v, ok := r.Header.Labels[k.name]; ok {
			f(v)
		}
	case 'f':
		f(r.Field(k.name))
	case 'o':
		for _, o := range r.Header.Owners {
			f(string(o))
		}
	}
}

func (x *index) apply(prev, next *store.Record) {
	if prev != nil {
		x.key.values(prev, func(v string) {
			if next != nil && x.key.has(next, v) {
				return // replaced below
			}
			if b := x.buckets[v]; b != nil {
				b.Delete(itemOf(prev))
				if b.Len() == 0 {
					delete(x.buckets, v)
				}
			}
		})
	}
	if next != nil {
		x.key.values(next, func(v string) {
			b := x.buckets[v]
			if b == nil {
				b = newTree(8)
				x.buckets[v] = b
			}
			b.Set(itemOf(next))
		})
	}
}

func (k indexKey) has(r *store.Record, v string) (found bool) {
	k.values(r, func(have string) { found = found || have == v })
	return found
}
