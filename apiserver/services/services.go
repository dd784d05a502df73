// Package services hands out what Services cannot choose themselves: cluster addresses and node ports. It is an admission mutator of the first room, declare.
//
// There is no second book: what is taken is what the Services in the store say, read at each allocation, so it survives restarts, and whatever is deleted or
// changes its type is free with that write. In memory are only reservations, for requests that have chosen and not yet written.
//
// Guarantee: no two Services in the store ever hold one address or one node port, however many are written at once.
package services

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds/core"
)

// Config is what an Allocator is made of.
type Config struct {
	// CIDR is the range of cluster addresses; its first and last address (IPv4) are never given out. Required.
	CIDR netip.Prefix
	// NodePorts is the range of node ports, both ends included; 30000-32767 when zero.
	NodePorts [2]int32
	// Reader reads the Services. Required.
	Reader admission.Reader
	// Now is time.Now when nil.
	Now func() time.Time
}

// Allocator is the admission plugin.
type Allocator struct {
	cfg    Config
	family corev1.IPFamily
	ips    ipRange
	ports  portRange

	mu       sync.Mutex
	reserved map[any]reservation // netip.Addr or int32
}

// reservation holds an address or port for the requests that write owner. It ends with the last of them, or, when the outcome of one is unknown (the client went
// away during the commit), at until.
type reservation struct {
	owner    string
	requests int
	until    time.Time
}

// unknownOutcome is how long a write may still be on its way to disk when nobody waits for it any more.
const unknownOutcome = 10 * time.Second

var (
	_ admission.Plugin  = (*Allocator)(nil)
	_ admission.Mutator = (*Allocator)(nil)
)

// New makes the plugin.
func New(cfg Config) (*Allocator, error) {
	if cfg.NodePorts == [2]int32{} {
		cfg.NodePorts = [2]int32{30000, 32767}
	}
	if cfg.NodePorts[0] < 1 || cfg.NodePorts[1] > 65535 || cfg.NodePorts[0] > cfg.NodePorts[1] {
		return nil, fmt.Errorf("services: node ports %d-%d are no range of ports", cfg.NodePorts[0], cfg.NodePorts[1])
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &Allocator{cfg: cfg, family: corev1.IPv4Protocol, reserved: map[any]reservation{}, ports: newPortRange(cfg.NodePorts)}
	if !cfg.CIDR.IsValid() || cfg.CIDR.Addr().Is4In6() {
		return nil, fmt.Errorf("services: %q is no range of addresses", cfg.CIDR)
	}
	if cfg.CIDR.Addr().Is6() {
		a.family = corev1.IPv6Protocol
	}
	var err error
	a.ips, err = newIPRange(cfg.CIDR)
	return a, err
}

// Name implements admission.Plugin.
func (*Allocator) Name() string { return "ServiceAddresses" }

// Mutate implements admission.Mutator.
func (a *Allocator) Mutate(ctx context.Context, r *admission.Request) error {
	s, ok := r.Object.(*corev1.Service)
	if !ok || r.Kind != core.Service || r.Subresource != "" {
		return nil
	}
	var old *corev1.Service
	// What hangs together is put in order first; the API server does it again after all plugins, which then changes nothing more.
	switch r.Operation {
	case admission.Create:
		core.Service.BeforeCreate(s)
	case admission.Update:
		old = r.Old.(*corev1.Service)
		core.Service.BeforeUpdate(s, old)
	default:
		return nil
	}
	t := &taking{a: a, namespace: s.Namespace, name: s.Name, owner: owner(s), dryRun: r.DryRun, reserved: map[any]int{}}
	errs := core.CompleteService(s, old, core.ServicePools{Families: []corev1.IPFamily{a.family}, TakeIP: t.ip, TakePort: t.port})
	r.AfterWrite(func() { a.release(t, ctx.Err() != nil) })
	for _, e := range errs {
		if e.Type == field.ErrorTypeInternal {
			return apierrors.NewInternalError(errors.New(e.Detail))
		}
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(core.Service.GVK().GroupKind(), s.Name, errs)
	}
	return nil
}

// owner names the Service to be. A retry of one write may take again what it holds; a name that is still to be generated is like no other.
func owner(s *corev1.Service) string {
	if s.Name == "" {
		return fmt.Sprintf("%s/%s*%x", s.Namespace, s.GenerateName, rand.Uint64())
	}
	return s.Namespace + "/" + s.Name
}

func (a *Allocator) release(t *taking, unknown bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for what, n := range t.reserved {
		r := a.reserved[what]
		r.requests -= n
		if unknown {
			r.until = a.cfg.Now().Add(unknownOutcome)
		}
		if r.requests == 0 && r.until.IsZero() {
			delete(a.reserved, what)
		} else {
			a.reserved[what] = r
		}
	}
	t.reserved = nil
}

// taking is what one request takes.
type taking struct {
	a               *Allocator
	namespace, name string
	owner           string
	dryRun          bool
	took            []any
	// reserved counts the reservations made.
	reserved map[any]int
}

var (
	errFull          = errors.New("range is full")
	errIPAllocated   = errors.New("provided IP is already allocated")
	errPortAllocated = errors.New("provided port is already allocated")
)

func (t *taking) ip(_ corev1.IPFamily, want string) (string, error) {
	a := t.a
	a.mu.Lock()
	defer a.mu.Unlock()
	used := t.used(addresses)
	if want != "" {
		addr, err := netip.ParseAddr(want)
		if err != nil {
			return "", fmt.Errorf("failed to parse service IP %q", want)
		}
		if !a.ips.contains(addr) {
			return "", fmt.Errorf("the provided IP (%v) is not in the valid range. The range of valid IPs is %s", addr, a.cfg.CIDR)
		}
		if used(addr) {
			return "", errIPAllocated
		}
		t.take(addr)
		return addr.String(), nil
	}
	addr, ok := a.ips.next(func(addr netip.Addr) bool { return used(addr) })
	if !ok {
		return "", errFull
	}
	t.take(addr)
	return addr.String(), nil
}

func (t *taking) port(want int32) (int32, error) {
	a := t.a
	a.mu.Lock()
	defer a.mu.Unlock()
	used := t.used(nodePorts)
	if want != 0 {
		if !a.ports.contains(want) {
			return 0, fmt.Errorf("provided port is not in the valid range. The range of valid ports is %s", a.ports)
		}
		if used(want) {
			return 0, errPortAllocated
		}
		t.take(want)
		return want, nil
	}
	port, ok := a.ports.next(func(p int32) bool { return used(p) })
	if !ok {
		return 0, errFull
	}
	t.take(port)
	return port, nil
}

func (t *taking) take(what any) {
	if !t.dryRun {
		r := t.a.reserved[what]
		r.owner = t.owner
		r.requests++
		t.a.reserved[what] = r
		t.reserved[what]++
	}
	t.took = append(t.took, what)
}

func addresses(s *corev1.Service, yield func(any) bool) {
	for _, ip := range s.Spec.ClusterIPs {
		if addr, err := netip.ParseAddr(ip); err == nil && !yield(addr) {
			return
		}
	}
}

func nodePorts(s *corev1.Service, yield func(any) bool) {
	for _, p := range s.Spec.Ports {
		if p.NodePort != 0 && !yield(p.NodePort) {
			return
		}
	}
	if p := s.Spec.HealthCheckNodePort; p != 0 {
		yield(p)
	}
}

// scans is how many candidates are looked for among all Services one after the other before a map is made of what these hold.
const scans = 4

// used tells what other Services hold or are about to hold, and what this request has taken already. The lock is held from the look into the store to the
// reservation, and a reservation ends under the lock after its write is visible: so there is no moment at which neither shows an address.
func (t *taking) used(visit func(s *corev1.Service, yield func(any) bool)) func(any) bool {
	services := t.a.cfg.Reader.PeekList(core.Service, "", nil)
	now := t.a.cfg.Now()
	others := func(yield func(any) bool) {
		for _, obj := range services {
			if s := obj.(*corev1.Service); s.Name != t.name || s.Namespace != t.namespace {
				visit(s, yield)
			}
		}
	}
	var held map[any]bool
	asked := 0
	stored := func(what any) (found bool) {
		if asked++; asked <= scans {
			others(func(w any) bool { found = found || w == what; return !found })
			return found
		}
		if held == nil {
			held = map[any]bool{}
			others(func(w any) bool { held[w] = true; return true })
		}
		return held[what]
	}
	return func(what any) bool {
		if slices.Contains(t.took, what) {
			return true
		}
		r, ok := t.a.reserved[what]
		if ok && r.requests == 0 && now.After(r.until) {
			delete(t.a.reserved, what)
			ok = false
		}
		return ok && r.owner != t.owner || stored(what)
	}
}
