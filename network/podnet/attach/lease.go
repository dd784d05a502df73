//go:build linux

package attach

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// leases is the directory of addresses in use, in the form of upstream's host-local: a file for each, named by the address, with the container's ID and
// interface in two lines; the address given last in last_reserved_ip.0; and a lock.
type leases string

const lastGiven = "last_reserved_ip.0"

func owner(id, ifName string) string { return strings.TrimSpace(id) + "\r\n" + ifName }

// take gives the container the next free address after the one given last. The range's own address, its first (the gateway) and its last (broadcast)
// are never given.
func (l leases) take(pods netip.Prefix, id, ifName string) (netip.Addr, error) {
	unlock, err := l.lock()
	if err != nil {
		return netip.Addr{}, err
	}
	defer unlock()
	first, last := pods.Addr().Next().Next(), lastOf(pods).Prev()
	if !pods.Contains(first) || last.Less(first) {
		return netip.Addr{}, fmt.Errorf("range %s is too small for pods", pods)
	}
	at := last
	if text, err := os.ReadFile(l.path(lastGiven)); err == nil {
		if a, err := netip.ParseAddr(strings.TrimSpace(string(text))); err == nil && !a.Less(first) && !last.Less(a) {
			at = a
		}
	}
	for end := at; ; {
		if at = at.Next(); last.Less(at) {
			at = first
		}
		ok, err := l.reserve(at, id, ifName)
		if err != nil {
			return netip.Addr{}, err
		}
		if ok {
			return at, nil
		}
		if at == end {
			return netip.Addr{}, fmt.Errorf("no IP addresses available in range set: %s-%s", first, last)
		}
	}
}

func (l leases) reserve(a netip.Addr, id, ifName string) (bool, error) {
	f, err := os.OpenFile(l.path(a.String()), os.O_WRONLY|os.O_EXCL|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = f.WriteString(owner(id, ifName))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.WriteFile(l.path(lastGiven), []byte(a.String()), 0o600)
	}
	if err != nil {
		return false, errors.Join(err, os.Remove(f.Name()))
	}
	return true, nil
}

// of returns the container's addresses.
func (l leases) of(id, ifName string) ([]netip.Addr, error) {
	entries, err := os.ReadDir(string(l))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var mine []netip.Addr
	for _, e := range entries {
		a, err := netip.ParseAddr(e.Name())
		if err != nil {
			continue
		}
		if text, err := os.ReadFile(l.path(e.Name())); err == nil && strings.TrimSpace(string(text)) == owner(id, ifName) {
			mine = append(mine, a)
		}
	}
	return mine, nil
}

// release gives the container's addresses back.
func (l leases) release(id, ifName string) error {
	mine, err := l.of(id, ifName)
	if err != nil {
		return err
	}
	for _, a := range mine {
		if err := os.Remove(l.path(a.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// lock keeps other plugins out. The kernel gives it up with the process.
func (l leases) lock() (unlock func() error, err error) {
	f, err := os.OpenFile(l.path("lock"), os.O_RDONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(string(l), 0o755); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(l.path("lock"), os.O_RDONLY|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", l, err), f.Close())
	}
	return f.Close, nil
}

func (l leases) path(name string) string { return filepath.Join(string(l), name) }

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
