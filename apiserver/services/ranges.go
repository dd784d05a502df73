package services

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
)

// Both ranges have a lower band that is given out last, so that people who choose numbers by hand find the low ones free (KEP-3070, KEP-3668).

type ipRange struct {
	cidr netip.Prefix
	// first is the first address that may be given out, size their number, static the size of the lower band.
	first  netip.Addr
	size   uint64
	static uint64
}

func newIPRange(cidr netip.Prefix) (ipRange, error) {
	cidr = cidr.Masked()
	host := cidr.Addr().BitLen() - cidr.Bits()
	r := ipRange{cidr: cidr, first: cidr.Addr().Next()}
	switch {
	case host < 2:
		return r, fmt.Errorf("services: %s has no room for Services", cidr)
	case host > 32:
		host = 32 // more than anybody needs; beyond that only addresses asked for
	}
	r.size = 1<<host - 1
	if cidr.Addr().Is4() {
		r.size-- // broadcast
	}
	r.static = min(max(16, r.size/16), 256)
	if r.size <= 16 {
		r.static = 0
	}
	return r, nil
}

func (r ipRange) contains(a netip.Addr) bool {
	if !r.cidr.Contains(a) || a == r.cidr.Addr() {
		return false
	}
	return !a.Is4() || r.cidr.Contains(a.Next())
}

func (r ipRange) at(n uint64) netip.Addr {
	b := r.first.As16()
	low := binary.BigEndian.Uint64(b[8:]) + n // the range lies within 2^32 addresses of its own start: no carry beyond
	binary.BigEndian.PutUint64(b[8:], low)
	out := netip.AddrFrom16(b)
	if r.first.Is4() {
		return out.Unmap()
	}
	return out
}

// next is a free address, by chance, from the upper band while there is one.
func (r ipRange) next(used func(netip.Addr) bool) (netip.Addr, bool) {
	n, ok := pick(r.size, r.static, func(n uint64) bool { return used(r.at(n)) })
	if !ok {
		return netip.Addr{}, false
	}
	return r.at(n), true
}

// pick walks both bands, each from a random place.
func pick(size, static uint64, used func(uint64) bool) (uint64, bool) {
	for _, band := range [][2]uint64{{static, size}, {0, static}} {
		width := band[1] - band[0]
		if width == 0 {
			continue
		}
		start := rand.Uint64N(width)
		for i := range width {
			if n := band[0] + (start+i)%width; !used(n) {
				return n, true
			}
		}
	}
	return 0, false
}

type portRange struct {
	from, to int32
	static   uint64
}

func newPortRange(r [2]int32) portRange {
	size := uint64(r[1]-r[0]) + 1
	p := portRange{from: r[0], to: r[1]}
	if size > 16 {
		p.static = min(max(16, size/32), 128)
	}
	return p
}

func (r portRange) contains(p int32) bool { return p >= r.from && p <= r.to }

func (r portRange) String() string { return fmt.Sprintf("%d-%d", r.from, r.to) }

func (r portRange) next(used func(int32) bool) (int32, bool) {
	n, ok := pick(uint64(r.to-r.from)+1, r.static, func(n uint64) bool { return used(r.from + int32(n)) })
	return r.from + int32(n), ok
}
