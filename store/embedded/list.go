package embedded

import (
	"sort"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/selection"

	"github.com/tenet-run/tenet/store"
)

// Get implements [store.Store].
func (s *Store) Get(key store.Key) (*store.Record, error) {
	if r := s.lookup(key); r != nil {
		return r, nil
	}
	return nil, store.ErrNotFound
}

// Count implements [store.Store].
func (s *Store) Count(prefix string) int {
	s.view.RLock()
	defer s.view.RUnlock()
	if t := s.tables[prefix]; t != nil {
		return t.live.Len()
	}
	return 0
}

// Changed implements [store.Store].
func (s *Store) Changed(prefix string) *atomic.Uint64 {
	s.view.RLock()
	t := s.tables[prefix]
	s.view.RUnlock()
	if t == nil {
		s.view.Lock()
		t = s.table(prefix)
		s.view.Unlock()
	}
	return &t.changed
}

// Prefixes implements [store.Store]; in order.
func (s *Store) Prefixes() []string {
	s.view.RLock()
	defer s.view.RUnlock()
	var out []string
	for p, t := range s.tables {
		if t.live.Len() > 0 {
			out = append(out, p)
		}
	}
	sort.Strings(out)
	return out
}

// List implements [store.Store]. It holds the store's lock only to take a snapshot, or to read the part of an index that it returns.
func (s *Store) List(q store.ListQuery) (*store.Page, error) {
	narrowed := !selectsNothing(q.Selector)
	var cands []candidate
	if narrowed {
		if ns, ok := q.Selector.Fields["metadata.namespace"]; ok && q.Namespace == "" {
			q.Namespace = ns
		}
		cands = candidates(q.Selector)
		s.buildIndexes(q.Prefix, cands)
	}
	s.view.RLock()
	rev := s.Revision()
	t := s.tables[q.Prefix]
	if q.At != 0 {
		if err := s.checkAt(q.At, rev); err != nil {
			s.view.RUnlock()
			return nil, err
		}
		if t != nil && q.At < t.last {
			s.view.RUnlock()
			return s.listAt(q)
		}
		rev = q.At
	}
	if t == nil {
		s.view.RUnlock()
		return &store.Page{Revision: rev}, nil
	}
	if narrowed {
		if page, ok := t.listNarrow(&q, cands, s.uses.Add(1)); ok {
			tr := t.tree()
			s.view.RUnlock()
			page.Revision = rev
			s.keepPage(&q, page, tr)
			return page, nil
		}
	}
	tr := t.tree()
	s.view.RUnlock()
	page := listTree(tr, q, rev)
	s.keepPage(&q, page, tr)
	return page, nil
}

// listAt lists an older revision that is in the window.
func (s *Store) listAt(q store.ListQuery) (*store.Page, error) {
	tr, err := s.treeAt(q.Prefix, q.At)
	if err != nil {
		return nil, err
	}
	page := listTree(tr, q, q.At)
	s.keepPage(&q, page, tr)
	return page, nil
}

// keepPage remembers the tree of a list that will be continued.
func (s *Store) keepPage(q *store.ListQuery, page *store.Page, tr *tree) {
	if page.More {
		now := time.Now()
		s.pages.keep(q.Prefix, page.Revision, tr, now)
		s.clock.arm(dutyTrim, now.Add(pageAge))
	}
}

func (s *Store) checkAt(at, rev store.Revision) error {
	switch {
	case at > rev:
		return store.ErrFuture
	case at < s.Oldest() || s.lost(at):
		return store.ErrExpired
	}
	return nil
}

func selectsNothing(sel *store.Selector) bool {
	return sel == nil || (sel.Labels == nil || sel.Labels.Empty()) && len(sel.Fields) == 0 && len(sel.Not) == 0 && sel.Owner == "" && sel.Also == nil
}

// start is the least item that a query may return.
func start(q *store.ListQuery) item {
	it := item{ns: q.Namespace}
	if q.After != nil {
		after := item{ns: q.After.Namespace, name: q.After.Name + "\x00"}
		if it.less(after) {
			it = after
		}
	}
	return it
}

// collect gathers the records that a query selects from a tree, and whether there are more.
func collect(tr *tree, q *store.ListQuery, out []*store.Record) (_ []*store.Record, more bool) {
	all := selectsNothing(q.Selector)
	tr.Ascend(start(q), func(it item) bool {
		if q.Namespace != "" && it.ns != q.Namespace {
			return false
		}
		if !all && !q.Selector.Matches(it.rec) {
			return true
		}
		if q.Limit > 0 && len(out) == q.Limit {
			more = true
			return false
		}
		out = append(out, it.rec)
		return true
	})
	return out, more
}

func listTree(tr *tree, q store.ListQuery, rev store.Revision) *store.Page {
	page := &store.Page{Revision: rev}
	all := selectsNothing(q.Selector)
	n := 0
	if all {
		n = end(tr, q.Namespace) - rank(tr, start(&q))
		if q.Limit > 0 {
			n = min(n, q.Limit)
		}
		n = max(n, 0)
	}
	page.Records, page.More = collect(tr, &q, make([]*store.Record, 0, n))
	if page.More {
		page.Remaining = -1
		if all {
			last := page.Records[len(page.Records)-1]
			page.Remaining = int64(end(tr, q.Namespace) - rank(tr, itemOf(last)) - 1)
		}
	}
	return page
}

// rank is the number of items before one.
func rank(tr *tree, it item) int {
	return sort.Search(tr.Len(), func(i int) bool {
		at, _ := tr.GetAt(i)
		return !at.less(it)
	})
}

// end is the number of items up to the end of a namespace; of all, when it is empty.
func end(tr *tree, namespace string) int {
	if namespace == "" {
		return tr.Len()
	}
	return rank(tr, item{ns: namespace + "\x00"})
}

// listNarrow serves a list of the newest state without a scan of the table, when it can. view is held, at least for reading.
func (t *table) listNarrow(q *store.ListQuery, cands []candidate, use int64) (_ *store.Page, ok bool) {
	page := &store.Page{}
	if name, ok := q.Selector.Fields["metadata.name"]; ok {
		r := t.get(q.Namespace, name)
		// Without a namespace only a cluster-scoped kind is found so; in a namespaced one the name may be anywhere.
		if r != nil || q.Namespace != "" {
			if r != nil && q.Selector.Matches(r) && !itemOf(r).less(start(q)) {
				page.Records = []*store.Record{r}
			}
			return page, true
		}
	}
	var best *tree
	found := false
	for _, c := range cands {
		x := t.indexes[c.key]
		if x == nil {
			continue // evicted meanwhile
		}
		x.used.Store(use)
		b := x.buckets[c.value]
		if b == nil {
			return page, true
		}
		if !found || b.Len() < best.Len() {
			best, found = b, true
		}
	}
	// A scan of a snapshot costs about the same as reading most of an index, and holds no lock.
	if !found || best.Len() > 1000 && best.Len() > t.live.Len()/2 {
		return nil, false
	}
	n := best.Len()
	if q.Limit > 0 {
		n = min(n, q.Limit)
	}
	page.Records, page.More = collect(best, q, make([]*store.Record, 0, n))
	if page.More {
		page.Remaining = -1
	}
	return page, true
}

// buildIndexes makes the indexes that are not there yet.
func (s *Store) buildIndexes(prefix string, cands []candidate) {
	if len(cands) == 0 {
		return
	}
	missing := false
	s.view.RLock()
	t := s.tables[prefix]
	if t != nil {
		for _, c := range cands {
			missing = missing || t.indexes[c.key] == nil
		}
	}
	s.view.RUnlock()
	if !missing {
		return
	}
	s.view.Lock()
	defer s.view.Unlock()
	for _, c := range cands {
		t.buildIndex(c.key, s.uses.Add(1))
	}
}

type candidate struct {
	key   indexKey
	value string
}

// candidates are the indexes that may narrow a selection.
func candidates(sel *store.Selector) []candidate {
	var out []candidate
	if sel.Owner != "" {
		out = append(out, candidate{indexKey{kind: 'o'}, string(sel.Owner)})
	}
	for f, v := range sel.Fields {
		if f != "metadata.name" && f != "metadata.namespace" {
			out = append(out, candidate{indexKey{'f', f}, v})
		}
	}
	if sel.Labels == nil {
		return out
	}
	reqs, _ := sel.Labels.Requirements()
	for i := range reqs {
		r := &reqs[i]
		switch r.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			if vals := r.ValuesUnsorted(); len(vals) == 1 {
				out = append(out, candidate{indexKey{'l', r.Key()}, vals[0]})
			}
		}
	}
	return out
}
