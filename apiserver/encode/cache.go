package encode

import (
	"bytes"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenet-run/tenet/internal/invariants"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/store"
)

// Media is how bytes are written.
type Media uint8

const (
	JSON Media = iota
	YAML
	Protobuf
	CBOR
)

// Body is an encoded object without type header. Data carries the resourceVersion of its record.
type Body struct {
	Data []byte
	// revision is the span in Data of the resourceVersion: the digits in JSON. revisionEnd is 0 when there is none.
	revisionStart, revisionEnd int
	holes                      []hole // of a table row
	key                        any
	owner                      *derived
	next                       atomic.Pointer[Body]
	used                       atomic.Bool
}

// idleTick is how often bodies that nobody asked for since the last tick are let go.
const idleTick = 30 * time.Second

// Cache bounds the memory of encoded bodies. A body is let go when the budget is exceeded and it was not used lately, or when it was not used for
// one to two idle ticks.
type Cache struct {
	budget   int64
	compiler compiler

	mu    sync.Mutex
	ring  []*Body // oldest first
	bytes int64
	timer *time.Timer
}

// NewCache keeps at most budget bytes of bodies.
func NewCache(budget int64) *Cache { return &Cache{budget: budget} }

// Bytes is the memory held now.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// overhead is what an entry costs beside its data.
const overhead = 128

// body returns the JSON body of a record in a served version.
func (c *Cache) body(k *kinds.Kind, s *kinds.Served, r *store.Record) (*Body, error) {
	return c.derived(k, s, r, nil, func(obj kinds.Object) (*Body, error) { return c.jsonBody(s, obj) })
}

// Prime makes the JSON body of a record that was just written from the object that it was made of, so that nobody has to decode it first. obj belongs to the caller;
// its resourceVersion is set.
func (c *Cache) Prime(h *Head, r *store.Record, obj kinds.Object) error {
	if h.custom || h.served.FromHub != nil {
		return nil
	}
	obj.SetResourceVersion(strconv.FormatUint(uint64(r.Revision), 10))
	if h.kind.Restore != nil {
		h.kind.Restore(obj)
	}
	b, err := c.derived(h.kind, h.served, r, obj, func(obj kinds.Object) (*Body, error) { return c.jsonBody(h.served, obj) })
	if err == nil && invariants.Enabled {
		stored, err := Fresh(h.kind, r)
		invariants.Check(err == nil, "%s was just written: %v", r.Key, err)
		want, err := c.jsonBody(h.served, stored)
		invariants.Check(err == nil && bytes.Equal(want.Data, b.Data), "%s is not shown as it is stored:\n%s\n%s", r.Key, b.Data, want.Data)
	}
	return err
}

// derived returns what encode makes of a record, which is kept under key. source is the object that the record was made of, when it is at hand.
func (c *Cache) derived(k *kinds.Kind, key any, r *store.Record, source kinds.Object, encode func(kinds.Object) (*Body, error)) (*Body, error) {
	d := derive(r)
	if b := d.find(key); b != nil {
		if !b.used.Load() {
			b.used.Store(true)
		}
		return b, nil
	}
	d.mu.Lock()
	if b := d.find(key); b != nil { // meanwhile
		d.mu.Unlock()
		return b, nil
	}
	obj, err := source, error(nil)
	if obj == nil {
		obj, err = d.decode(k, r)
	}
	var b *Body
	if err == nil {
		b, err = encode(obj)
	}
	if err != nil {
		d.mu.Unlock()
		return nil, err
	}
	b.key, b.owner = key, d
	b.next.Store(d.bodies.Load())
	d.bodies.Store(b)
	d.mu.Unlock()
	c.admit(b)
	return b, nil
}

// admit takes a new body into account and evicts others when the budget is exceeded. It is called without the lock of a derived.
func (c *Cache) admit(b *Body) {
	var evicted []*Body
	c.mu.Lock()
	c.ring = append(c.ring, b)
	c.bytes += int64(len(b.Data)) + overhead
	for tries := 2 * len(c.ring); c.bytes > c.budget && len(c.ring) > 0 && tries > 0; tries-- {
		oldest := c.ring[0]
		c.ring[0] = nil
		c.ring = c.ring[1:]
		if oldest.used.CompareAndSwap(true, false) && tries > 1 {
			c.ring = append(c.ring, oldest)
			continue
		}
		c.bytes -= int64(len(oldest.Data)) + overhead
		evicted = append(evicted, oldest)
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(idleTick, c.sweep)
	}
	c.mu.Unlock()
	for _, e := range evicted {
		e.drop()
	}
}

// sweep lets go of what was not used since the last sweep. The timer runs only while there is something to let go.
func (c *Cache) sweep() {
	var evicted []*Body
	c.mu.Lock()
	kept := make([]*Body, 0, len(c.ring)/4)
	for _, b := range c.ring {
		if b.used.CompareAndSwap(true, false) {
			kept = append(kept, b)
			continue
		}
		c.bytes -= int64(len(b.Data)) + overhead
		evicted = append(evicted, b)
	}
	c.ring = kept
	if len(kept) > 0 {
		c.timer.Reset(idleTick)
	} else {
		c.timer, c.ring = nil, nil
	}
	c.mu.Unlock()
	for _, e := range evicted {
		e.drop()
	}
}

// Close lets go of everything.
func (c *Cache) Close() {
	c.mu.Lock()
	all := c.ring
	c.ring, c.bytes = nil, 0
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.mu.Unlock()
	for _, b := range all {
		b.drop()
	}
}

// drop takes a body from its record.
func (b *Body) drop() {
	d := b.owner
	d.mu.Lock()
	defer d.mu.Unlock()
	for at := &d.bodies; at.Load() != nil; at = &at.Load().next {
		if at.Load() == b {
			at.Store(b.next.Load()) // readers that stand at b go on from there
			return
		}
	}
}
