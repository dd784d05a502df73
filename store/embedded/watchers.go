package embedded

import "github.com/tenet-run/tenet/store"

// topic is the narrowest class of events that holds all that a watcher selects. An event belongs to few topics, so that a write to one of ten thousand
// objects wakes only those who watch it.
type topic struct {
	kind byte // 0: all of the table
	a, b string
}

func topicOf(q *store.WatchQuery) topic {
	ns := q.Namespace
	if sel := q.Selector; sel != nil {
		if n, ok := sel.Fields["metadata.namespace"]; ok && ns == "" {
			ns = n
		}
		if name, ok := sel.Fields["metadata.name"]; ok {
			if ns != "" {
				return topic{'n', ns, name}
			}
			return topic{'m', name, ""}
		}
		for f, v := range sel.Fields {
			if f != "metadata.namespace" {
				return topic{'f', f, v}
			}
		}
	}
	if ns != "" {
		return topic{'s', ns, ""}
	}
	return topic{}
}

// watchers is the register of a table's watchers. Guarded by Store.view.
type watchers struct {
	byTopic map[topic]map[*watcher]struct{}
	// fields counts the watchers per field that have a topic of it.
	fields map[string]int
	// fresh is one more than the sequence number of the first event that nobody was told of; 0: none.
	fresh uint64
}

func newWatchers() watchers {
	return watchers{byTopic: map[topic]map[*watcher]struct{}{}, fields: map[string]int{}}
}

func (r *watchers) add(w *watcher) {
	set := r.byTopic[w.topic]
	if set == nil {
		set = map[*watcher]struct{}{}
		r.byTopic[w.topic] = set
	}
	set[w] = struct{}{}
	if w.topic.kind == 'f' {
		r.fields[w.topic.a]++
	}
}

func (r *watchers) remove(w *watcher) {
	set := r.byTopic[w.topic]
	if _, ok := set[w]; !ok {
		return
	}
	delete(set, w)
	if len(set) == 0 {
		delete(r.byTopic, w.topic)
	}
	if w.topic.kind == 'f' {
		if r.fields[w.topic.a]--; r.fields[w.topic.a] == 0 {
			delete(r.fields, w.topic.a)
		}
	}
}

func (r *watchers) all() []*watcher {
	var out []*watcher
	for _, set := range r.byTopic {
		for w := range set {
			out = append(out, w)
		}
	}
	return out
}

// wake tells watchers of the events since fresh. view is held for writing.
func (t *table) wake() {
	seq := t.watchers.fresh - 1
	t.watchers.fresh = 0
	byTopic := t.watchers.byTopic
	if len(byTopic) == 0 {
		return
	}
	tell(byTopic[topic{}], seq)
	if len(byTopic) == 1 && byTopic[topic{}] != nil {
		return
	}
	for at := max(seq, t.log.first); at < t.log.end; {
		evs, _ := t.log.read(at)
		for i := range evs {
			t.wakeTopics(&evs[i], at+uint64(i))
		}
		at += uint64(len(evs))
	}
}

func (t *table) wakeTopics(ev *store.Event, seq uint64) {
	byTopic := t.watchers.byTopic
	r := ev.Record
	if r == nil {
		r = ev.Prev
	}
	tell(byTopic[topic{'s', r.Key.Namespace, ""}], seq)
	tell(byTopic[topic{'n', r.Key.Namespace, r.Key.Name}], seq)
	tell(byTopic[topic{'m', r.Key.Name, ""}], seq)
	for f := range t.watchers.fields {
		var now string
		if ev.Record != nil {
			now = ev.Record.Field(f)
			tell(byTopic[topic{'f', f, now}], seq)
		}
		if ev.Prev != nil {
			if before := ev.Prev.Field(f); ev.Record == nil || before != now {
				tell(byTopic[topic{'f', f, before}], seq)
			}
		}
	}
}

// tell marks watchers as behind from an event on, unless they are already.
func tell(set map[*watcher]struct{}, seq uint64) {
	for w := range set {
		w.mu.Lock()
		if !w.onDisk && w.err == nil {
			if !w.behind {
				w.behind, w.seq = true, seq
			}
			w.signal()
		}
		w.mu.Unlock()
	}
}
