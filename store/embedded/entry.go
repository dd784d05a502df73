package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/store"
)

// Keys in Pebble. The log is 'l' and the revision; metadata is 'm' and a name; a lost range of revisions is 'g' and the revision before it.
const revisionKeyLen = 9

var (
	keyFormat   = []byte("mformat")
	keyOldest   = []byte("moldest")
	keyReserved = []byte("mreserved")

	logBegin, logEnd = []byte{'l'}, []byte{'l' + 1}
	gapBegin, gapEnd = []byte{'g'}, []byte{'g' + 1}
)

const formatVersion = 1

func appendRevisionKey(b []byte, kind byte, r store.Revision) []byte {
	return binary.BigEndian.AppendUint64(append(b, kind), uint64(r))
}

func logKey(r store.Revision) []byte {
	return appendRevisionKey(make([]byte, 0, revisionKeyLen), 'l', r)
}
func gapKey(r store.Revision) []byte {
	return appendRevisionKey(make([]byte, 0, revisionKeyLen), 'g', r)
}

func keyRevision(k []byte) (store.Revision, error) {
	if len(k) != revisionKeyLen {
		return 0, fmt.Errorf("store: key %q has no revision", k)
	}
	return store.Revision(binary.BigEndian.Uint64(k[1:])), nil
}

func revisionValue(r store.Revision) []byte { return binary.BigEndian.AppendUint64(nil, uint64(r)) }

func parseRevisionValue(b []byte) (store.Revision, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("store: %d bytes are no revision", len(b))
	}
	return store.Revision(binary.BigEndian.Uint64(b)), nil
}

// entry is one change in the log on disk.
type entry struct {
	deleted bool
	// more: the next revision belongs to the same commit.
	more    bool
	time    int64 // of the commit, Unix seconds
	prev    store.Revision
	created store.Revision

	head  []byte // key and header, see decodeHead
	value []byte
}

const (
	flagDeleted = 1 << iota
	flagMore
)

// An entry is: flags, time, created, prev, length of head, head, value. Numbers are varints. A deletion has a key, but no header and no value.
func appendEntry(b []byte, e *entry, key store.Key, rec *store.Record) []byte {
	var flags byte
	if e.deleted {
		flags |= flagDeleted
	}
	if e.more {
		flags |= flagMore
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(e.time))
	b = binary.AppendUvarint(b, uint64(e.created))
	b = binary.AppendUvarint(b, uint64(e.prev))
	b = binary.AppendUvarint(b, uint64(headLen(key, rec)))
	b = appendHead(b, key, rec)
	if rec != nil {
		b = append(b, rec.Value...)
	}
	return b
}

func parseEntry(b []byte) (e entry, err error) {
	r := reader{b: b}
	flags := r.byte()
	e.deleted, e.more = flags&flagDeleted != 0, flags&flagMore != 0
	e.time = int64(r.uvarint())
	e.created = store.Revision(r.uvarint())
	e.prev = store.Revision(r.uvarint())
	e.head = r.bytes()
	e.value = r.b
	if r.bad {
		return e, errEntry
	}
	return e, nil
}

var errEntry = errors.New("store: an entry of the log cannot be read")

func uvarintLen(n uint64) int {
	l := 1
	for n >= 0x80 {
		n >>= 7
		l++
	}
	return l
}

func stringLen(s string) int { return uvarintLen(uint64(len(s))) + len(s) }

func headLen(key store.Key, rec *store.Record) int {
	n := stringLen(key.Prefix) + stringLen(key.Namespace) + stringLen(key.Name)
	if rec == nil {
		return n
	}
	h := &rec.Header
	n += stringLen(string(h.UID)) + uvarintLen(uint64(len(h.Labels))) + uvarintLen(uint64(len(h.Owners))) + uvarintLen(uint64(len(h.Fields))) + 8
	for k, v := range h.Labels {
		n += stringLen(k) + stringLen(v)
	}
	for _, o := range h.Owners {
		n += stringLen(string(o))
	}
	for k, v := range h.Fields {
		n += stringLen(k) + stringLen(v)
	}
	return n
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendHead(b []byte, key store.Key, rec *store.Record) []byte {
	b = appendString(b, key.Prefix)
	b = appendString(b, key.Namespace)
	b = appendString(b, key.Name)
	if rec == nil {
		return b
	}
	h := &rec.Header
	b = appendString(b, string(h.UID))
	var expires int64
	if !h.Expires.IsZero() {
		expires = h.Expires.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(expires))
	b = binary.AppendUvarint(b, uint64(len(h.Labels)))
	for k, v := range h.Labels {
		b = appendString(appendString(b, k), v)
	}
	b = binary.AppendUvarint(b, uint64(len(h.Owners)))
	for _, o := range h.Owners {
		b = appendString(b, string(o))
	}
	b = binary.AppendUvarint(b, uint64(len(h.Fields)))
	for k, v := range h.Fields {
		b = appendString(appendString(b, k), v)
	}
	return b
}

// hasPrefix reads only the prefix, to skip what is not asked for without an allocation.
func (e *entry) hasPrefix(prefix string) bool {
	r := reader{b: e.head}
	return string(r.bytes()) == prefix
}

// key is the entry's key, its strings on their own.
func (e *entry) key() (store.Key, error) {
	r := reader{b: e.head}
	k := store.Key{Prefix: string(r.bytes()), Namespace: string(r.bytes()), Name: string(r.bytes())}
	if r.bad {
		return k, errEntry
	}
	return k, nil
}

// record makes the state after the change; not for deletions. All its strings share one allocation, its value is another.
func (e *entry) record(rev store.Revision) (*store.Record, error) {
	r := stringReader{s: string(e.head)}
	rec := &store.Record{Revision: rev, Created: e.created}
	rec.Key = store.Key{Prefix: r.string(), Namespace: r.string(), Name: r.string()}
	h := &rec.Header
	h.UID = types.UID(r.string())
	if n := r.fixed64(); n != 0 {
		h.Expires = time.Unix(0, int64(n))
	}
	h.Labels = r.stringMap()
	if n := r.count(); n > 0 {
		h.Owners = make([]types.UID, n)
		for i := range h.Owners {
			h.Owners[i] = types.UID(r.string())
		}
	}
	h.Fields = r.stringMap()
	if r.bad {
		return nil, errEntry
	}
	rec.Value = append(make([]byte, 0, len(e.value)), e.value...)
	return rec, nil
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	n, l := binary.Uvarint(r.b)
	if l <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[l:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

type stringReader struct {
	s   string
	bad bool
}

func (r *stringReader) count() int {
	var n uint64
	for i := 0; i < len(r.s) && i < 10; i++ {
		c := r.s[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.s = r.s[i+1:]
			if n > uint64(len(r.s)) { // every counted thing takes at least a byte
				break
			}
			return int(n)
		}
	}
	r.bad, r.s = true, ""
	return 0
}

func (r *stringReader) string() string {
	n := r.count()
	p := r.s[:n]
	r.s = r.s[n:]
	return p
}

func (r *stringReader) fixed64() (n uint64) {
	if len(r.s) < 8 {
		r.bad, r.s = true, ""
		return 0
	}
	for i := range 8 {
		n = n<<8 | uint64(r.s[i])
	}
	r.s = r.s[8:]
	return n
}

func (r *stringReader) stringMap() map[string]string {
	n := r.count()
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		k := r.string()
		m[k] = r.string()
	}
	return m
}
