package controllers

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"

	"github.com/tenet-run/tenet/kinds"
)

const (
	suffixLetters = "bcdfghjklmnpqrstvwxz2456789" // upstream's: no vowels, no look-alikes
	suffixLength  = 5
	maxPrefix     = 63 - suffixLength // what generateName leaves of a long name
)

// Names gives n new objects names of the shape that generateName makes, which look random but follow from the state they are planned in: if the answer to a
// create was lost, the next plan from the same state asks for the same object again instead of a second one. State is what tells this plan from others that make
// objects with the prefix: the owner's UID and version, and the UIDs of what there is, in an order that does not matter for what is sorted by the caller.
func Names(r Reader, k *kinds.Kind, namespace, prefix string, n int, state ...string) []string {
	h := sha256.New()
	for _, part := range state {
		io.WriteString(h, part+"\x00")
	}
	seed := h.Sum(nil)
	prefix = prefix[:min(len(prefix), maxPrefix)]
	names := make([]string, 0, n)
	for i := uint64(0); len(names) < n; i++ {
		name := prefix + suffix(seed, i)
		if _, taken := r.Get(k, namespace, name); !taken && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func suffix(seed []byte, i uint64) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(slices.Clip(seed), i))
	x := binary.BigEndian.Uint64(sum[:])
	var b [suffixLength]byte
	for j := range b {
		b[j] = suffixLetters[x%uint64(len(suffixLetters))]
		x /= uint64(len(suffixLetters))
	}
	return string(b[:])
}

// NamePrefix is how the names of what an object makes begin: its own name and a dash, or without the dash where that makes no valid name.
func NamePrefix(k *kinds.Kind, owner string) string {
	if p := owner + "-"; len(k.ValidName(p, true)) == 0 {
		return p
	}
	return owner
}
