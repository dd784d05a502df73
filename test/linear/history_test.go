package linear

import (
	"fmt"
	"sync"

	"github.com/anishathalye/porcupine"
)

// verb is what a request asks for.
type verb string

const (
	create verb = "create"
	update verb = "update" // with a resourceVersion
	patch  verb = "patch"
	remove verb = "delete"
	read   verb = "get"
)

// request and answer are the two halves of an operation on one object. Without an answer nobody knows whether it was carried out.
type request struct {
	verb     verb
	name     string
	value    string
	revision string // that an update expects
}

type answer struct {
	unknown  bool
	code     string // "", AlreadyExists, NotFound, Conflict
	value    string // of what is there
	revision string
}

// object is the state of one name; revision "?" is one that nobody was told.
type object struct {
	there           bool
	value, revision string
}

const nobodyKnows = "?"

// objects says what each answer tells of the state before, and what comes after. Each name is by itself.
var objects = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, o := range history {
			by[o.Input.(request).name] = append(by[o.Input.(request).name], o)
		}
		var out [][]porcupine.Operation
		for _, h := range by {
			out = append(out, h)
		}
		return out
	},
	Init: func() []any { return []any{object{}} },
	Step: func(s, in, out any) []any {
		state, q, a := s.(object), in.(request), out.(answer)
		if a.unknown {
			return unanswered(state, q)
		}
		if next, ok := answered(state, q, a); ok {
			return []any{next}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string {
		return fmt.Sprintf("%+v -> %+v", in, out)
	},
}

// unanswered: carried out, when that was possible, or not.
func unanswered(s object, q request) []any {
	after := []any{s}
	done := object{true, q.value, nobodyKnows}
	switch q.verb {
	case create:
		if !s.there {
			after = append(after, done)
		}
	case update:
		if s.there && (s.revision == q.revision || s.revision == nobodyKnows) {
			after = append(after, done)
		}
	case patch:
		if s.there {
			after = append(after, done)
		}
	case remove:
		if s.there {
			after = append(after, object{})
		}
	}
	return after
}

// answered gives the state after an answer, or false when the answer cannot be true.
func answered(s object, q request, a answer) (object, bool) {
	same := func(revision string) bool { return s.revision == revision || s.revision == nobodyKnows }
	switch {
	case a.code == "NotFound":
		return s, !s.there
	case a.code == "AlreadyExists":
		return s, q.verb == create && s.there
	case a.code == "Conflict":
		return s, s.there && (s.revision != q.revision || s.revision == nobodyKnows)
	case q.verb == read:
		return object{true, a.value, a.revision}, s.there && s.value == a.value && same(a.revision)
	case q.verb == create:
		return object{true, q.value, a.revision}, !s.there
	case q.verb == remove:
		return object{}, s.there
	case q.verb == update && !same(q.revision):
		return s, false
	}
	return object{true, q.value, a.revision}, s.there
}

// history gathers operations of many clients.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation
}

func (h *history) add(client int, q request, a answer, call, end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: q, Output: a, Call: call, Return: end})
}
